/* bench_text.c: cleaning, word splitting, encoding and vocabulary training on the lines of
 * ../shared/data/esci/products.csv (as text, quotes and all), one thread. CSV on stdout. */
#include "base/cpu.h"
#include "base/file.h"
#include "text/clean.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA "../shared/data/"
enum { RUNS = 7 };

struct work {
    struct str text; /* all lines */
    const struct tokenizer *tokenizer;
    struct strbuf clean;
    struct tokens tokens;
    size_t results; /* tokens, words, ...: so that nothing is optimised away */
};

static bool next_line(struct str *rest, struct str *line)
{
    if (rest->n == 0)
        return false;
    const char *end = memchr(rest->s, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->s) : rest->n;
    *line = (struct str){rest->s, n};
    n += end != NULL;
    *rest = (struct str){rest->s + n, rest->n - n};
    return true;
}

static void count(void *context, struct str word)
{
    (void)word;
    ++*(size_t *)context;
}

static void run_clean(struct work *w)
{
    struct str rest = w->text, line;
    while (next_line(&rest, &line)) {
        sb_clear(&w->clean);
        text_clean(STR("us"), line, &w->clean);
        w->results += w->clean.n;
    }
}

static void run_words(struct work *w)
{
    struct str rest = w->text, line;
    while (next_line(&rest, &line))
        text_words(STR("us"), line, count, &w->results);
}

static void run_encode(struct work *w)
{
    struct str rest = w->text, line;
    while (next_line(&rest, &line)) {
        w->tokens.n = 0;
        tokenizer_encode(w->tokenizer, line, &w->tokens);
        w->results += w->tokens.n;
    }
}

static bool next_text(void *context, struct str *text)
{
    return next_line(context, text);
}

static void run_train(struct work *w)
{
    struct tokenizer_training options = {.keep_accents = true};
    struct tokenizer *t = NULL;
    struct str rest = w->text;
    if (tokenizer_train(&options, next_text, &rest, &t, NULL) == MEDLEY_OK)
        w->results += tokenizer_size(t);
    tokenizer_free(t);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, void (*run)(struct work *), struct work *w)
{
    double seconds[RUNS];
    for (int i = 0; i < RUNS; i++) {
        double start = clock_seconds();
        w->results = 0;
        run(w);
        seconds[i] = clock_seconds() - start;
    }
    qsort(seconds, RUNS, sizeof seconds[0], ascending);
    double megabytes = 1e-6 * (double)w->text.n;
    printf("%s,%.1f,%zu,%.4f,%.4f,%.4f,%.1f\n", name, megabytes, w->results, seconds[RUNS / 2],
           seconds[0], seconds[RUNS - 1], megabytes / seconds[RUNS / 2]);
}

int main(void)
{
    struct work w = {0};
    struct tokenizer *t = NULL;
    char *data = NULL;
    medley_error err = {0};
    sb_init(&w.clean);
    if (file_read(DATA "esci/products.csv", (size_t)1 << 30, &data, &w.text.n, &err) !=
        MEDLEY_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    w.text.s = data;
    printf("# %s, 1 thread, median, least and most of %d runs\n", cpu_name(), RUNS);
    printf("step,megabytes,results,seconds,least,most,megabytes_per_second\n");
    measure("clean", run_clean, &w);
    measure("words", run_words, &w);
    if (tokenizer_load(DATA "golden/tokenizers/bert-base-uncased", &t, &err) == MEDLEY_OK) {
        w.tokenizer = t;
        measure("encode", run_encode, &w);
    } else {
        fprintf(stderr, "%s\n", err.message);
    }
    measure("train", run_train, &w);
    tokenizer_free(t);
    tokens_deinit(&w.tokens);
    sb_deinit(&w.clean);
    free(data);
    return 0;
}
