/* unigram_em.h: how a Unigram vocabulary (Kudo 2018) is found: seeds, EM, pruning. Private to
 * src/text. Pieces are slices of the corpus, so none of this touches text. */
#ifndef TEXT_UNIGRAM_EM_H
#define TEXT_UNIGRAM_EM_H

#include "medley/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UNIGRAM_SEGMENT = 32, /* letters; with scores from -20 up, sums stay within a double */
    UNIGRAM_PIECE = 16,   /* letters of the longest piece */
};

/* Words as numbered letters, in segments of at most UNIGRAM_SEGMENT. Numbers are dense. */
struct unigram_corpus {
    uint32_t *letters; /* [n] */
    size_t n, capacity;
    uint32_t *starts; /* [n_segments] into letters; a segment ends where the next begins */
    uint64_t *counts; /* [n_segments] how often it occurs */
    size_t n_segments, starts_capacity, counts_capacity;
    size_t n_letters; /* distinct ones */
};
void unigram_corpus_deinit(struct unigram_corpus *c);
/* Adds a run of letters, cut into segments; false when out of memory. */
bool unigram_corpus_add(struct unigram_corpus *c, const uint32_t *letters, size_t n,
                        uint64_t count);

struct unigram_piece {
    uint32_t at, n; /* corpus letters at..at+n */
    double weight;  /* a count, or after unigram_em_step the log probability */
};

/* The first n_letters pieces are the letters, in order; they are never dropped. */
struct unigram_pieces {
    struct unigram_piece *items; /* [n] */
    size_t n, capacity;
};

/* unigram_seed.c: letters, and the substrings that cover most (count times letters), at most
 * `limit` of them, each seen at least min_count times. Log probabilities are set. */
medley_status unigram_seed(const struct unigram_corpus *c, uint64_t min_count, size_t limit,
                           struct unigram_pieces *out, medley_error *err);

/* One E-step and one M-step: expected counts over all ways to cut each segment, then log
 * probabilities from them with the sparse prior of SentencePiece (digamma). Pieces with an
 * expected count below 1/2 go, unless fewer than `least` would stay. *likelihood (may be NULL):
 * mean log probability of a segment before the step. The same for any number of threads. */
medley_status unigram_em_step(const struct unigram_corpus *c, struct unigram_pieces *p,
                              size_t least, double *likelihood, medley_error *err);
/* Keeps the `keep` pieces whose loss would cost most likelihood. */
medley_status unigram_prune(const struct unigram_corpus *c, struct unigram_pieces *p,
                            size_t keep, medley_error *err);
/* Keeps the letters and the most probable pieces; most probable first among the latter. */
void unigram_cut(const struct unigram_corpus *c, struct unigram_pieces *p, size_t keep);

/* Numbers for pairs of numbers, in order of appearance. */
struct pair_table {
    uint64_t *keys;   /* [mask + 1] key plus one; 0: empty */
    uint32_t *values; /* [mask + 1] */
    size_t n, mask;
};
#define PAIR_NONE UINT32_MAX
uint32_t pair_add(struct pair_table *t, uint32_t left, uint32_t right); /* NONE: no memory */
uint32_t pair_find(const struct pair_table *t, uint32_t left, uint32_t right);
void pair_table_deinit(struct pair_table *t);

#endif
