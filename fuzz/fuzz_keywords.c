/* fuzz_keywords.c: any bytes as a keywords file; what loads must extract. */
#include "text/keywords.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct keywords *k = NULL;
    snprintf(path, sizeof path, "/tmp/medley-fuzz-keywords-%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    fwrite(data, 1, size, f);
    fclose(f);
    if (keywords_load(path, &k, NULL) == MEDLEY_OK) {
        struct strbuf out;
        sb_init(&out);
        keywords_extract(k, STR("us"), (struct str){(const char *)data, size}, 5, &out);
        sb_deinit(&out);
    }
    keywords_free(k);
    unlink(path);
    return 0;
}
