/* plugin_bm25.c: BM25 (Robertson and Zaragoza 2009, eq. 3.15) over the product's texts, and the
 * share of each class among the training pairs of a like score. Settings: k1 [1.2], b [0.75].
 *     cc -O2 -shared -fPIC -Iinclude examples/plugin_bm25.c -lm -o bm25.so
 *     medley model add name=bm25 kind=plugin library=bm25.so -C shop
 * Words are counted by 16 bits of their hash: two that share one share their frequency, too. */
#include "medley/plugin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 65536, BINS = 16, CLASSES = 16, MOST = 512, MAGIC = 0x35324d42 };

struct medley_plugin { /* as it is in FOLDER/bm25.bin: read by the machine that wrote it */
    uint32_t magic, classes;
    double k1, b, documents, words; /* counted over training pairs */
    float p[BINS][CLASSES];         /* share of each class, by score */
    uint32_t documents_with[SLOTS];
};

/* Hash of the next word at *at, lower case; false at the end. Bytes from 128 are letters. */
static int next_word(medley_plugin_text t, size_t *at, uint32_t *word)
{
    uint32_t h = 2166136261u, length = 0; /* FNV-1a */
    for (; *at < t.n; ++*at) {
        unsigned char c = (unsigned char)t.s[*at], low = c | 32; /* lower case */
        int letter = (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c >= 128;
        if (!letter && length)
            break;
        if (letter)
            h = (h ^ (c < 128 ? low : c)) * 16777619u, length++;
    }
    *word = (h ^ h >> 16) % SLOTS;
    return length > 0;
}

static size_t product_words(const medley_plugin_pair *pair, uint32_t words[MOST])
{
    const medley_plugin_text text[] = {pair->title, pair->brand, pair->color, pair->bullets};
    size_t n = 0;
    for (int f = 0; f < 4; f++)
        for (size_t at = 0; n < MOST && next_word(text[f], &at, &words[n]);)
            n++;
    return n;
}

/* Between 0 and 1: the score by the best that a text of these words could have. */
static double score(const medley_plugin *m, const medley_plugin_pair *pair)
{
    uint32_t words[MOST], asked;
    size_t n = product_words(pair, words);
    double sum = 0, best = 1e-9;
    double scale = m->k1 * (1 - m->b + m->b * (double)n * m->documents / (m->words + 1));
    for (size_t q = 0; next_word(pair->query, &q, &asked);) {
        double with = m->documents_with[asked], count = 0;
        double idf = log(1 + (m->documents - with + 0.5) / (with + 0.5));
        for (size_t i = 0; i < n; i++)
            count += words[i] == asked;
        sum += idf * count * (m->k1 + 1) / (count + scale);
        best += idf * (m->k1 + 1);
    }
    return sum / best;
}

/* The bin below a score, and how far the score is on the way to the next. */
static int bin_of(double s, float *above)
{
    int bin = s >= 1 ? BINS - 2 : (int)(s * (BINS - 1));
    *above = (float)(s * (BINS - 1) - bin);
    return bin;
}

static int train(medley_plugin *m, const medley_plugin_setup *setup)
{
    uint32_t *last = calloc(SLOTS, sizeof *last), words[MOST]; /* last document with the word */
    for (size_t i = 0; last && i < setup->n_pairs; i++) {
        size_t length = product_words(&setup->pairs[i], words);
        m->documents++, m->words += (double)length;
        for (size_t w = 0; w < length; w++)
            if (last[words[w]] != i + 1)
                last[words[w]] = (uint32_t)i + 1, m->documents_with[words[w]]++;
    }
    for (size_t i = 0; last && i < setup->n_pairs; i++) {
        float above;
        int bin = bin_of(score(m, &setup->pairs[i]), &above);
        m->p[bin][setup->labels[i]] += 1 - above;
        m->p[bin + 1][setup->labels[i]] += above;
    }
    for (int b = 0; b < BINS; b++) { /* one pair of each class comes on top: never 0 */
        float sum = 0;
        for (uint32_t c = 0; c < m->classes; c++)
            sum += m->p[b][c] += 1;
        for (uint32_t c = 0; c < m->classes; c++)
            m->p[b][c] /= sum;
    }
    int good = last != NULL;
    free(last);
    return good;
}

static int set(medley_plugin *m, const char *key, const char *value)
{
    char *end;
    double *to = strcmp(key, "k1") == 0 ? &m->k1 : strcmp(key, "b") == 0 ? &m->b : NULL;
    return to && (*to = strtod(value, &end)) >= 0 && *end == 0 && end != value;
}

int medley_plugin_open(const medley_plugin_setup *setup, medley_plugin **out, char *message,
                       size_t size)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/bm25.bin", setup->folder);
    medley_plugin *m = calloc(1, sizeof *m);
    FILE *f = fopen(path, setup->n_pairs ? "wb" : "rb");
    int good = m && f;
    if (good && setup->n_pairs) {
        m->magic = MAGIC, m->classes = (uint32_t)setup->n_classes, m->k1 = 1.2, m->b = 0.75;
        for (const char *const *s = setup->settings; *s && good; s += 2)
            good = set(m, s[0], s[1]);
        good = good && train(m, setup) && fwrite(m, sizeof *m, 1, f) == 1;
    } else if (good) {
        good = fread(m, sizeof *m, 1, f) == 1 && m->magic == MAGIC &&
               m->classes == setup->n_classes;
    }
    good = (!f || fclose(f) == 0) && good;
    *out = good ? m : NULL;
    if (!good)
        free(m), snprintf(message, size, "cannot make or use '%s' (settings: k1, b)", path);
    return !good;
}

int medley_plugin_predict(const medley_plugin *m, const medley_plugin_pair *pairs, size_t n,
                          float *probabilities, char *message, size_t size)
{
    (void)message, (void)size;
    for (size_t i = 0; i < n; i++) {
        float above;
        int bin = bin_of(score(m, &pairs[i]), &above);
        for (uint32_t c = 0; c < m->classes; c++)
            *probabilities++ = m->p[bin][c] + above * (m->p[bin + 1][c] - m->p[bin][c]);
    }
    return 0;
}

void medley_plugin_close(medley_plugin *m)
{
    free(m);
}
