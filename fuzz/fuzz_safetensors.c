/* fuzz_safetensors.c: any bytes are opened or refused; what is opened is read to its last byte.
 */
#include "base/memory.h"
#include "base/safetensors.h"
#include "fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_entry(const struct st_file *f, const struct st_entry *e)
{
    uint64_t sum = 0;
    const uint8_t *bytes = e->data;
    for (size_t i = 0; i < e->bytes; i++)
        sum += bytes[i];
    float *out = mem_alloc(e->count, sizeof *out);
    if (out)
        st_to_float(e, out);
    mem_free(out);
    if (st_find(f, e->name) != e || sum > e->bytes * 255)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[32];
    struct st_file *f = NULL;
    medley_error err;
    int fd = memory_file(data, n, path);
    if (st_open(path, &f, &err) == MEDLEY_OK) {
        for (size_t i = 0; i < st_count(f); i++)
            read_entry(f, st_at(f, i));
        st_metadata(f, "format");
        st_close(f);
    }
    close(fd);
    return 0;
}
