/* label_record.h: a label as bytes, for the tiers outside the process; what comes back from
 * there is checked as anything that others may have written.
 *
 * Little-endian: u8 version, u8 classes K, u8 label, u8 stages, u8 flags (1: known product), 3
 * zero bytes, u32 models used, u32 bytes of the key's first part, u32 of its second, i64 stored
 * (ms since 1970), f32 probabilities[K], f32 margins[K], the key's bytes, u32 checksum of all
 * before it. Proof: tests/test_label_record.c, fuzz/fuzz_label_record.c. */
#ifndef CACHE_LABEL_RECORD_H
#define CACHE_LABEL_RECORD_H

#include "cache/label_table.h"

#define LABEL_RECORD_MAX 16384 /* bytes; pairs with longer keys stay in memory */

/* Bytes written to out[LABEL_RECORD_MAX]; 0: the key is too long. */
size_t label_record_write(void *out, const struct label_key *key, const struct label *label,
                          size_t n_classes);

enum record_kind { RECORD_GOOD, RECORD_OF_OTHER, RECORD_DAMAGED };
/* Writes *out->result and stored_ms only when good: whole, of this key (not only of its hash),
 * with so many classes. */
enum record_kind label_record_read(const void *bytes, size_t n, const struct label_key *key,
                                   size_t n_classes, struct label *out);
/* When it was stored; INT64_MIN: it is damaged. */
int64_t label_record_time(const void *bytes, size_t n);

#endif
