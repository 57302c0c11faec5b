/* fuzz_npy.c: any bytes are opened or refused; what is opened is read to its last value. */
#include "base/memory.h"
#include "base/npy.h"
#include "fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[32];
    struct npy a;
    medley_error err;
    int fd = memory_file(data, n, path);
    if (npy_open(path, &a, &err) == MEDLEY_OK) {
        float *out = mem_alloc(a.rows * a.cols, sizeof *out);
        if (out)
            npy_to_float(&a, out);
        mem_free(out);
        npy_close(&a);
    }
    close(fd);
    return 0;
}
