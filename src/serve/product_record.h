/* product_record.h: a product's texts as bytes, as product_texts.h keeps them on disk; what
 * comes back from there is checked as anything that others may have written.
 *
 * Little-endian: u32 version, u32 bytes of locale, id, title, description, bullets, brand,
 * color and category, i64 updated (ms since 1970), these bytes one after another, u64 checksum
 * of all before it. Proof: tests/test_product_texts.c, fuzz/fuzz_product_record.c. */
#ifndef SERVE_PRODUCT_RECORD_H
#define SERVE_PRODUCT_RECORD_H

#include "base/str.h"
#include "medley/bundle.h"

struct product_record {
    medley_text locale;
    medley_product product; /* with its id; has_text */
    int64_t updated_ms;
};

size_t product_record_size(const struct product_record *r);
void product_record_write(const struct product_record *r,
                          void *out); /* [product_record_size] */
/* False: damaged. The texts are those of `bytes`. */
bool product_record_read(const void *bytes, size_t n, struct product_record *out);

#endif
