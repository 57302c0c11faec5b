/* test_unigram_train.c: EM raises the likelihood and matches sums over all ways to cut; size,
 * coverage, threads, saving and loading; hostile texts; each allocation may fail. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "text/unigram_em.h"
#include "tap.h"

struct texts {
    const struct str *list;
    size_t n, at;
};

static bool next_text(void *context, struct str *text)
{
    struct texts *t = context;
    if (t->at == t->n)
        return false;
    *text = t->list[t->at++];
    return true;
}

static struct tokenizer *train(struct tokenizer_training o, const struct str *list, size_t n)
{
    struct texts source = {list, n, 0};
    struct tokenizer *t = NULL;
    medley_error err = {0};
    o.kind = TOKENIZER_UNIGRAM;
    if (tokenizer_train(&o, next_text, &source, &t, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return t;
}

/* Made-up shop: stems with endings, numbers, some Japanese and accents. */
enum { N_SHOP = 600 };
static char shop_text[N_SHOP][160];
static struct str shop[N_SHOP];

static void make_shop(uint64_t seed)
{
    static const char *const stems[] = {"charg",
                                        "cabl",
                                        "bottl",
                                        "lamp",
                                        "kitchen",
                                        "towel",
                                        "shirt",
                                        "Schl\xC3\xBCssel",
                                        "\xE9\x9B\xBB\xE6\xB1\xA0",
                                        "\xE3\x82\xAB\xE3\x83\x90\xE3\x83\xBC"};
    static const char *const ends[] = {"e", "er", "ing", "s", "", "ed", "-USB", "\xEF\xBC\x93"};
    struct rng r;
    rng_init(&r, seed, 0);
    for (size_t i = 0; i < N_SHOP; i++) {
        char *s = shop_text[i];
        size_t at = 0;
        for (size_t k = 0; k < 6; k++)
            at += (size_t)snprintf(s + at, sizeof shop_text[i] - at, "%s%s %u ",
                                   stems[rng_below(&r, 10)], ends[rng_below(&r, 8)],
                                   (unsigned)rng_below(&r, 30));
        shop[i] = str_of(s);
    }
}

/* ---- EM ---- */

/* Sum over all cuts of letters[n], one way at a time; counts[piece] gets each cut's share. */
static double all_cuts(const struct unigram_corpus *c, const struct unigram_pieces *p,
                       const uint32_t *letters, size_t n, double so_far, double *counts)
{
    if (n == 0)
        return so_far;
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct unigram_piece *x = &p->items[i];
        if (x->n > n || memcmp(c->letters + x->at, letters, x->n * sizeof *letters) != 0)
            continue;
        double part = all_cuts(c, p, letters + x->n, n - x->n, so_far * exp(x->weight), counts);
        counts[i] += part;
        sum += part;
    }
    return sum;
}

static void make_corpus(struct unigram_corpus *c)
{
    static const char *const words[] = {"banana", "bandana", "ban", "nab", "anna", "dab"};
    c->n_letters = 4;
    for (size_t w = 0; w < 6; w++) {
        uint32_t run[8];
        size_t n = strlen(words[w]);
        for (size_t i = 0; i < n; i++)
            run[i] = (uint32_t)(strchr("abnd", words[w][i]) - "abnd");
        unigram_corpus_add(c, run, n, 3 * w + 5);
    }
}

static void test_em(void)
{
    struct unigram_corpus c = {0};
    struct unigram_pieces p = {0};
    make_corpus(&c);
    medley_status st = unigram_seed(&c, 2, 100, &p, NULL);
    bool found = false;
    for (size_t i = 0; i < p.n; i++)
        found = found || (p.items[i].n == 3 && c.letters[p.items[i].at] == 1 &&
                          memcmp(c.letters + p.items[i].at, (uint32_t[]){1, 0, 2}, 12) == 0);
    ok(!st && p.n > 8 && found, "%zu seeds, 'ban' among them", p.n);
    /* The step's likelihood, and its order of counts, by brute force. */
    double *counts = calloc(p.n, sizeof *counts), wanted = 0, total = 0, got = 0;
    for (size_t s = 0; s < c.n_segments; s++) {
        double *here = calloc(p.n, sizeof *here);
        double z =
            all_cuts(&c, &p, c.letters + c.starts[s], c.starts[s + 1] - c.starts[s], 1, here);
        for (size_t i = 0; i < p.n; i++)
            counts[i] += here[i] / z * (double)c.counts[s];
        wanted += log(z) * (double)c.counts[s];
        total += (double)c.counts[s];
        free(here);
    }
    size_t n = p.n;
    ok(!unigram_em_step(&c, &p, n, &got, NULL) && fabs(got - wanted / total) < 1e-9,
       "likelihood is the sum over all cuts: %.9f", got);
    size_t ordered = 0, pairs = 0;
    for (size_t i = 0; i < n && p.n == n; i++)
        for (size_t k = 0; k < n; k++)
            if (counts[i] > counts[k] + 1e-6 && counts[k] > 1) {
                pairs++;
                ordered += p.items[i].weight > p.items[k].weight;
            }
    ok(pairs > 5 && ordered == pairs, "scores are ordered as expected counts");
    free(counts);
    double first = got;
    for (int i = 0; i < 8; i++)
        unigram_em_step(&c, &p, 0, &got, NULL);
    ok(got > first + 0.1, "EM raises the likelihood: %.4f to %.4f", first, got);
    ok(!unigram_prune(&c, &p, 6, NULL) && p.n == 6, "pruned to what was asked");
    ok(!unigram_prune(&c, &p, 1, NULL) && p.n == c.n_letters, "letters stay");
    mem_free(p.items);
    unigram_corpus_deinit(&c);
}

/* ---- tokenizers ---- */

static bool same_ids(const struct tokenizer *a, const struct tokenizer *b, struct str text)
{
    struct tokens x = {0}, y = {0};
    tokenizer_encode(a, text, &x);
    tokenizer_encode(b, text, &y);
    bool same = !x.failed && !y.failed && x.n == y.n &&
                (x.n == 0 || memcmp(x.ids, y.ids, x.n * sizeof *x.ids) == 0);
    tokens_deinit(&x);
    tokens_deinit(&y);
    return same;
}

static bool same_vocabulary(const struct tokenizer *a, const struct tokenizer *b)
{
    bool same = a && b && tokenizer_size(a) == tokenizer_size(b);
    for (int32_t i = 0; same && (size_t)i < tokenizer_size(a); i++)
        same = str_eq(tokenizer_token(a, i), tokenizer_token(b, i));
    return same;
}

static size_t count_unknown(const struct tokenizer *t)
{
    struct tokens x = {0};
    size_t unknown = 0;
    for (size_t i = 0; i < N_SHOP; i++)
        tokenizer_encode(t, shop[i], &x);
    for (size_t i = 0; i < x.n; i++)
        unknown += x.ids[i] == tokenizer_specials(t).unknown;
    tokens_deinit(&x);
    return unknown;
}

static void test_shop(void)
{
    static const char *const extras[] = {"[T]", "[Q]", NULL};
    struct tokenizer_training o = {
        .vocabulary = 150, .extra_specials = extras, .keep_accents = true, .keep_case = true};
    pool_set_threads(1);
    struct tokenizer *one = train(o, shop, N_SHOP);
    pool_set_threads(3);
    struct tokenizer *three = train(o, shop, N_SHOP), *loaded = NULL;
    pool_set_threads(0);
    if (!ok(one && three, "trained"))
        return;
    ok(tokenizer_size(one) == 150, "the size asked for: %zu", tokenizer_size(one));
    ok(same_vocabulary(one, three), "the same with 1 and 3 threads");
    ok(count_unknown(one) == 0, "every character is covered");
    ok(tokenizer_id(one, STR("\xE2\x96\x81kitchen")) > 0, "a frequent word is one token");
    struct tokenizer_specials s = tokenizer_specials(one);
    ok(s.pad == 0 && s.unknown == 1 && s.cls == 2 && s.sep == 3 && s.mask == 4 &&
           tokenizer_id(one, STR("[T]")) == 5 && tokenizer_id(one, STR("[Q]")) == 6,
       "special tokens come first");
    struct tokens t = {0};
    tokenizer_encode(one, STR("[Q]kitchen[T]"), &t);
    ok(t.n == 3 && t.ids[0] == 6 && t.ids[2] == 5, "markers are found in texts");
    tokens_deinit(&t);
    size_t slots;
    const struct tokenizer_slot *f = tokenizer_frame(one, true, &slots);
    ok(slots == 5 && f[0].id == 2 && f[1].id == TOKENIZER_A && f[2].id == 3 && f[2].type == 0 &&
           f[3].id == TOKENIZER_B && f[4].type == 1,
       "[CLS] a [SEP] b [SEP]");
    const char *folder = tap_folder();
    ok(tokenizer_save(one, folder, NULL) == MEDLEY_OK &&
           tokenizer_load(folder, &loaded, NULL) == MEDLEY_OK,
       "saved and loaded");
    size_t same = 0;
    for (size_t i = 0; loaded && i < N_SHOP; i++)
        same += same_ids(one, loaded, shop[i]);
    ok(same == N_SHOP && same_vocabulary(one, loaded), "the same ids");
    remove_tree(folder, NULL);
    tokenizer_free(loaded);
    tokenizer_free(one);
    tokenizer_free(three);
}

static void test_hostile(void)
{
    static char longest[5000];
    memset(longest, 'a', sizeof longest);
    const struct str texts[] = {
        STR("\xFF\xFE\xC3 \xE3\x81 x\x00y \xED\xA0\x80"),
        STR(""),
        STR("   \t\n "),
        STR("[PAD] [T] [UNK] \xEF\xBC\xBBPAD\xEF\xBC\xBD \xEF\xBC\xBBPAD\xEF\xBC\xBD"),
        {longest, sizeof longest},
        {longest, sizeof longest},
        STR("\xE2\x96\x81\xE2\x96\x81 \xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80")};
    size_t n = sizeof texts / sizeof *texts;
    struct tokenizer_training o = {.vocabulary = 60, .keep_case = true, .keep_accents = true};
    struct tokenizer *t = train(o, texts, n);
    ok(t && tokenizer_size(t) <= 60 && tokenizer_size(t) > 12, "hostile texts: %zu tokens",
       t ? tokenizer_size(t) : 0);
    size_t twice = 0;
    for (int32_t i = 0; t && (size_t)i < tokenizer_size(t); i++)
        twice += tokenizer_id(t, tokenizer_token(t, i)) != i;
    ok(t && twice == 0, "no token twice");
    tokenizer_free(t);
    t = train(o, NULL, 0);
    ok(t && tokenizer_size(t) == 5, "no text leaves the special tokens");
    tokenizer_free(t);
    t = train(o, (const struct str[]){STR("ab")}, 1);
    ok(t && tokenizer_size(t) == 8, "one word leaves its letters");
    tokenizer_free(t);
    o.vocabulary = 9;
    t = train(o, shop, N_SHOP);
    ok(t && tokenizer_size(t) == 9, "more characters than room: the most frequent");
    tokenizer_free(t);
}

static void test_refused(void)
{
    static const char *const twice[] = {"[T]", "[T]", NULL};
    struct tokenizer_training o = {.kind = TOKENIZER_UNIGRAM, .vocabulary = 5};
    struct texts source = {shop, N_SHOP, 0};
    struct tokenizer *t = NULL;
    ok(tokenizer_train(&o, next_text, &source, &t, NULL) == MEDLEY_EINVAL, "no room");
    o = (struct tokenizer_training){TOKENIZER_UNIGRAM, 90, .extra_specials = twice};
    ok(tokenizer_train(&o, next_text, &source, &t, NULL) == MEDLEY_EINVAL, "a special twice");
    o.extra_specials = NULL;
    interrupt_request();
    medley_status st = tokenizer_train(&o, next_text, &source, &t, NULL);
    interrupt_clear();
    ok(st == MEDLEY_EINTERRUPTED && !t, "interrupted on request");
}

static void test_memory(void)
{
    struct tokenizer_training o = {.kind = TOKENIZER_UNIGRAM, .vocabulary = 60};
    medley_status st = MEDLEY_ENOMEM;
    struct tokenizer *t = NULL;
    size_t n = 0, wrong = 0;
    for (; n < 20000 && st != MEDLEY_OK; n++) {
        struct texts source = {shop, 20, 0};
        mem_fail_after(n);
        st = tokenizer_train(&o, next_text, &source, &t, NULL);
        mem_fail_after(SIZE_MAX);
        wrong += st != MEDLEY_OK && st != MEDLEY_ENOMEM;
    }
    ok(st == MEDLEY_OK && n > 50 && !wrong, "each of %zu allocations may fail", n - 1);
    tokenizer_free(t);
}

int main(void)
{
    make_shop(7);
    printf("# seed 7\n");
    test_em();
    test_shop();
    test_hostile();
    test_refused();
    test_memory();
    return tap_done();
}
