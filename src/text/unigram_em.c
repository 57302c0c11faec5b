/* unigram_em.c: expectation maximisation and pruning for the Unigram trainer, as SentencePiece
 * does them (Kudo 2018). Segments are short enough for sums of plain probabilities, which
 * saves the logarithms of a lattice in log space. Work is cut into a fixed number of shards
 * whose sums are added in order: the result does not depend on the threads. */
#include "text/unigram_em.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 16
#define RAREST 0.5   /* expected count */
#define LEAST (-20.) /* log probability */

/* Nodes are numbered: letter l is node l, longer prefixes follow. */
struct trie {
    struct pair_table edges; /* node, letter */
    uint32_t *piece;         /* [nodes] PAIR_NONE: only a prefix */
    size_t capacity, nodes;
    uint32_t letters;
};

struct search {
    const struct unigram_corpus *c;
    const struct unigram_pieces *p;
    struct trie trie;
    double *probability; /* [pieces] */
    double *score;       /* [pieces] logarithms of those */
    double *counts;      /* [SHARDS][pieces] */
    double likelihood[SHARDS];
};

static void search_deinit(struct search *s)
{
    pair_table_deinit(&s->trie.edges);
    mem_free(s->trie.piece);
    mem_free(s->probability);
    mem_free(s->score);
    mem_free(s->counts);
}

static bool trie_add(struct trie *t, const uint32_t *letters, size_t n, uint32_t piece)
{
    uint32_t node = letters[0];
    for (size_t i = 1; i < n; i++) {
        uint32_t edge = pair_add(&t->edges, node, letters[i]);
        if (edge == PAIR_NONE)
            return false;
        node = t->letters + edge;
        if (!mem_reserve(&t->piece, &t->capacity, (size_t)node + 1, sizeof *t->piece))
            return false;
        if (node == t->nodes) {
            t->piece[node] = PAIR_NONE;
            t->nodes++;
        }
    }
    t->piece[node] = piece;
    return true;
}

static bool search_init(struct search *s, const struct unigram_corpus *c,
                        const struct unigram_pieces *p)
{
    *s = (struct search){.c = c, .p = p};
    struct trie *t = &s->trie;
    t->nodes = c->n_letters;
    t->letters = (uint32_t)c->n_letters;
    s->probability = mem_alloc(p->n, sizeof *s->probability);
    s->score = mem_alloc(p->n, sizeof *s->score);
    s->counts = mem_zalloc(p->n, SHARDS * sizeof *s->counts);
    if (!s->probability || !s->score || !s->counts ||
        !mem_reserve(&t->piece, &t->capacity, t->nodes + 1, sizeof *t->piece))
        return false;
    for (size_t i = 0; i < p->n; i++) {
        s->score[i] = p->items[i].weight > LEAST ? p->items[i].weight : LEAST;
        s->probability[i] = exp(s->score[i]);
        if (!trie_add(t, c->letters + p->items[i].at, p->items[i].n, (uint32_t)i))
            return false;
    }
    return true;
}

struct match {
    uint8_t from, to;
    uint32_t piece;
};

/* All pieces in letters[n], by where they begin. */
static size_t find_matches(const struct trie *t, const uint32_t *letters, size_t n,
                           struct match *out)
{
    size_t found = 0;
    for (size_t from = 0; from < n; from++) {
        uint32_t node = letters[from];
        out[found++] = (struct match){(uint8_t)from, (uint8_t)(from + 1), t->piece[node]};
        for (size_t i = from + 1; i < n; i++) {
            uint32_t edge = pair_find(&t->edges, node, letters[i]);
            if (edge == PAIR_NONE)
                break;
            node = t->letters + edge;
            if (t->piece[node] != PAIR_NONE)
                out[found++] = (struct match){(uint8_t)from, (uint8_t)(i + 1), t->piece[node]};
        }
    }
    return found;
}

enum { MOST_MATCHES = UNIGRAM_SEGMENT * UNIGRAM_PIECE };

/* Forward and backward sums; counts[piece] += count * P(piece used here). Returns the log
 * probability of the segment. */
static double expect(const struct search *s, const uint32_t *letters, size_t n, double count,
                     double *counts)
{
    struct match m[MOST_MATCHES];
    double forward[UNIGRAM_SEGMENT + 1] = {1}, backward[UNIGRAM_SEGMENT + 1] = {0};
    size_t found = find_matches(&s->trie, letters, n, m);
    for (size_t i = 0; i < found; i++)
        forward[m[i].to] += forward[m[i].from] * s->probability[m[i].piece];
    backward[n] = 1;
    double scale = count / forward[n];
    for (size_t i = found; i-- > 0;) {
        double tail = s->probability[m[i].piece] * backward[m[i].to];
        backward[m[i].from] += tail;
        counts[m[i].piece] += forward[m[i].from] * tail * scale;
    }
    return log(forward[n]);
}

static size_t shard_start(const struct unigram_corpus *c, size_t shard)
{
    return (size_t)((uint64_t)c->n_segments * shard / SHARDS);
}

static void expect_shards(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct search *s = context;
    const struct unigram_corpus *c = s->c;
    for (size_t shard = begin; shard < end; shard++)
        for (size_t i = shard_start(c, shard); i < shard_start(c, shard + 1); i++)
            s->likelihood[shard] +=
                (double)c->counts[i] *
                expect(s, c->letters + c->starts[i], c->starts[i + 1] - c->starts[i],
                       (double)c->counts[i], s->counts + shard * s->p->n);
}

/* Into the first shard's, in order. */
static void add_shards(struct search *s)
{
    for (size_t shard = 1; shard < SHARDS; shard++) {
        for (size_t i = 0; i < s->p->n; i++)
            s->counts[i] += s->counts[shard * s->p->n + i];
        s->likelihood[0] += s->likelihood[shard];
    }
}

static double digamma(double x)
{
    double sum = 0;
    while (x < 7) {
        sum -= 1 / x;
        x += 1;
    }
    x -= 0.5;
    double r = 1 / (x * x);
    return sum + log(x) +
           r * (1. / 24 + r * (-7. / 960 + r * (31. / 8064 + r * (-127. / 30720))));
}

/* Drops rare pieces and sets log probabilities from expected counts. */
static void maximise(const struct unigram_corpus *c, struct unigram_pieces *p,
                     const double *counts, size_t least)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++)
        kept += i < c->n_letters || counts[i] >= RAREST;
    bool drop = kept >= least;
    double sum = 0;
    kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (drop && i >= c->n_letters && counts[i] < RAREST)
            continue;
        p->items[kept] = p->items[i];
        p->items[kept].weight = counts[i] > 1e-3 ? counts[i] : 1e-3;
        sum += p->items[kept++].weight;
    }
    p->n = kept;
    double whole = digamma(sum);
    for (size_t i = 0; i < p->n; i++) {
        double w = digamma(p->items[i].weight) - whole;
        p->items[i].weight = w > LEAST ? w : LEAST;
    }
}

medley_status unigram_em_step(const struct unigram_corpus *c, struct unigram_pieces *p,
                              size_t least, double *likelihood, medley_error *err)
{
    struct search s;
    medley_status st = MEDLEY_OK;
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "vocabulary training interrupted");
    if (!search_init(&s, c, p))
        st = fail_memory(err, "vocabulary training");
    if (!st) {
        parallel_for(SHARDS, 1, expect_shards, &s);
        add_shards(&s);
        double total = 0;
        for (size_t i = 0; i < c->n_segments; i++)
            total += (double)c->counts[i];
        if (likelihood)
            *likelihood = s.likelihood[0] / (total > 0 ? total : 1);
        maximise(c, p, s.counts, least);
    }
    search_deinit(&s);
    return st;
}

/* ---- pruning ---- */

/* The best cut of letters[n] without the piece `except`: pieces into out, their number
 * returned. Its score goes to *score. */
static size_t best_cut(const struct search *s, const uint32_t *letters, size_t n,
                       uint32_t except, uint32_t *out, double *score)
{
    struct match m[MOST_MATCHES];
    double best[UNIGRAM_SEGMENT + 1];
    size_t from[UNIGRAM_SEGMENT + 1];
    size_t found = find_matches(&s->trie, letters, n, m), pieces = 0;
    for (size_t i = 0; i <= n; i++)
        best[i] = i ? -INFINITY : 0;
    for (size_t i = 0; i < found; i++) {
        double x = best[m[i].from] + s->score[m[i].piece];
        if (m[i].piece != except && x > best[m[i].to]) {
            best[m[i].to] = x;
            from[m[i].to] = i;
        }
    }
    *score = best[n];
    for (size_t at = n; at > 0; at = m[from[at]].from)
        out[pieces++] = m[from[at]].piece;
    return pieces;
}

static void cut_shards(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct search *s = context;
    const struct unigram_corpus *c = s->c;
    uint32_t used[UNIGRAM_SEGMENT];
    double score;
    for (size_t shard = begin; shard < end; shard++)
        for (size_t i = shard_start(c, shard); i < shard_start(c, shard + 1); i++) {
            size_t n = best_cut(s, c->letters + c->starts[i], c->starts[i + 1] - c->starts[i],
                                PAIR_NONE, used, &score);
            for (size_t k = 0; k < n; k++)
                s->counts[shard * s->p->n + used[k]] += (double)c->counts[i];
        }
}

struct loss {
    double value; /* of log likelihood, were the piece gone */
    uint32_t piece;
};

struct losses {
    const struct search *s;
    struct loss *items; /* [pieces] */
    double sum;         /* of counts */
};

/* SentencePiece's estimate: all uses of the piece go to the best cut of its text. */
static void lose(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct losses *l = context;
    const struct search *s = l->s;
    uint32_t others[UNIGRAM_SEGMENT];
    for (size_t i = begin; i < end; i++) {
        const struct unigram_piece *p = &s->p->items[i];
        double count = s->counts[i], score, without = 0;
        l->items[i] = (struct loss){INFINITY, (uint32_t)i};
        if (i < s->c->n_letters)
            continue;
        size_t n = best_cut(s, s->c->letters + p->at, p->n, (uint32_t)i, others, &score);
        if (count == 0) { /* never the best; last of all those that cannot be */
            l->items[i].value = score >= s->score[i] ? -INFINITY : 0;
            continue;
        }
        double sum = log(l->sum + count * (double)(n - 1));
        for (size_t k = 0; k < n; k++)
            without += log(s->counts[others[k]] + count) - sum;
        l->items[i].value = count * (log(count / l->sum) - without);
    }
}

static int by_loss(const void *left, const void *right)
{
    const struct loss *a = left, *b = right;
    if (a->value != b->value)
        return a->value < b->value ? 1 : -1;
    return (a->piece > b->piece) - (a->piece < b->piece);
}

static int by_number(const void *left, const void *right)
{
    const struct loss *a = left, *b = right;
    return (a->piece > b->piece) - (a->piece < b->piece);
}

medley_status unigram_prune(const struct unigram_corpus *c, struct unigram_pieces *p,
                            size_t keep, medley_error *err)
{
    struct search s;
    medley_status st = MEDLEY_OK;
    struct losses l = {.s = &s};
    if (keep >= p->n)
        return MEDLEY_OK;
    keep = keep > c->n_letters ? keep : c->n_letters;
    l.items = mem_alloc(p->n, sizeof *l.items);
    if (!search_init(&s, c, p) || !l.items)
        st = fail_memory(err, "vocabulary training");
    if (!st) {
        parallel_for(SHARDS, 1, cut_shards, &s);
        add_shards(&s);
        for (size_t i = 0; i < p->n; i++)
            l.sum += s.counts[i];
        parallel_for(p->n, 0, lose, &l);
        qsort(l.items, p->n, sizeof *l.items, by_loss);
        qsort(l.items, keep, sizeof *l.items, by_number);
        for (size_t i = 0; i < keep; i++)
            p->items[i] = p->items[l.items[i].piece];
        p->n = keep;
    }
    search_deinit(&s);
    mem_free(l.items);
    return st;
}

static int by_weight(const void *left, const void *right)
{
    const struct unigram_piece *a = left, *b = right;
    if (a->weight != b->weight)
        return a->weight < b->weight ? 1 : -1;
    return a->at != b->at ? (a->at > b->at) - (a->at < b->at) : (a->n > b->n) - (a->n < b->n);
}

void unigram_cut(const struct unigram_corpus *c, struct unigram_pieces *p, size_t keep)
{
    if (p->n > c->n_letters)
        qsort(p->items + c->n_letters, p->n - c->n_letters, sizeof *p->items, by_weight);
    if (p->n > keep)
        p->n = keep > c->n_letters ? keep : c->n_letters;
}
