/* judge.c: see judge.h. Proof: tests/test_diff.c, tests/e2e/workspace.t. */
#include "ensemble/judge.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/progress.h"

#include <string.h>

enum { LIST_LIMIT = 1000 };

struct judging {
    const medley_bundle *b;
    const struct judge_pair *pairs;
    const struct judge_options *options;
    uint32_t *order;                /* [n] pairs grouped by query and locale */
    struct judge_answers out, list; /* of all pairs; of one list: at most LIST_LIMIT */
    medley_product *products;       /* as list */
    size_t n_contributions, n_said; /* numbers a pair: (M+1) * K, M * K */
};

/* Stable grouping: pairs in the order in which their query first appears. */
static medley_status group_pairs(struct judging *t, size_t n, medley_error *err)
{
    struct map *lists = map_new(n);
    uint32_t *list = mem_alloc(n + 1, sizeof *list);
    size_t *start = mem_zalloc(n + 1, sizeof *start);
    struct strbuf key;
    sb_init(&key);
    bool good = lists && list && start && t->order;
    for (size_t i = 0; i < n && good; i++) {
        const struct pair_text *text = &t->pairs[i].text;
        bool added;
        sb_clear(&key);
        sb_add(&key, text->locale.s, text->locale.n);
        sb_addc(&key, '\0');
        sb_add(&key, text->query.s, text->query.n);
        list[i] = map_add(lists, sb_str(&key), &added);
        good = list[i] != MAP_NONE && !key.failed;
        if (good)
            start[list[i] + 1]++;
    }
    for (size_t i = 0; i < n && good; i++)
        start[i + 1] += start[i];
    for (size_t i = 0; i < n && good; i++)
        t->order[start[list[i]]++] = (uint32_t)i;
    sb_deinit(&key);
    map_free(lists);
    mem_free(list);
    mem_free(start);
    return good ? MEDLEY_OK : fail_memory(err, "pairs");
}

static medley_text text_of(struct str s)
{
    return (medley_text){s.s, s.n};
}

static medley_product product_of(const struct judge_pair *p)
{
    const struct product_text *t = &p->text.product;
    medley_product out = {
        .id = text_of(p->product_id),
        .title = text_of(t->title),
        .description = text_of(t->description),
        .bullets = text_of(t->bullets),
        .brand = text_of(t->brand),
        .color = text_of(t->color),
        .category = text_of(t->category),
    };
    out.has_text = t->title.n || t->description.n || t->bullets.n || t->brand.n || t->color.n;
    return out;
}

/* Both are NULL where nobody asked. */
static void copy_row(float *to, size_t to_row, const float *from, size_t from_row, size_t n)
{
    if (to)
        memcpy(to + to_row * n, from + from_row * n, n * sizeof *to);
}

static medley_status judge_list(struct judging *t, size_t begin, size_t end, medley_error *err)
{
    const struct pair_text *first = &t->pairs[t->order[begin]].text;
    size_t n = end - begin;
    medley_classify_options how = {.models = t->options->models,
                                   .contributions = t->list.contributions,
                                   .said = t->list.said};
    for (size_t i = 0; i < n; i++)
        t->products[i] = product_of(&t->pairs[t->order[begin + i]]);
    medley_status st =
        medley_bundle_classify(t->b, text_of(first->query), text_of(first->locale), t->products,
                               n, &how, t->list.results, err);
    for (size_t i = 0; i < n && !st; i++) {
        size_t to = t->order[begin + i];
        t->out.results[to] = t->list.results[i];
        copy_row(t->out.contributions, to, t->list.contributions, i, t->n_contributions);
        copy_row(t->out.said, to, t->list.said, i, t->n_said);
    }
    return st;
}

static medley_status judge_lists(struct judging *t, size_t n, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t begin = 0; begin < n && !st;) {
        const struct pair_text *a = &t->pairs[t->order[begin]].text;
        size_t end = begin + 1;
        while (end < n && end - begin < LIST_LIMIT) {
            const struct pair_text *b = &t->pairs[t->order[end]].text;
            if (!str_eq(a->query, b->query) || !str_eq(a->locale, b->locale))
                break;
            end++;
        }
        st = judge_list(t, begin, end, err);
        if (t->options->task)
            progress_step(t->options->task, end, n, "pairs");
        begin = end;
    }
    if (t->options->task)
        progress_end(t->options->task);
    return st;
}

medley_status judge_pairs(const medley_bundle *b, const struct judge_pair *pairs, size_t n,
                          const struct judge_options *options, const struct judge_answers *out,
                          medley_error *err)
{
    size_t most = n < LIST_LIMIT ? n : LIST_LIMIT, k = medley_bundle_classes(b);
    struct judging t = {.b = b,
                        .pairs = pairs,
                        .options = options,
                        .out = *out,
                        .n_contributions = (medley_bundle_models(b) + 1) * k,
                        .n_said = medley_bundle_models(b) * k};
    t.order = mem_alloc(n + 1, sizeof *t.order);
    t.products = mem_alloc(most + 1, sizeof *t.products);
    t.list.results = mem_alloc(most + 1, sizeof *t.list.results);
    bool good = t.order && t.products && t.list.results;
    if (out->contributions)
        good &=
            !!(t.list.contributions = mem_alloc(most + 1, t.n_contributions * sizeof(float)));
    if (out->said)
        good &= !!(t.list.said = mem_alloc(most + 1, t.n_said * sizeof(float)));
    medley_status st = good ? group_pairs(&t, n, err) : fail_memory(err, "pairs");
    if (!st)
        st = judge_lists(&t, n, err);
    mem_free(t.order);
    mem_free(t.products);
    mem_free(t.list.results);
    mem_free(t.list.contributions);
    mem_free(t.list.said);
    return st;
}
