/* test_tokenizer_train.c: the incremental trainer against one that counts all pairs anew for
 * every merge; equal texts give equal vocabularies; a saved vocabulary gives equal ids; bad
 * options. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "tap.h"

struct texts {
    const char *const *list;
    size_t n, at;
};

static bool next_text(void *context, struct str *text)
{
    struct texts *t = context;
    if (t->at == t->n)
        return false;
    *text = str_of(t->list[t->at++]);
    return true;
}

static struct tokenizer *train(const struct tokenizer_training *o, const char *const *list,
                               size_t n)
{
    struct texts source = {list, n, 0};
    struct tokenizer *t = NULL;
    medley_error err = {0};
    if (tokenizer_train(o, next_text, &source, &t, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return t;
}

/* ---- the definition: pieces as texts, everything counted anew ---- */

#define MAX_WORDS 400
#define MAX_PIECES 40
struct naive_word {
    char piece[MAX_PIECES][64];
    size_t n, count;
};
static struct naive_word naive[MAX_WORDS];
static size_t n_naive;

static void naive_add(const char *text)
{
    char word[64];
    while (*text) {
        size_t n = strcspn(text, " ");
        if (n > 0 && n < sizeof word) {
            struct naive_word w = {.count = 1};
            memcpy(word, text, n);
            word[n] = 0;
            for (; w.n < n; w.n++)
                snprintf(w.piece[w.n], sizeof w.piece[0], "%s%c", w.n ? "##" : "", word[w.n]);
            size_t i = 0;
            while (i < n_naive && memcmp(naive[i].piece, w.piece, sizeof w.piece) != 0)
                i++;
            if (i < n_naive)
                naive[i].count++;
            else
                naive[n_naive++] = w;
        }
        text += n + (text[n] == ' ');
    }
}

static void naive_merge(const char *left, const char *right)
{
    for (size_t w = 0; w < n_naive; w++) {
        struct naive_word *word = &naive[w];
        size_t kept = 0;
        for (size_t i = 0; i < word->n; i++, kept++) {
            char piece[128];
            bool here = i + 1 < word->n && strcmp(word->piece[i], left) == 0 &&
                        strcmp(word->piece[i + 1], right) == 0;
            snprintf(piece, sizeof piece, "%s%s", word->piece[i],
                     here ? word->piece[i + 1] + 2 : "");
            i += here;
            memcpy(word->piece[kept], piece, 64);
        }
        word->n = kept;
    }
}

static size_t naive_count(const char *left, const char *right)
{
    size_t count = 0;
    for (size_t w = 0; w < n_naive; w++)
        for (size_t i = 0; i + 1 < naive[w].n; i++)
            if (strcmp(naive[w].piece[i], left) == 0 &&
                strcmp(naive[w].piece[i + 1], right) == 0)
                count += naive[w].count;
    return count;
}

/* Follows the trained vocabulary: each piece in turn must come from a pair of highest count. */
static size_t naive_disagreements(const struct tokenizer *t, size_t first_merge)
{
    size_t wrong = 0;
    for (size_t id = first_merge; id < tokenizer_size(t); id++) {
        struct str wanted = tokenizer_token(t, (int32_t)id);
        size_t best = 0, of_wanted = 0;
        char left[64] = "", right[64] = "";
        for (size_t w = 0; w < n_naive; w++)
            for (size_t i = 0; i + 1 < naive[w].n; i++) {
                const char *a = naive[w].piece[i], *b = naive[w].piece[i + 1];
                char joined[128];
                size_t count = naive_count(a, b);
                best = count > best ? count : best;
                snprintf(joined, sizeof joined, "%.63s%.60s", a, b + 2);
                if (str_is(wanted, joined) && count > of_wanted) {
                    of_wanted = count;
                    snprintf(left, sizeof left, "%.63s", a);
                    snprintf(right, sizeof right, "%.63s", b);
                }
            }
        wrong += of_wanted == 0 || of_wanted != best;
        naive_merge(left, right);
    }
    return wrong;
}

static void test_against_naive(uint64_t seed)
{
    static char text[2][1200];
    const char *list[] = {text[0], text[1]};
    struct rng r;
    rng_init(&r, seed, 0);
    n_naive = 0;
    for (int k = 0; k < 2; k++) {
        size_t n = 0;
        while (n + 12 < sizeof text[k] / 4) { /* few letters, so that pairs overlap: "aaab" */
            for (uint32_t m = 1 + rng_below(&r, 7); m > 0; m--)
                text[k][n++] = (char)('a' + rng_below(&r, 3));
            text[k][n++] = ' ';
        }
        text[k][n] = 0;
        naive_add(text[k]);
    }
    struct tokenizer_training o = {.vocabulary = 40, .min_count = 1};
    struct tokenizer *t = train(&o, list, 2);
    if (!ok(t && tokenizer_size(t) == 40, "seed %llu: 40 tokens", (unsigned long long)seed))
        return;
    size_t wrong = naive_disagreements(t, 5 + 6); /* specials, a b c in both forms */
    ok(wrong == 0, "seed %llu: every merge is of a most frequent pair (%zu are not)",
       (unsigned long long)seed, wrong);
    tokenizer_free(t);
}

/* ---- what users meet ---- */

static const char *const shop[] = {
    "Running shoes for men, running socks",
    "Women's running shoes size 7",
    "\xE6\x9D\xB1\xE4\xBA\xAC \xE6\x9D\xB1\xE4\xBA\xAC caf\xC3\xA9 CAF\xC3\xA9 th\xC3\xA9",
    "shoe shoes shoes runner run running",
};
#define N_SHOP (sizeof shop / sizeof shop[0])

static void same_encoding(const struct tokenizer *a, const struct tokenizer *b,
                          const char *what)
{
    size_t different = 0;
    for (size_t i = 0; i < N_SHOP; i++) {
        struct tokens x = {0}, y = {0};
        tokenizer_encode(a, str_of(shop[i]), &x);
        tokenizer_encode(b, str_of(shop[i]), &y);
        different += x.n != y.n || x.n == 0 || memcmp(x.ids, y.ids, x.n * sizeof *x.ids) != 0;
        tokens_deinit(&x);
        tokens_deinit(&y);
    }
    ok(different == 0, "%s", what);
}

static bool same_vocabulary(const struct tokenizer *a, const struct tokenizer *b)
{
    bool same = tokenizer_size(a) == tokenizer_size(b);
    for (int32_t id = 0; same && id < (int32_t)tokenizer_size(a); id++)
        same = str_eq(tokenizer_token(a, id), tokenizer_token(b, id));
    return same;
}

static void check_saved(const struct tokenizer *t)
{
    const char *folder = tap_folder();
    char *path = path_join(folder, "vocab.txt");
    struct tokenizer *from_json = NULL, *from_vocab = NULL;
    ok(tokenizer_save(t, folder, NULL) == MEDLEY_OK &&
           tokenizer_load(folder, &from_json, NULL) == MEDLEY_OK &&
           tokenizer_load(path, &from_vocab, NULL) == MEDLEY_OK,
       "saved, loaded from tokenizer.json and from vocab.txt");
    if (from_json && from_vocab) {
        ok(same_vocabulary(t, from_json) && same_vocabulary(t, from_vocab),
           "equal vocabularies");
        same_encoding(t, from_json, "equal ids through tokenizer.json");
        same_encoding(t, from_vocab, "equal ids through vocab.txt");
        struct tokens x = {0};
        tokenizer_encode(from_vocab, STR("[T]shoes"), &x);
        ok(x.n > 0 && x.ids[0] == 5, "an extra special token is found through vocab.txt");
        tokens_deinit(&x);
    }
    tokenizer_free(from_json);
    tokenizer_free(from_vocab);
    remove_tree(folder, NULL);
    mem_free(path);
}

static void test_shop(void)
{
    static const char *const extras[] = {"[T]", "[B]", NULL};
    struct tokenizer_training o = {.vocabulary = 90, .extra_specials = extras};
    struct tokenizer *t = train(&o, shop, N_SHOP), *again = train(&o, shop, N_SHOP);
    if (!ok(t && again, "a small shop trains"))
        return;
    struct tokenizer_specials s = tokenizer_specials(t);
    ok(s.pad == 0 && s.unknown == 1 && s.cls == 2 && s.sep == 3 && s.mask == 4 &&
           str_is(tokenizer_token(t, 5), "[T]") && str_is(tokenizer_token(t, 6), "[B]"),
       "special tokens come first, extras after the usual five");
    ok(same_vocabulary(t, again), "twice the same");
    ok(tokenizer_id(t, STR("shoes")) >= 0 && tokenizer_id(t, STR("running")) >= 0,
       "frequent words become pieces");
    ok(tokenizer_id(t, STR("\xE6\x9D\xB1")) >= 0 && tokenizer_id(t, STR("##\xE4\xBA\xAC")) < 0,
       "CJK characters are words of their own");
    ok(tokenizer_id(t, STR("\xC3\xA9")) < 0 && tokenizer_id(t, STR("##\xC3\xA9")) < 0,
       "accents are stripped unless kept");
    check_saved(t);
    tokenizer_free(again);
    o.keep_accents = o.keep_case = true;
    o.vocabulary = 300;
    again = train(&o, shop, N_SHOP);
    ok(again && tokenizer_id(again, STR("##\xC3\xA9")) >= 0, "accents are kept on request");
    ok(again && tokenizer_id(again, STR("R")) >= 0 && tokenizer_id(again, STR("##R")) >= 0,
       "case is kept on request; ASCII letters get both forms");
    tokenizer_free(again);
    tokenizer_free(t);
}

static void test_refused(void)
{
    static const char *const twice[] = {"[T]", "[T]", NULL};
    struct tokenizer_training o = {.vocabulary = 5};
    struct texts source = {shop, N_SHOP, 0};
    struct tokenizer *t = NULL;
    ok(tokenizer_train(&o, next_text, &source, &t, NULL) == MEDLEY_EINVAL,
       "no room for pieces");
    o.vocabulary = 90;
    o.extra_specials = twice;
    ok(tokenizer_train(&o, next_text, &source, &t, NULL) == MEDLEY_EINVAL,
       "a special given twice");
    o.extra_specials = NULL;
    interrupt_request();
    medley_status st = tokenizer_train(&o, next_text, &source, &t, NULL);
    interrupt_clear();
    ok(st == MEDLEY_EINTERRUPTED && t == NULL, "interrupted on request");
    source.n = source.at = 0;
    ok(tokenizer_train(&o, next_text, &source, &t, NULL) == MEDLEY_OK && tokenizer_size(t) == 5,
       "no text at all leaves the special tokens");
    tokenizer_free(t);
}

static void test_memory(void)
{
    struct tokenizer_training o = {.vocabulary = 90};
    medley_status st = MEDLEY_ENOMEM;
    struct tokenizer *t = NULL;
    size_t n = 0;
    for (; n < 100000 && st == MEDLEY_ENOMEM; n++) {
        struct texts source = {shop, N_SHOP, 0};
        mem_fail_after(n);
        st = tokenizer_train(&o, next_text, &source, &t, NULL);
        mem_fail_after(SIZE_MAX);
    }
    ok(st == MEDLEY_OK && n > 50, "each of %zu allocations may fail", n - 1);
    tokenizer_free(t);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        test_against_naive(seed);
    test_shop();
    test_refused();
    test_memory();
    return tap_done();
}
