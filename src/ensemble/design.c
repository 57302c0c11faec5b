/* design.c: see design.h. */
#include "ensemble/design.h"

#include "base/file.h"
#include "base/memory.h"
#include "text/clean.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const context_feature_names[CONTEXT_FEATURES] = {
    "locale",        "query_words",  "query_bytes", "title_words",
    "title_overlap", "text_overlap", "brand_asked", "list_size",
};
static const char *const column_suffixes[COLUMNS_PER_PROBABILITY] = {"", ".min", ".median",
                                                                     ".max"};

size_t design_model_columns(const struct design_shape *s)
{
    return s->n_classes * (s->plain ? 1 : COLUMNS_PER_PROBABILITY);
}

size_t design_columns(const struct design_shape *s)
{
    return s->n_models * design_model_columns(s) + (s->plain ? 0 : CONTEXT_FEATURES);
}

size_t design_players(const struct design_shape *s)
{
    return s->n_models + 1;
}

void design_player_of_feature(const struct design_shape *s, uint32_t *player)
{
    size_t per_model = design_model_columns(s), f = design_columns(s);
    for (size_t i = 0; i < f; i++) {
        size_t model = i / per_model;
        player[i] = (uint32_t)(model < s->n_models ? model : s->n_models);
    }
}

void design_feature_name(const struct design_shape *s, const char *const *model_names,
                         const char *const *class_names, size_t feature, char *out, size_t size)
{
    size_t per_model = design_model_columns(s), model = feature / per_model;
    size_t column = feature % per_model;
    if (model < s->n_models)
        snprintf(out, size, "%s.%s%s", model_names[model], class_names[column % s->n_classes],
                 column_suffixes[column / s->n_classes]);
    else
        snprintf(out, size, "%s", context_feature_names[feature - s->n_models * per_model]);
}

/* The set of a query's word hashes, small enough to search linearly. */
enum { MAX_WORDS = 64 };
struct word_set {
    uint64_t hash[MAX_WORDS];
    bool met[MAX_WORDS];
    size_t n, visited;
};

static uint64_t word_hash(struct str word)
{
    return hash_bytes(word.s, word.n, (struct hash128){0, 0}).low;
}

static void collect_word(void *context, struct str word)
{
    struct word_set *set = context;
    uint64_t h = word_hash(word);
    set->visited++;
    for (size_t i = 0; i < set->n; i++)
        if (set->hash[i] == h)
            return;
    if (set->n < MAX_WORDS)
        set->hash[set->n++] = h;
}

static void meet_word(void *context, struct str word)
{
    struct word_set *set = context;
    uint64_t h = word_hash(word);
    set->visited++;
    for (size_t i = 0; i < set->n; i++)
        if (set->hash[i] == h)
            set->met[i] = true;
}

static float share_met(const struct word_set *set)
{
    size_t met = 0;
    for (size_t i = 0; i < set->n; i++)
        met += set->met[i];
    return set->n ? (float)met / (float)set->n : 0;
}

/* Does every word of the brand stand in the query? */
static float brand_asked(const struct pair_text *pair, const struct word_set *query)
{
    struct word_set brand = {.n = 0};
    text_words(pair->locale, pair->product.brand, collect_word, &brand);
    for (size_t i = 0; i < brand.n; i++) {
        bool found = false;
        for (size_t j = 0; j < query->n; j++)
            found |= query->hash[j] == brand.hash[i];
        if (!found)
            return 0;
    }
    return brand.n > 0;
}

void context_features(const struct pair_text *pair, int locale, size_t list_size, float *out)
{
    struct word_set query = {.n = 0};
    const struct product_text *p = &pair->product;
    text_words(pair->locale, pair->query, collect_word, &query);
    size_t query_words = query.visited;
    query.visited = 0;
    text_words(pair->locale, p->title, meet_word, &query);
    size_t title_words = query.visited;
    float title_overlap = share_met(&query);
    const struct str rest[] = {p->brand, p->color, p->bullets, p->description};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        text_words(pair->locale, rest[i], meet_word, &query);
    out[0] = locale < 0 ? NAN : (float)locale;
    out[1] = (float)query_words;
    out[2] = (float)pair->query.n;
    out[3] = (float)title_words;
    out[4] = title_overlap;
    out[5] = share_met(&query);
    out[6] = brand_asked(pair, &query);
    out[7] = (float)list_size;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Minimum, median and maximum of the values that are there; NaN when none is. */
static void list_statistics(float *values, size_t n, float out[3])
{
    if (n == 0) {
        out[0] = out[1] = out[2] = NAN;
        return;
    }
    qsort(values, n, sizeof *values, compare_floats);
    out[0] = values[0];
    out[1] = n % 2 ? values[n / 2] : 0.5f * (values[n / 2 - 1] + values[n / 2]);
    out[2] = values[n - 1];
}

static void fill_model(const struct design_shape *s, const float *p, size_t n, float *scratch,
                       float *x)
{
    size_t f = design_columns(s), k = s->n_classes;
    for (size_t c = 0; c < k; c++) {
        size_t present = 0;
        float statistics[3];
        for (size_t i = 0; i < n; i++) {
            float v = p ? p[i * k + c] : NAN;
            x[i * f + c] = v;
            if (!isnan(v))
                scratch[present++] = v;
        }
        if (s->plain)
            continue;
        list_statistics(scratch, present, statistics);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < 3; j++)
                x[i * f + (j + 1) * k + c] = isnan(x[i * f + c]) ? NAN : statistics[j];
    }
}

bool design_fill(const struct design_shape *s, const float *const *probabilities,
                 const float *context, size_t n, float *x)
{
    size_t f = design_columns(s), per_model = design_model_columns(s);
    float *scratch = mem_alloc(n, sizeof *scratch);
    if (!scratch)
        return false;
    for (size_t m = 0; m < s->n_models; m++)
        fill_model(s, probabilities[m], n, scratch, x + m * per_model);
    for (size_t i = 0; i < n && !s->plain; i++)
        memcpy(x + i * f + s->n_models * per_model, context + i * CONTEXT_FEATURES,
               CONTEXT_FEATURES * sizeof *x);
    mem_free(scratch);
    return true;
}
