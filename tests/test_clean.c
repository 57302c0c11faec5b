/* test_clean.c: cleaning by example, one line a rule; words; hostile bytes; allocations that
 * fail. */
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "text/clean.h"
#include "tap.h"

static const char *cleaned(const char *locale, const char *text, bool lines)
{
    static char copy[4096];
    struct strbuf out;
    sb_init(&out);
    sb_addz(&out, "before|");
    (lines ? text_clean_lines : text_clean)(str_of(locale), str_of(text), &out);
    snprintf(copy, sizeof copy, "%s", out.failed ? "failed" : out.s + strlen("before|"));
    sb_deinit(&out);
    return copy;
}

static const struct {
    const char *locale, *from, *to, *why;
} examples[] = {
    {"us", "  two \t words\r\n ", "two words", "white space collapses and is trimmed"},
    {"us", "", "", "nothing stays nothing"},
    {"us", " \n ", "", "white space alone is nothing"},
    {"us",
     "a\xC2\xA0"
     "b\xE3\x80\x80"
     "c",
     "a b c", "no-break and ideographic spaces"},
    {"us", "R&amp;D &lt;3 &quot;x&quot; &#39;y&#39;", "R&D <3 \"x\" 'y'", "named and numeric"},
    {"us", "&#x41;&#66;&#146;s &eacute;&Eacute;&euro;", "AB's \xC3\xA9\xC3\x89\xE2\x82\xAC",
     "hexadecimal, Windows-1252, Latin-1"},
    {"us", "&amp;quot;a&amp;amp;b", "\"a&b", "encoded twice"},
    {"us", "R&D a&b; &nosuch; &#xZZ; &#; &", "R&D a&b; &nosuch; &#xZZ; &#; &", "no references"},
    {"us", "&#0;&#xD800;&#x110000;", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "impossible ones"},
    {"us", "<p>One<br/>two</P><b>th</b>ree", "One two three", "tags: breaking and inline"},
    {"us", "&lt;br&gt;x&lt;/br&gt;", "x", "encoded tags"},
    {"us", "I <3 it, 5 < 6 > 4, a<b", "I <3 it, 5 < 6 > 4, a<b",
     "angle brackets that are no tags"},
    {"us", "<a title=\"x > y\" href='z'>link</a> <unknown>", "link <unknown>",
     "quoted attributes"},
    {"us", "a<script>if (a<b) {}</SCRIPT>b<!-- no -->c<style>p{}", "a b c",
     "scripts, comments"},
    {"us", "\xEF\xBC\xA1\xEF\xBC\xA2\xEF\xBC\x91 \xEF\xAC\x81ne m\xC2\xB2", "AB1 fine m2",
     "NFKC"},
    {"us", "e\xCC\x81", "\xC3\xA9", "composition"},
    {"us", "1\xC2\xBD\xE2\x80\xB3 \xC2\xBE cup", "1 1/2\" 3/4 cup", "fractions"},
    {"us",
     "Lego\xE2\x84\xA2 Brick\xC2\xAE \xC2\xA9"
     "2020",
     "Lego Brick 2020", "trade marks"},
    {"us",
     "\xE2\x80\x98q\xE2\x80\x99 \xE2\x80\x9Cr\xE2\x80\x9D men\xC2\xB4s 5\xE2\x80\x93"
     "6",
     "'q' \"r\" men's 5-6", "quotes and dashes"},
    {"us",
     "Cool \xF0\x9F\x98\x80\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD"
     "deal \xE2\x9C\x94\xEF\xB8\x8F ok",
     "Cool deal ok", "emoji with modifiers"},
    {"us",
     "ab\xE2\x80\x8B"
     "c\xC2\xAD"
     "d\x01"
     "e\xEF\xBB\xBF",
     "abcd e", "invisible characters"},
    {"us",
     "a\xFF"
     "b\xC3",
     "a\xEF\xBF\xBD"
     "b\xEF\xBF\xBD",
     "bytes that are not UTF-8"},
    {"us", "Don't, can't; Won't! I'm they're we\xE2\x80\x99ve you'll let's",
     "Do not, cannot; Will not! I am they are we have you will let us", "contractions"},
    {"us", "men's he'd '90s rock'n'roll 'm n't DON'T",
     "men's he'd '90s rock'n'roll 'm n't DO not", "what has two readings stays"},
    {"en-GB", "don't", "do not", "a longer tag"},
    {"es", "crema del sol al ba\xC3\xB1o don't", "crema del sol al ba\xC3\xB1o don't",
     "Spanish is left alone"},
    {"xx", "don't", "don't", "an unknown locale"},
    {"jp", "\xEF\xBE\x8A\xEF\xBE\x9E\xEF\xBD\xAF\xEF\xBD\xB8\xEF\xBE\x9E",
     "\xE3\x83\x90\xE3\x83\x83\xE3\x82\xB0", "half-width katakana"},
    {"jp",
     "\xE3\x82\xB3\xE2\x80\x95\xE3\x83\x92\xEF\xBC\x8D 5\xE2\x80\x93"
     "6",
     "\xE3\x82\xB3\xE3\x83\xBC\xE3\x83\x92\xE3\x83\xBC 5-6",
     "dashes for the prolonged sound mark"},
    {"jp",
     "\xE3\x82\xB9\xE3\x83\xBC\xE3\x83\xBC\xE3\x83\xBC"
     "A",
     "\xE3\x82\xB9\xE3\x83\xBC"
     "A",
     "a run of sound marks"},
    {"us", "\xE3\x82\xB3\xE2\x80\x95\xE3\x83\x92", "\xE3\x82\xB3-\xE3\x83\x92",
     "elsewhere a dash"},
};

static void test_examples(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
        is_text(cleaned(examples[i].locale, examples[i].from, false), examples[i].to, "%s: %s",
                examples[i].locale, examples[i].why);
    is_text(cleaned("us", "One.<br>Two \n\n \xE2\x80\xA2 three\t four", true),
            "One.\nTwo\nthree four", "lines: breaks, blocks and bullets");
}

/* ---- words ---- */

static void collect(void *context, struct str word)
{
    struct strbuf *b = context;
    sb_add(b, word.s, word.n);
    sb_addc(b, '|');
}

static const char *words(const char *text)
{
    static char copy[1024];
    struct strbuf b;
    sb_init(&b);
    sb_addz(&b, "");
    text_words(STR("us"), str_of(text), collect, &b);
    snprintf(copy, sizeof copy, "%s", b.s);
    sb_deinit(&b);
    return copy;
}

static void test_words(void)
{
    char many[301];
    is_text(words("Men's Running-Shoes 10.5 \xC3\x89t\xC3\xA9"),
            "men|s|running|shoes|10|5|\xC3\xA9t\xC3\xA9|", "letters and digits, lower case");
    is_text(words("\xE6\x9D\xB1\xE4\xBA\xAC\xE9\x83\xBD USB\xE9\xA7\x85"),
            "\xE6\x9D\xB1\xE4\xBA\xAC|\xE4\xBA\xAC\xE9\x83\xBD|usb|\xE9\xA7\x85|",
            "CJK by overlapping bigrams, one character alone");
    is_text(words("\xED\x95\x9C\xEA\xB5\xAD \xEC\x96\xB4"),
            "\xED\x95\x9C\xEA\xB5\xAD|\xEC\x96\xB4|", "Hangul by spaces");
    is_text(words(" ,.-"), "", "no words");
    memset(many, 'a', 300);
    many[300] = 0;
    ok(strlen(words(many)) == 300 + 3, "a long run comes in parts");
    is_text(words("a\xFF"
                  "b"),
            "a|b|", "bytes that are not UTF-8 separate");
}

/* ---- hostile input, memory ---- */

static bool clean_and_valid(struct str text)
{
    static const char *const locales[] = {"us", "jp", "es", ""};
    bool good = true;
    for (size_t i = 0; i < 4; i++) {
        struct strbuf out;
        sb_init(&out);
        text_clean(str_of(locales[i]), text, &out);
        good &= !out.failed && utf8_valid(sb_str(&out), NULL);
        good &= out.n == 0 || (out.s[0] != ' ' && out.s[out.n - 1] != ' ');
        good &= out.n == 0 || !memmem(out.s, out.n, "  ", 2);
        sb_deinit(&out);
    }
    return good;
}

static void test_random(void)
{
    static const char *const parts[] = {"&",
                                        "amp;",
                                        "lt;",
                                        "#x",
                                        "1",
                                        "<",
                                        "b",
                                        ">",
                                        "<br",
                                        "/>",
                                        "<!--",
                                        "-->",
                                        "'",
                                        "n't",
                                        "can",
                                        " ",
                                        "\n",
                                        "\xE3\x83\xBC",
                                        "\xE2\x80\x95",
                                        "\xE3\x82\xB3",
                                        "\xF0\x9F\x98\x80",
                                        "\xC2\xBD",
                                        "\xCC\x81",
                                        "\xFF",
                                        "\xE3",
                                        "\xEF\xBC\x8D",
                                        "\xEF\xB7\xBA" /* NFKC makes 18 characters of it */};
    char text[512];
    struct rng r;
    size_t bad = 0;
    rng_init(&r, 11, 0);
    for (int round = 0; round < 3000; round++) {
        size_t n = 0;
        for (uint32_t k = rng_below(&r, 40); k > 0; k--) {
            const char *part = parts[rng_below(&r, sizeof parts / sizeof parts[0])];
            memcpy(text + n, part, strlen(part));
            n += strlen(part);
        }
        bad += !clean_and_valid((struct str){text, n});
    }
    ok(bad == 0, "3000 random mixtures give trimmed, valid UTF-8 (seed 11; %zu do not)", bad);
}

static void test_memory(void)
{
    size_t n = 0;
    bool failed = true;
    for (; failed && n < 1000; n++) {
        struct strbuf out;
        sb_init(&out);
        mem_fail_after(n);
        text_clean(STR("jp"), STR("<b>caf\xC3\xA9</b> &amp; \xE6\x9D\xB1 don't"), &out);
        mem_fail_after(SIZE_MAX);
        failed = out.failed;
        sb_deinit(&out);
    }
    ok(!failed && n > 4, "each of %zu allocations may fail and is noticed", n - 1);
}

/* Cleaning product texts a second time should seldom matter. */
static void test_products(void)
{
    char *data = NULL;
    size_t n = 0, lines = 0, changed = 0;
    if (file_read("../shared/data/esci/products.csv", (size_t)1 << 28, &data, &n, NULL) !=
        MEDLEY_OK) {
        skip("no products here");
        return;
    }
    double start = clock_seconds();
    struct strbuf once, twice;
    sb_init(&once);
    sb_init(&twice);
    for (size_t i = 0; i < n; lines++) {
        const char *end = memchr(data + i, '\n', n - i);
        size_t length = end ? (size_t)(end - data) - i : n - i;
        sb_clear(&once);
        sb_clear(&twice);
        text_clean(STR("us"), (struct str){data + i, length}, &once);
        text_clean(STR("us"), sb_str(&once), &twice);
        changed += !str_eq(sb_str(&once), sb_str(&twice));
        i += length + 1;
    }
    printf("# %.1f MB/s\n", 2e-6 * (double)n / (clock_seconds() - start));
    ok(lines > 1000 && changed * 1000 < lines,
       "of %zu lines of products, %zu change when cleaned twice", lines, changed);
    sb_deinit(&once);
    sb_deinit(&twice);
    mem_free(data);
}

int main(void)
{
    test_examples();
    test_words();
    test_random();
    test_memory();
    test_products();
    return tap_done();
}
