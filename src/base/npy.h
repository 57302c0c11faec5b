/* npy.h: NumPy .npy arrays, versions 1.0 to 3.0, little-endian, C order, 1 or 2 dimensions. */
#ifndef BASE_NPY_H
#define BASE_NPY_H

#include "base/file.h"

enum npy_type { NPY_F32, NPY_F64, NPY_I32, NPY_I64, NPY_U8 };

/* An array read in: mapped, not copied. rows x cols; cols is 1 for a 1-D array. */
struct npy {
    struct mapping map;
    enum npy_type type;
    size_t rows, cols;
    int dims;         /* 1 or 2 */
    const void *data; /* may be unaligned for its type */
};
medley_status npy_open(const char *path, struct npy *out, medley_error *err);
void npy_close(struct npy *a);
/* Any of the types, as float32; out[rows*cols]. */
void npy_to_float(const struct npy *a, float *out);
/* Written atomically. cols 0 writes a 1-D array. */
medley_status npy_write(const char *path, enum npy_type type, size_t rows, size_t cols,
                        const void *data, medley_error *err);

#endif
