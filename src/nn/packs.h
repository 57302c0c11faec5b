/* packs.h: the weights of linear layers made ready for inference: in the order in which the
 * kernels read them, and in the precision that the model is to run in. A weight is packed when
 * it is first used. Whoever changes parameters makes new packs: these do not look back. */
#ifndef NN_PACKS_H
#define NN_PACKS_H

#include "nn/params.h"

enum precision { PRECISION_FLOAT32, PRECISION_BFLOAT16, PRECISION_INT8, PRECISION_COUNT };
extern const char *const precision_names[PRECISION_COUNT + 1]; /* ends with NULL */

medley_status precision_parse(const char *name, enum precision *out, medley_error *err);

/* One weight [rows, cols] in one of the forms; the others are NULL. */
struct pack {
    size_t rows, cols;
    float *full;    /* as gemm.h packs it */
    uint16_t *half; /* the same in bfloat16 */
    struct gemm8_weight *int8;
};

struct packs; /* shared by threads */
/* Packs for weights of `p`, which outlives them; parameters from id `full_from` on (a head)
 * stay in float32. NULL when out of memory. */
struct packs *packs_new(const struct params *p, enum precision precision, param_id full_from);
void packs_free(struct packs *packs);
/* The pack of a weight, made when it is first asked for; NULL when out of memory. */
const struct pack *packs_get(struct packs *packs, param_id id);
size_t packs_bytes(struct packs *packs); /* held by now */

#endif
