/* params.h: named parameters in one allocation. Gradients, AdamW moments and copies use the
 * same layout: a buffer of `total` floats addressed by the same offsets. */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include "base/rng.h"
#include "base/safetensors.h"

typedef uint32_t param_id;
#define PARAM_NONE \
    UINT32_MAX /* "no such parameter": ops skip it (a linear layer without bias) */

enum param_init {
    INIT_ZERO,
    INIT_ONE,
    INIT_NORMAL /* scale: std */,
    INIT_GLOROT /* uniform */
};

struct param {
    char *name;        /* as in the checkpoint, e.g. "bert.embeddings.word_embeddings.weight" */
    size_t rows, cols; /* a vector has rows 1; a linear weight is [out, in] */
    int dims;          /* 1, 2 or 3: how it is written to a checkpoint */
    size_t fan;        /* INIT_GLOROT: inputs and outputs together; 0: rows + cols */
    size_t taps;       /* dims 3: a convolution's [rows, cols / taps, taps]; else 1 */
    size_t offset;     /* into values, in floats; a multiple of 16 */
    enum param_init init;
    float scale;      /* of the initialisation */
    bool decay;       /* weight decay applies (weights yes; biases and norms no) */
    bool frozen;      /* no gradient, no update */
    float rate;       /* multiplies the learning rate; 1 by default */
    bool linear;      /* a linear layer's weight */
    param_id adapter; /* adapter.h: A of this weight's, B is the next; 0: none */
};

struct params {
    struct param *items; /* [count] */
    size_t count, capacity;
    float *values;                        /* [total], after params_allocate */
    size_t total;                         /* floats, padding included (padding stays zero) */
    bool failed;                          /* out of memory while adding */
    float adapter_scale, adapter_dropout; /* of all adapters */
};

void params_init(struct params *p);
void params_deinit(struct params *p);
/* Declares one; the name is formatted. PARAM_NONE only when out of memory (then p->failed). */
param_id params_add(struct params *p, int dims, size_t rows, size_t cols, enum param_init init,
                    float scale, const char *name, ...) __attribute__((format(printf, 7, 8)));
param_id params_find(const struct params *p, const char *name);
/* One 64-byte aligned allocation, initialised from the seed (each parameter by its own stream,
 * so that adding one does not change the others). */
medley_status params_allocate(struct params *p, uint64_t seed, medley_error *err);
/* The smallest range of the layout, in floats, with all parameters that are not frozen:
 * gradients and moments need no more. Empty when all are. */
struct param_span {
    size_t begin, end;
};
struct param_span params_trainable(const struct params *p);
float *params_value(const struct params *p, param_id id);

/* How a checkpoint holds a parameter: shape[dims], dims returned; and whether an entry is so.
 */
int param_shape(const struct param *item, uint64_t shape[3]);
bool param_fits(const struct param *item, const struct st_entry *e);

/* Loads every parameter that the file has under `prefix` + name (prefix may be ""); sets
 * loaded[count] when not NULL. Shape mismatch and non-finite values are errors naming the
 * tensor. */
medley_status params_load(struct params *p, const struct st_file *f, const char *prefix,
                          bool *loaded, medley_error *err);
/* Declares every parameter to a writer (names and data borrowed). `values` is a buffer in the
 * layout of p (NULL: p->values). */
void params_write(const struct params *p, const float *values, struct st_writer *w);

#endif
