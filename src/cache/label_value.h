/* label_value.h: a remembered label as bytes, for the levels below memory.
 *
 * Little-endian: version 1, number of classes K, label, known_product, stages, three zeros;
 * models_used u32; lengths of the key's two parts u32 u32; when it was stored, ms since 1970,
 * i64; probabilities[K], margins[K] float32; the key's bytes; XXH3 of all before, u64. What is
 * not so, to the last byte, counts as damaged: a store may be cut, shared with another program,
 * or written by a later version. Proof: tests/test_cache_levels.c, fuzz/fuzz_label_value.c. */
#ifndef CACHE_LABEL_VALUE_H
#define CACHE_LABEL_VALUE_H

#include "cache/label_cache.h"

/* Appended to `out`. */
void label_value_write(struct strbuf *out, const struct label_key *key,
                       const medley_result *value, size_t n_classes, int64_t stored_ms);

enum label_found { LABEL_FOUND, LABEL_OTHER_KEY, LABEL_DAMAGED };
/* Writes *out and *stored_ms when it is the value of this very key. */
enum label_found label_value_read(struct str bytes, const struct label_key *key,
                                  size_t n_classes, medley_result *out, int64_t *stored_ms);

#endif
