/* label_key.h: what a remembered label is looked up by: bundle, models asked, locale,
 * normalised query, product id, version of the product's text. Every part is written with its
 * length before it, so that two different keys never have the same bytes.
 *
 * Proof: tests/test_label_table.c. */
#ifndef CACHE_LABEL_KEY_H
#define CACHE_LABEL_KEY_H

#include "base/file.h"
#include "medley/bundle.h"

/* A key in two parts, so that the pairs of one request share the first. Borrowed bytes. The
 * hash finds, the bytes decide: two keys with one hash are still told apart. */
struct label_key {
    struct hash128 hash;
    struct str shared; /* bundle, models, locale, normalised query */
    struct str own;    /* product id, hash of the product's text */
};

/* The first part of the keys of one request: appended to `out`. The query should be normalised
 * by label_key_fold. */
void label_key_shared(struct strbuf *out, const char *bundle, uint32_t models,
                      struct str locale, struct str folded_query);
/* The second part: appended to `out`. `epoch` is the product's in epochs.h; 0: it was never
 * invalidated. */
void label_key_own(struct strbuf *out, const medley_product *product, uint64_t epoch);
/* The hash of both parts, from label_key_hash(shared), which is made once for a request; the
 * bytes stay the caller's. */
struct hash128 label_key_hash(struct str shared);
struct label_key label_key_of(struct str shared, struct hash128 shared_hash, struct str own);

/* Case folded, NFC, runs of white space made one space and trimmed off the ends; appended to
 * out. The text must be valid UTF-8. */
medley_status label_key_fold(struct str text, struct strbuf *out, medley_error *err);

/* Stands for a bundle where entries of one are to be found together. */
uint64_t label_key_bundle(const char *bundle);

/* The keys of all pairs of a request, made once, for looking up and for storing. */
struct label_list {
    struct strbuf shared, own;
    size_t *own_ends; /* [n] product i's part is own[own_ends[i-1] .. own_ends[i]) */
    size_t n;
    struct hash128 shared_hash;
    uint64_t bundle; /* label_key_bundle */
};
struct label_key label_list_key(const struct label_list *l, size_t i); /* borrows from l */
/* The same pairs in the same order, asked of the same bundle. */
bool label_list_same(const struct label_list *a, const struct label_list *b);
void label_list_deinit(struct label_list *l); /* a zeroed struct is fine */

#endif
