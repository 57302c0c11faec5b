/* test_tokenizer.c: WordPiece against golden ids and the reference's treatment of every code
 * point (skipped without ../shared/data); a hand-made vocabulary for offsets, unknown words and
 * added tokens; training; files that are cut short or flipped; allocations that fail. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "text/bert_chars.h"
#include "text/tokenizer.h"
#include "tap.h"

#define GOLDEN "../shared/data/golden/tokenizers/"

static char *joined(const char *a, const char *b)
{
    char *path = path_join(a, b);
    if (!path)
        exit(1);
    return path;
}

/* "id id id" */
static const char *ids_text(const struct tokens *t)
{
    static char text[4096];
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < t->n && n + 16 < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? " " : "", t->ids[i]);
    return text;
}

static const char *encoded(const struct tokenizer *t, const char *text)
{
    static char copy[4096];
    struct tokens out = {0};
    tokenizer_encode(t, str_of(text), &out);
    snprintf(copy, sizeof copy, "%s", out.failed ? "failed" : ids_text(&out));
    tokens_deinit(&out);
    return copy;
}

/* ---- golden ---- */

#define NUL_STANDS_FOR \
    "\xEE\x80\x81" /* U+E001 in place of \u0000, which the JSON door refuses */

static json *load_strings(void)
{
    char *data = NULL;
    size_t n = 0;
    json *root = NULL;
    medley_error err;
    if (file_read(GOLDEN "strings.json", (size_t)1 << 24, &data, &n, &err) != MEDLEY_OK)
        return NULL;
    for (char *p = data; (p = strstr(p, "\\u0000")) != NULL;)
        memcpy(p, "\\ue001", 6);
    if (json_parse((struct str){data, n}, "strings.json", &root, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    mem_free(data);
    return root;
}

static struct str with_nul(const char *text, char *buffer, size_t size)
{
    size_t n = 0;
    while (*text && n + 1 < size) {
        if (strncmp(text, NUL_STANDS_FOR, 3) == 0) {
            buffer[n++] = 0;
            text += 3;
        } else {
            buffer[n++] = *text++;
        }
    }
    return (struct str){buffer, n};
}

static void add_special(struct tokens *t, int32_t id)
{
    struct tokens copy = *t;
    /* room for one more through the public interface: encode never shrinks the arrays */
    if (copy.n == copy.capacity) {
        t->ids = mem_resize(t->ids, t->capacity + 64, sizeof *t->ids);
        t->begin = mem_resize(t->begin, t->capacity + 64, sizeof *t->begin);
        t->end = mem_resize(t->end, t->capacity + 64, sizeof *t->end);
        t->capacity += 64;
    }
    t->ids[t->n++] = id;
}

static bool same_ids(const struct tokens *t, const json *wanted)
{
    size_t i = 0;
    if (json_count(wanted) != t->n)
        return false;
    for (const json *id = json_first(wanted); id; id = json_next(id), i++) {
        int64_t v = -1;
        if (!json_as_i64(id, &v) || v != t->ids[i])
            return false;
    }
    return true;
}

static char scratch[1 << 20];

static bool offsets_sound(const struct tokens *t, size_t n)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->begin[i] >= t->end[i] || t->end[i] > n || (i && t->begin[i] < t->begin[i - 1]))
            return false;
    return true;
}

static void check_strings(const struct tokenizer *t, const json *strings, const json *golden,
                          const char *name)
{
    struct tokens out = {0};
    struct tokenizer_specials special = tokenizer_specials(t);
    size_t run = 0, wrong = 0, odd_offsets = 0;
    const json *wanted = json_first(json_get(golden, "strings"));
    const json *item = json_first(json_get(strings, "strings"));
    for (; item && wanted; item = json_next(item), wanted = json_next(wanted), run++) {
        const char *text = "";
        json_as_text(json_get(item, "text"), &text);
        struct str s = with_nul(text, scratch, sizeof scratch);
        out.n = 0;
        tokenizer_encode(t, s, &out);
        odd_offsets += !offsets_sound(&out, s.n);
        out.n = 0;
        add_special(&out, special.cls);
        tokenizer_encode(t, s, &out);
        add_special(&out, special.sep);
        if (!same_ids(&out, wanted)) {
            wrong++;
            printf("# string %zu differs: %s\n#  got %s\n", run, text, ids_text(&out));
        }
    }
    ok(run == 436 && wrong == 0, "%s: %zu golden strings, %zu differ", name, run, wrong);
    ok(odd_offsets == 0, "%s: offsets lie in the text and ascend", name);
    run = wrong = 0;
    wanted = json_first(json_get(golden, "pairs"));
    item = json_first(json_get(strings, "pairs"));
    for (; item && wanted; item = json_next(item), wanted = json_next(wanted), run++) {
        const char *a = "", *b = "";
        json_as_text(json_get(item, "a"), &a);
        json_as_text(json_get(item, "b"), &b);
        out.n = 0;
        add_special(&out, special.cls);
        tokenizer_encode(t, with_nul(a, scratch, sizeof scratch), &out);
        add_special(&out, special.sep);
        tokenizer_encode(t, with_nul(b, scratch, sizeof scratch), &out);
        add_special(&out, special.sep);
        wrong += !same_ids(&out, json_get(wanted, "ids"));
    }
    ok(run == 64 && wrong == 0, "%s: %zu golden pairs, %zu differ", name, run, wrong);
    tokens_deinit(&out);
}

static void test_golden(const char *model)
{
    static const char *const files[] = {"", "/vocab.txt", "/tokenizer.json"};
    char path[256];
    json *golden = NULL, *strings = load_strings();
    medley_error err;
    snprintf(path, sizeof path, GOLDEN "%s/golden.json", model);
    if (!strings || json_load(path, &golden, &err) != MEDLEY_OK) {
        skip("no golden data for %s", model);
        json_free(strings);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer *t = NULL;
        snprintf(path, sizeof path, GOLDEN "%s%s", model, files[i]);
        double start = clock_seconds();
        if (!ok(tokenizer_load(path, &t, &err) == MEDLEY_OK, "%s loads", path)) {
            printf("# %s\n", err.message);
            continue;
        }
        printf("# loaded in %.0f ms\n", 1e3 * (clock_seconds() - start));
        check_strings(t, strings, golden, path);
        tokenizer_free(t);
    }
    json_free(golden);
    json_free(strings);
}

/* ---- every code point ---- */

#define UNICODE 0x110000
static uint8_t oracle[UNICODE]; /* bits below */
enum { DROP = 1, SPACE = 2, CJK = 4, PUNCT = 8, WHITE = 16 };

static uint32_t hex(const json *v)
{
    const char *text = "0";
    json_as_text(v, &text);
    return (uint32_t)strtoul(text, NULL, 16);
}

static void mark_set(const json *root, const char *key, uint8_t bit)
{
    for (const json *r = json_first(json_get(root, key)); r; r = json_next(r)) {
        const json *last = json_next(json_first(r));
        uint32_t a = hex(json_first(r)), b = last ? hex(last) : a;
        for (uint32_t c = a; c <= b && c < UNICODE; c++)
            oracle[c] |= bit;
    }
}

/* Code points that entry_of(c) becomes, as text; "" when dropped. */
static void becomes(const struct bert_chars *chars, uint32_t c, char *out, size_t size)
{
    uint32_t parts[BERT_EXPAND_MAX] = {bert_entry(chars, c)};
    size_t n = 1, length = 0;
    out[0] = 0;
    if (bert_action_of(parts[0]) == BERT_DROP)
        return;
    if (bert_action_of(parts[0]) == BERT_SEVERAL)
        n = bert_expand(chars, c, parts);
    for (size_t i = 0; i < n; i++)
        length +=
            (size_t)snprintf(out + length, size - length, " %x", bert_becomes(parts[i], c));
}

static size_t wrong_maps(const struct bert_chars *lower, const json *root)
{
    static char *wanted[UNICODE]; /* texts live as long as the test */
    size_t wrong = 0;
    for (const json *m = json_first(json_get(root, "lower_strip_map")); m; m = json_next(m)) {
        uint32_t c = hex(json_first(m));
        struct strbuf text;
        sb_init(&text);
        sb_addz(&text, "");
        for (const json *p = json_first(json_next(json_first(m))); p; p = json_next(p))
            sb_addf(&text, " %x", hex(p));
        wanted[c] = sb_steal(&text);
        if (!wanted[c])
            wanted[c] = mem_strdup("");
    }
    for (uint32_t c = 0; c < UNICODE; c++) {
        char got[256], same[16];
        if ((c >= 0xD800 && c < 0xE000) || (oracle[c] & (DROP | SPACE)))
            continue;
        becomes(lower, c, got, sizeof got);
        snprintf(same, sizeof same, " %x", c);
        if (strcmp(got, wanted[c] ? wanted[c] : same) != 0 && wrong++ < 10)
            printf("# U+%04X becomes%s, wanted%s\n", c, got, wanted[c] ? wanted[c] : same);
    }
    for (uint32_t c = 0; c < UNICODE; c++)
        mem_free(wanted[c]);
    return wrong;
}

static void test_code_points(void)
{
    json *root = NULL;
    medley_error err;
    struct bert_chars clean, plain, lower;
    if (json_load(GOLDEN "bert_codepoints.json", &root, &err) != MEDLEY_OK) {
        skip("no table of code points");
        return;
    }
    mark_set(root, "clean_drop", DROP);
    mark_set(root, "clean_to_space", SPACE);
    mark_set(root, "cjk_spaced", CJK);
    mark_set(root, "pretok_punct", PUNCT);
    mark_set(root, "pretok_whitespace", WHITE);
    struct bert_options o = {.clean_text = true, .cjk_chars = true};
    bert_chars_init(&clean, o, NULL);
    bert_chars_init(&plain, (struct bert_options){0}, NULL);
    o.lowercase = o.strip_accents = true;
    bert_chars_init(&lower, o, NULL);
    size_t wrong = 0;
    for (uint32_t c = 0; c < UNICODE; c++) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        uint8_t want = oracle[c];
        enum bert_action wanted = want & DROP              ? BERT_DROP
                                  : want & (SPACE | WHITE) ? BERT_SPACE
                                  : want & (CJK | PUNCT)   ? BERT_ISOLATE
                                                           : BERT_KEEP;
        enum bert_action bare = want & WHITE   ? BERT_SPACE
                                : want & PUNCT ? BERT_ISOLATE
                                               : BERT_KEEP;
        wrong += bert_action_of(bert_entry(&clean, c)) != wanted;
        wrong += bert_action_of(bert_entry(&plain, c)) != bare;
    }
    ok(wrong == 0, "every code point is classified as the reference does (%zu wrong)", wrong);
    wrong = wrong_maps(&lower, root);
    ok(wrong == 0, "every code point is lower-cased and stripped likewise (%zu wrong)", wrong);
    printf("# %zu pages of 1 KiB\n", lower.pages);
    bert_chars_deinit(&clean);
    bert_chars_deinit(&plain);
    bert_chars_deinit(&lower);
    json_free(root);
}

/* ---- a vocabulary by hand ---- */

static const char small_json[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"[PAD]\",\"special\":true},"
    "{\"id\":1,\"content\":\"[UNK]\",\"special\":true},{\"id\":2,\"content\":\"[CLS]\"},"
    "{\"id\":3,\"content\":\"[SEP]\"},{\"id\":40,\"content\":\"[SEP2]\"}],"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
    "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"model\":{\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
    "\"max_input_chars_per_word\":10,\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":"
    "3,"
    "\"un\":4,\"##aff\":5,\"##able\":6,\"a\":7,\"##b\":8,\",\":9,\"\xE6\x9D\xB1\":10,\"cafe\":"
    "11,"
    "\"##\xC3\xA9\":12,\"i\":13}}}";

static struct tokenizer *small(const char *folder)
{
    struct tokenizer *t = NULL;
    medley_error err = {0};
    char *path = joined(folder, "tokenizer.json");
    file_write(path, small_json, strlen(small_json), NULL);
    if (tokenizer_load(folder, &t, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    mem_free(path);
    return t;
}

static void check_small(const struct tokenizer *t, const char *which)
{
    struct tokens out = {0};
    is_text(encoded(t, "unaffable"), "4 5 6", "%s: longest pieces first", which);
    is_text(encoded(t, "unaffablex a"), "1 7", "%s: one bad piece, an unknown word", which);
    is_text(encoded(t, "aaaaaaaaaaaa,a"), "1 9 7", "%s: a word too long is unknown", which);
    is_text(encoded(t, "UN, \tab\xE6\x9D\xB1"), "4 9 7 8 10", "%s: case, punctuation, CJK",
            which);
    is_text(encoded(t, "[SEP2] [SEP]a[sep]"), "40 3 7 1 1 1", "%s: added tokens, longest",
            which);
    is_text(encoded(t, "\xFF\xFE"
                       "a\xC3"),
            "7", "%s: bytes that are not UTF-8 vanish", which);
    is_text(encoded(t, ""), "", "%s: nothing from nothing", which);

    /* C A F E-with-acute, a soft hyphen inside: offsets are the source's. */
    tokenizer_encode(t,
                     STR("  CA\xC2\xAD"
                         "F\xC3\x89, ab\xC3\x89"),
                     &out);
    is_text(ids_text(&out), "11 9 1", "%s: accents are stripped", which);
    ok(out.begin[0] == 2 && out.end[0] == 9 && out.begin[1] == 9 && out.end[1] == 10,
       "%s: offsets are those of the source", which);
    ok(out.begin[2] == 11 && out.end[2] == 15, "%s: an unknown word covers its source", which);
    tokens_deinit(&out);
    struct tokenizer_specials s = tokenizer_specials(t);
    ok(s.pad == 0 && s.unknown == 1 && s.cls == 2 && s.sep == 3 && s.mask == -1,
       "%s: special ids", which);
    ok(tokenizer_size(t) == 41 && tokenizer_id(t, STR("##able")) == 6 &&
           tokenizer_id(t, STR("able")) == -1 && str_is(tokenizer_token(t, 40), "[SEP2]") &&
           tokenizer_token(t, 41).n == 0 && tokenizer_token(t, -1).n == 0,
       "%s: ids and texts", which);
}

static void test_small(void)
{
    const char *folder = tap_folder();
    struct tokenizer *t = small(folder), *again = NULL;
    medley_error err = {0};
    if (!ok(t != NULL, "an old tokenizer.json without model.type loads"))
        return;
    check_small(t, "by hand");
    char *copy = joined(folder, "copy");
    ok(tokenizer_save(t, copy, &err) == MEDLEY_OK &&
           tokenizer_load(copy, &again, &err) == MEDLEY_OK,
       "saved and loaded again");
    if (again)
        check_small(again, "saved");
    tokenizer_free(again);
    tokenizer_free(t);
    remove_tree(folder, NULL);
    mem_free(copy);
}

/* ---- hostile files ---- */

static medley_status load_bytes(const char *path, const char *data, size_t n)
{
    struct tokenizer *t = NULL;
    medley_error err = {0};
    file_write(path, data, n, NULL);
    medley_status st = tokenizer_load(path, &t, &err);
    if (st == MEDLEY_OK) {
        encoded(t, "unaffable [SEP2]");
        tokenizer_free(t);
    }
    return st;
}

static void check_refused(const char *path, const char *from, const char *to, const char *why)
{
    struct strbuf b;
    sb_init(&b);
    const char *at = strstr(small_json, from);
    sb_add(&b, small_json, (size_t)(at - small_json));
    sb_addz(&b, to);
    sb_addz(&b, at + strlen(from));
    medley_error err = {0};
    struct tokenizer *t = NULL;
    file_write(path, b.s, b.n, NULL);
    medley_status st = tokenizer_load(path, &t, &err);
    ok(st == MEDLEY_EFORMAT || st == MEDLEY_EUNSUPPORTED, "refused: %s", why);
    printf("# %s\n", err.message);
    if (st == MEDLEY_OK)
        tokenizer_free(t);
    sb_deinit(&b);
}

static void test_hostile(void)
{
    const char *folder = tap_folder();
    char *path = joined(folder, "tokenizer.json"), *copy = mem_strdup(small_json);
    size_t n = strlen(small_json), survived = 0;
    check_refused(path, "\"un\":4", "\"un\":2000000000", "an id out of range");
    check_refused(path, "\"un\":4", "\"un\":-4", "a negative id");
    check_refused(path, "\"un\":4", "\"un\":\"4\"", "an id that is a text");
    check_refused(path, "\"un\":4", "\"un\":5", "two tokens of one id");
    check_refused(path, "BertNormalizer", "NFX", "an unknown normalizer");
    check_refused(path, "BertPreTokenizer", "Spaces", "an unknown pre_tokenizer");
    check_refused(path, "word\":10", "word\":1000", "words longer than the buffer");
    check_refused(path, "unk_token\":\"[UNK]", "unk_token\":\"<unk>",
                  "an unknown token not listed");
    for (size_t cut = 0; cut < n; cut += 7)
        survived += load_bytes(path, copy, cut) == MEDLEY_OK;
    ok(survived == 0, "no file cut short loads");
    struct rng r;
    rng_init(&r, 7, 0);
    for (int i = 0; i < 300; i++) {
        memcpy(copy, small_json, n);
        copy[rng_below(&r, (uint32_t)n)] ^= (char)(1 << rng_below(&r, 8));
        load_bytes(path, copy, n);
    }
    ok(true, "flipped bits crash nothing (seed 7)");
    remove_tree(folder, NULL);
    mem_free(path);
    mem_free(copy);
}

/* Every allocation of a load fails once; every load that fails leaves nothing behind (seen by
 * ASan). */
static void test_memory(void)
{
    const char *folder = tap_folder();
    struct tokenizer *t = small(folder);
    tokenizer_free(t);
    t = NULL;
    size_t n = 0;
    medley_error err = {0};
    medley_status st = MEDLEY_ENOMEM;
    for (; n < 10000 && st != MEDLEY_OK; n++) {
        mem_fail_after(n);
        st = tokenizer_load(folder, &t, n % 2 ? &err : NULL);
        mem_fail_after(SIZE_MAX);
        if (st != MEDLEY_OK && st != MEDLEY_ENOMEM) {
            printf("# %s\n", err.message);
            break;
        }
    }
    ok(st == MEDLEY_OK && n > 10, "each of %zu allocations may fail", n - 1);
    tokenizer_free(t);
    remove_tree(folder, NULL);
}

/* Words of each kind of vocabulary, put together from tokens as people read them. */
static void test_spelling(void)
{
    static const struct {
        enum token_marks marks;
        const char *token, *text;
        bool begins;
    } cases[] = {{MARKS_CONTINUATION, "##ing", "ing", false},
                 {MARKS_CONTINUATION, "usb", "usb", true},
                 {MARKS_CONTINUATION, "##", "##", false},
                 {MARKS_WORD, "\xe2\x96\x81shoe", "shoe", true},
                 {MARKS_WORD, "lace", "lace", false},
                 {MARKS_WORD, "\xe2\x96\x81", "\xe2\x96\x81", true},
                 {MARKS_BYTES, "\xc4\xa0red", "red", true},
                 {MARKS_BYTES, "\xc3\x83\xc2\xb1o", "\xc3\xb1o", false}, /* n with tilde, o */
                 {MARKS_BYTES, "\xe2\x96\x81", "\xe2\x96\x81", false},
                 {MARKS_NONE, "shoe", "shoe", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strbuf out;
        sb_init(&out);
        token_spell(cases[i].marks, str_of(cases[i].token), &out);
        is_text(out.s, cases[i].text, "a token's text");
        ok(token_begins_word(cases[i].marks, str_of(cases[i].token)) == cases[i].begins,
           "'%s' %s a word", cases[i].token, cases[i].begins ? "begins" : "goes on with");
        sb_deinit(&out);
    }
    static const struct {
        const char *file;
        enum token_marks marks;
    } files[] = {{"tests/data/tokenizers/byte-level-prefix.json", MARKS_BYTES},
                 {"tests/data/tokenizers/bpe-suffix.json", MARKS_NONE},
                 {"tests/data/tokenizers/unigram-first.json", MARKS_WORD},
                 {"tests/data/tokenizers/wordpiece-words.json", MARKS_CONTINUATION}};
    for (size_t i = 0; i < 4; i++) {
        struct tokenizer *t = NULL;
        medley_error err = {0};
        ok(tokenizer_load(files[i].file, &t, &err) == MEDLEY_OK, "loads: %s", err.message);
        ok(t && tokenizer_marks(t) == files[i].marks, "%s: its marks", files[i].file);
        tokenizer_free(t);
    }
}

int main(void)
{
    test_golden("bert-base-uncased");
    test_golden("bert-base-cased");
    test_code_points();
    test_small();
    test_hostile();
    test_memory();
    test_spelling();
    return tap_done();
}
