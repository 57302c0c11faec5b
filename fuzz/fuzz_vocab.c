/* fuzz_vocab.c: the input up to the first zero byte as vocab.txt, the rest as text to encode:
 * every token's offsets must lie in the text. */
#include "base/file.h"
#include "text/wordpiece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    char path[64];
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "/tmp/medley-fuzz-vocab-%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    fwrite(data, 1, n, f);
    fwrite("\n[UNK]\n", 1, 7, f);
    fclose(f);
    if (wordpiece_load_vocab(path, &t, NULL) == MEDLEY_OK) {
        struct tokens out = {0};
        struct str text = {(const char *)data + n, size - n};
        tokenizer_encode(t, text, &out);
        for (size_t i = 0; i < out.n; i++)
            if (out.begin[i] >= out.end[i] || out.end[i] > text.n || out.ids[i] < 0 ||
                (size_t)out.ids[i] >= tokenizer_size(t))
                abort();
        tokens_deinit(&out);
        tokenizer_free(t);
    }
    unlink(path);
    return 0;
}
