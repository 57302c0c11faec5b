/* fuzz_gnn_config.c: any config.json of a graph model is refused, or gives options that write
 * out to what reads back the same. */
#include "gnn/link_model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct link_classifier a = {0}, b = {0};
    struct str text = {(const char *)data, n};
    if (link_config_parse(text, "fuzz", &a.options, &a.width, &a.n_classes, NULL) != MEDLEY_OK)
        return 0;
    struct strbuf first, second;
    sb_init(&first);
    sb_init(&second);
    link_config_write(&a, &first);
    if (link_config_parse(sb_str(&first), "again", &b.options, &b.width, &b.n_classes, NULL) !=
        MEDLEY_OK)
        abort();
    link_config_write(&b, &second);
    if (!str_eq(sb_str(&first), sb_str(&second)))
        abort();
    sb_deinit(&first);
    sb_deinit(&second);
    return 0;
}
