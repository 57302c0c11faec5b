/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json; what loads must encode within its
 * vocabulary and save. */
#include "base/json.h"
#include "fuzz/memory_file.h"
#include "text/wordpiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct tokenizer *t, struct str text)
{
    struct tokens out = {0}, joined = {0};
    tokenizer_encode(t, text, &out);
    tokenizer_join(t, &out, &out, 16, &joined, NULL);
    for (size_t i = 0; i < out.n; i++)
        if (out.begin[i] > out.end[i] || out.end[i] > text.n || out.ids[i] < 0 ||
            (size_t)out.ids[i] >= tokenizer_size(t))
            abort();
    tokens_deinit(&out);
    tokens_deinit(&joined);
}

static void save(struct tokenizer *t)
{
    struct strbuf saved;
    struct json_writer w;
    sb_init(&saved);
    jw_init(&w, &saved, false);
    jw_object(&w);
    t->ops->save(t, &w);
    jw_object_end(&w);
    sb_deinit(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json *root = NULL;
    struct tokenizer *t = NULL;
    struct str text = {(const char *)data, size};
    char path[32];
    if (json_parse(text, "fuzz", &root, NULL) != MEDLEY_OK)
        return 0;
    if (wordpiece_load_json(root, "fuzz", &t, NULL) == MEDLEY_OK) {
        use(t, text);
        save(t);
        tokenizer_free(t);
    }
    int fd = memory_file(data, size, path);
    if (pipeline_load_json(root, path, &t, NULL) == MEDLEY_OK) {
        use(t, text);
        tokenizer_free(t);
    }
    close(fd);
    json_free(root);
    return 0;
}
