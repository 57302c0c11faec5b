/* test_keywords.c: document frequencies, the file and its refusals, and which parts are kept.
 */
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "text/clean.h"
#include "text/keywords.h"
#include "tap.h"

static void add(struct keywords *k, const char *locale, const char *text)
{
    if (keywords_add(k, str_of(locale), str_of(text), NULL) != MEDLEY_OK)
        printf("# keywords_add failed\n");
}

static struct keywords *shop(void)
{
    struct keywords *k = keywords_new();
    add(k, "us", "The red running shoe. The best shoe for the runner");
    add(k, "us", "the blue mug; the mug for the office &amp; home");
    add(k, "us", "the green lamp for the desk");
    add(k, "us", "the lamp");
    add(k, "jp", "\xE6\x9D\xB1\xE4\xBA\xAC\xE9\x83\xBD");
    return k;
}

static const char *extracted(const struct keywords *k, const char *locale, const char *text,
                             size_t words)
{
    static char copy[2048];
    struct strbuf out;
    sb_init(&out);
    sb_addz(&out, "");
    keywords_extract(k, str_of(locale), str_of(text), words, &out);
    snprintf(copy, sizeof copy, "%s", out.failed ? "failed" : out.s);
    sb_deinit(&out);
    return copy;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

static void test_idf(void)
{
    struct keywords *k = shop();
    ok(near(keywords_idf(k, STR("us"), STR("the")), log(5.0 / 5) + 1),
       "a word of all documents");
    ok(near(keywords_idf(k, STR("us"), STR("lamp")), log(5.0 / 3) + 1), "of two");
    ok(near(keywords_idf(k, STR("us"), STR("shoe")), log(5.0 / 2) + 1),
       "of one, where it comes twice");
    ok(near(keywords_idf(k, STR("us"), STR("xyz")), log(5.0) + 1), "of none");
    ok(near(keywords_idf(k, STR("us"), STR("amp")), log(5.0) + 1), "texts are cleaned first");
    ok(near(keywords_idf(k, STR("jp"), STR("\xE4\xBA\xAC\xE9\x83\xBD")), 1), "a bigram");
    ok(near(keywords_idf(k, STR("fr"), STR("the")), 1), "a locale without documents");
    keywords_free(k);
}

static void test_extract(void)
{
    struct keywords *k = shop();
    static const char text[] = "It is the best for the office. Ceramic mug, holds 12 oz!\n"
                               "The mug for the home; the ceramic mug\nDishwasher safe";
    is_text(extracted(k, "us", "<p>The mug\nfor the home</p>", 5), "The mug for the home",
            "a text that fits is kept whole, cleaned");
    is_text(extracted(k, "us", text, 7), "Ceramic mug, holds 12 oz! Dishwasher safe",
            "parts of rare words, in their order");
    is_text(extracted(k, "us", text, 2), "Ceramic mug,", "words that come twice weigh more");
    is_text(extracted(k, "us", text, 0), "", "no room");
    is_text(extracted(k, "jp",
                      "\xE6\x9D\xB1\xE4\xBA\xAC\xE9\x83\xBD\xE3\x80\x82\xE7\x8C\xAB\xE3\x81"
                      "\xAE\xE6\x9C\xAC",
                      2),
            "\xE7\x8C\xAB\xE3\x81\xAE\xE6\x9C\xAC", "Japanese sentences");
    keywords_free(k);
    k = keywords_new();
    is_text(extracted(k, "us", "one two, three", 2), "one two,", "without any documents");
    keywords_free(k);
}

/* ---- the file ---- */

static char *saved(const struct keywords *k, const char *path)
{
    char *data = NULL;
    size_t n = 0;
    medley_error err = {0};
    if (keywords_save(k, path, &err) != MEDLEY_OK ||
        file_read(path, 1 << 20, &data, &n, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return data;
}

static void refused(const char *path, const char *content, const char *why)
{
    struct keywords *k = NULL;
    medley_error err = {0};
    file_write(path, content, strlen(content), NULL);
    ok(keywords_load(path, &k, &err) == MEDLEY_EFORMAT && !k, "refused: %s", why);
    printf("# %s\n", err.message);
    keywords_free(k);
}

static void test_file(void)
{
    const char *folder = tap_folder();
    char *path = path_join(folder, "keywords.txt");
    struct keywords *k = shop(), *again = NULL;
    medley_error err = {0};
    char *first = saved(k, path);
    ok(first && strncmp(first, "medley-keywords 1\nlocales 2\nlocale jp 1 2\n", 42) == 0 &&
           strstr(first, "locale us 4 14\nbest\t1\nblue\t1\n"),
       "a sorted text file");
    ok(keywords_load(path, &again, &err) == MEDLEY_OK, "loads again %s", err.message);
    if (again) {
        char *second = saved(again, path);
        is_text(second, first ? first : "", "and is saved as it was");
        ok(near(keywords_idf(again, STR("us"), STR("lamp")), log(5.0 / 3) + 1),
           "with its counts");
        add(again, "us", "lamp");
        ok(near(keywords_idf(again, STR("us"), STR("lamp")), log(6.0 / 4) + 1),
           "and goes on counting");
        mem_free(second);
    }
    add(k, "a b", "x");
    ok(keywords_save(k, path, &err) == MEDLEY_EINVAL, "a locale with a space is not saved");
    refused(path, "", "an empty file");
    refused(path, "medley-keywords 2\nlocales 0\n", "another version");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 0\nx", "text after the last word");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3\n", "a locale line without words");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 2\na\t1\n", "too few words");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 1\na\t4\n",
            "a count above the documents");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 1\na\t0\n", "a count of none");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 1\na 1\n",
            "a word without its count");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 1\n\xFF\t1\n",
            "a word that is not UTF-8");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 2\nb\t1\na\t1\n",
            "words out of order");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 2\na\t1\na\t1\n", "a word twice");
    refused(path, "medley-keywords 1\nlocales 2\nlocale us 3 0\nlocale us 3 0\n",
            "a locale twice");
    refused(path, "medley-keywords 1\nlocales 1\nlocale us 3 18446744073709551615\n",
            "words without end");
    keywords_free(again);
    keywords_free(k);
    mem_free(first);
    remove_tree(folder, NULL);
    mem_free(path);
}

static void test_broken(void)
{
    const char *folder = tap_folder();
    char *path = path_join(folder, "keywords.txt");
    struct keywords *k = shop();
    char *data = saved(k, path);
    size_t n = data ? strlen(data) : 0;
    struct rng r;
    rng_init(&r, 5, 0);
    size_t loaded = 0;
    for (size_t i = 0; i < n; i++) {
        struct keywords *broken = NULL;
        file_write(path, data, i, NULL);
        loaded += keywords_load(path, &broken, NULL) == MEDLEY_OK;
        keywords_free(broken);
        broken = NULL;
        char *copy = mem_strndup(data, n);
        copy[rng_below(&r, (uint32_t)n)] ^= (char)(1 << rng_below(&r, 8));
        file_write(path, copy, n, NULL);
        if (keywords_load(path, &broken, NULL) == MEDLEY_OK)
            extracted(broken, "us", "the red shoe. the mug", 2);
        keywords_free(broken);
        mem_free(copy);
    }
    ok(loaded == 0, "a file cut short never loads (%zu of %zu do)", loaded, n);
    mem_free(data);
    keywords_free(k);
    remove_tree(folder, NULL);
    mem_free(path);
}

static void test_memory(void)
{
    const char *folder = tap_folder();
    char *path = path_join(folder, "keywords.txt");
    bool all = false;
    size_t n = 0;
    for (; !all && n < 2000; n++) {
        struct keywords *k = NULL, *again = NULL;
        struct strbuf out;
        sb_init(&out);
        mem_fail_after(n);
        k = keywords_new();
        all = k &&
              keywords_add(k, STR("us"), STR("the red shoe, caf\xC3\xA9"), NULL) == MEDLEY_OK &&
              keywords_add(k, STR("es"), STR("zapato"), NULL) == MEDLEY_OK &&
              keywords_save(k, path, NULL) == MEDLEY_OK &&
              keywords_load(path, &again, NULL) == MEDLEY_OK;
        if (all) {
            keywords_extract(again, STR("us"), STR("the red shoe, a mug. one two"), 3, &out);
            all = !out.failed;
        }
        mem_fail_after(SIZE_MAX);
        keywords_free(k);
        keywords_free(again);
        sb_deinit(&out);
    }
    ok(all && n > 20, "each of %zu allocations may fail", n - 1);
    remove_tree(folder, NULL);
    mem_free(path);
}

int main(void)
{
    test_idf();
    test_extract();
    test_file();
    test_broken();
    test_memory();
    return tap_done();
}
