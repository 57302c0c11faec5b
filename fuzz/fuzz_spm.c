/* fuzz_spm.c: any bytes as a SentencePiece model; what loads must encode within its vocabulary.
 */
#include "fuzz/memory_file.h"
#include "text/tokenizer_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tokenizer *t = NULL;
    struct str text = {(const char *)data, size};
    char path[32];
    int fd = memory_file(data, size, path);
    if (pipeline_load_spm(path, &t, NULL) == MEDLEY_OK) {
        struct tokens out = {0};
        tokenizer_encode(t, text, &out);
        for (size_t i = 0; i < out.n; i++)
            if (out.begin[i] > out.end[i] || out.end[i] > size || out.ids[i] < 0 ||
                (size_t)out.ids[i] >= tokenizer_size(t))
                abort();
        tokens_deinit(&out);
        tokenizer_free(t);
    }
    close(fd);
    return 0;
}
