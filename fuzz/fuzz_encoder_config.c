/* fuzz_encoder_config.c: any config.json of an encoder is refused, or gives a configuration
 * that is written as what reads back the same. */
#include "base/memory.h"
#include "fuzz/memory_file.h"
#include "lm/encoder.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DESCRIPTOR = 900 }; /* what config.json in the folder below is a link to */

static const char *folder_of_links(void)
{
    static char folder[] = "/tmp/medley-fuzz-XXXXXX", path[64], target[32];
    if (!path[0]) {
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/config.json", folder);
        snprintf(target, sizeof target, "/proc/self/fd/%d", DESCRIPTOR);
        if (symlink(target, path) != 0)
            abort();
    }
    return folder;
}

static medley_status load(const void *data, size_t n, struct encoder *out)
{
    char path[32];
    int fd = memory_file(data, n, path);
    if (dup2(fd, DESCRIPTOR) != DESCRIPTOR)
        abort();
    medley_status st = encoder_config_load(folder_of_links(), 0, out, NULL);
    close(fd);
    close(DESCRIPTOR);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const classes[] = {"E", "S"};
    struct encoder a, b;
    struct strbuf text;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    if (load(data, n, &a) != MEDLEY_OK)
        return 0;
    sb_init(&text);
    encoder_config_write(&a, "BertModel", classes, 2, &text);
    if (load(text.s, text.n, &b) != MEDLEY_OK)
        abort();
    const struct encoder_config *x = &a.config, *y = &b.config;
    if (x->vocabulary != y->vocabulary || x->hidden != y->hidden || x->layers != y->layers ||
        x->heads != y->heads || x->intermediate != y->intermediate ||
        x->positions != y->positions || x->types != y->types || x->norm_eps != y->norm_eps ||
        x->init_std != y->init_std || x->activation != y->activation)
        abort();
    sb_deinit(&text);
    return 0;
}
