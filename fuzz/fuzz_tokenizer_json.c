/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json; what loads must encode and save. */
#include "base/file.h"
#include "base/json.h"
#include "text/wordpiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json *root = NULL;
    struct tokenizer *t = NULL;
    struct str text = {(const char *)data, size};
    if (json_parse(text, "fuzz", &root, NULL) != MEDLEY_OK)
        return 0;
    if (wordpiece_ops.load(root, "fuzz", &t, NULL) == MEDLEY_OK) {
        struct tokens out = {0};
        struct strbuf saved;
        struct json_writer w;
        tokenizer_encode(t, text, &out);
        sb_init(&saved);
        jw_init(&w, &saved, false);
        jw_object(&w);
        t->ops->save(t, &w);
        jw_object_end(&w);
        sb_deinit(&saved);
        tokens_deinit(&out);
        tokenizer_free(t);
    }
    json_free(root);
    return 0;
}
