/* adamw.h: AdamW with decoupled weight decay (Loshchilov and Hutter 2019), gradient clipping by
 * global norm, warm-up and linear or cosine decay. Matches torch.optim.AdamW. */
#ifndef NN_ADAMW_H
#define NN_ADAMW_H

#include "nn/params.h"

enum schedule { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT };

struct adamw_options {    /* zero means the default in brackets */
    double learning_rate; /* [2e-5] */
    double beta1, beta2;  /* [0.9, 0.999] */
    double epsilon;       /* [1e-8] */
    double weight_decay;  /* as given: 0 is no decay */
    double clip;          /* global norm; 0: no clipping */
    double warmup;        /* share of total_steps */
    uint64_t total_steps; /* for the schedule; 0: constant */
    enum schedule schedule;
};

struct adamw {
    struct adamw_options options;
    float *m, *v;           /* of the parameters in span */
    struct param_span span; /* params_trainable when it was made */
    uint64_t step;
};

medley_status adamw_init(struct adamw *a, const struct params *p, const struct adamw_options *o,
                         medley_error *err);
void adamw_deinit(struct adamw *a);
double adamw_rate(const struct adamw *a); /* the learning rate of the coming step */
/* One update in place; grads (of the parameters in a->span) is scaled by clipping and then
 * zeroed. Parallel over parameters; the result does not depend on the number of threads.
 * Returns the gradient norm; when that is not finite nothing but the zeroing is done. */
double adamw_step(struct adamw *a, struct params *p, float *grads);
/* For resume: moments and step number go to and from a checkpoint next to the parameters. */
void adamw_write(const struct adamw *a, struct st_writer *w); /* borrows until commit */
medley_status adamw_read(struct adamw *a, const struct st_file *f,
                         medley_error *err);

#endif
