/* fuzz_label_value.c: the bytes of a remembered label, as LMDB or Redis may give them back. */
#include "cache/label_value.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct label_key key =
        label_key_of(STR("shared"), label_key_hash(STR("shared")), STR("own"));
    medley_result out;
    int64_t stored;
    struct str bytes = {(const char *)data, n};
    if (label_value_read(bytes, &key, 4, &out, &stored) == LABEL_FOUND && out.label >= 4)
        abort();
    /* The same with a right checksum, so that what lies behind it is reached, too. */
    struct strbuf again;
    sb_init(&again);
    label_value_write(&again, &key, &(medley_result){.label = 1}, 4, 7);
    for (size_t i = 0; i < n && i < again.n; i++)
        again.s[i] = (char)(again.s[i] ^ (char)data[i]);
    label_value_read(
        (struct str){again.s,
                     again.n < n ? again.n : again.n - (n && data[0] < again.n ? data[0] : 0)},
        &key, 4, &out, &stored);
    sb_deinit(&again);
    return 0;
}
