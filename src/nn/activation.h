/* activation.h: the activations that ops and kernels know. */
#ifndef NN_ACTIVATION_H
#define NN_ACTIVATION_H

enum activation {
    ACT_NONE,
    ACT_RELU,
    ACT_GELU /* erf */,
    ACT_GELU_TANH,
    ACT_TANH,
    ACT_ELU,
    ACT_SILU
};

#endif
