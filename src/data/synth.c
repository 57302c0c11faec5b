/* synth.c: a synthetic shop with known truth, for demonstrations and for load. Everything is
 * drawn from random streams named by what they are for, so the same options give the same
 * bytes; memory is about 24 bytes a product and the texts of the queries. Tested by
 * test_synth.c.
 *
 * What makes it more than a game of word matching: queries use synonyms and contain typing
 * errors; a third of the products do not say what type they are; price wishes show in the
 * metadata only; accessories name what they fit. Clicks and shared lists know what the texts
 * leave out. */
#include "data/synth.h"

#include "base/error.h"
#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "data/synth_world.h"

#include <math.h>

enum { JUDGED_LIMIT = 200, POOL_SIZE = 2 * JUDGED_LIMIT };
static const double label_noise = 0.04; /* share of judgements that are a neighbouring label */
static const char label_names[] = "ESCI";

void synth_rng(const struct synth_world *w, enum synth_stream stream, uint64_t i, struct rng *r)
{
    rng_init(r, mix64(w->options.seed, (uint64_t)stream, 0), i);
}

/* --- the world --- */

static struct synth_product make_product(const struct synth_world *w, size_t i)
{
    struct synth_product p = {0};
    struct rng r;
    synth_rng(w, STREAM_PRODUCT, i, &r);
    double u = rng_uniform(&r);
    p.locale = u < 0.6 ? 0 : u < 0.8 ? 1 : 2;
    p.type = (uint8_t)rng_below(&r, SYNTH_MAIN_TYPES);
    if (rng_uniform(&r) < 0.35)
        p.type += SYNTH_MAIN_TYPES;
    /* A brand makes some types only; an accessory is often of its host's brand. */
    p.brand = (uint8_t)((p.type % SYNTH_MAIN_TYPES * 5 + rng_below(&r, 10)) % SYNTH_BRANDS);
    p.color = (uint8_t)rng_below(&r, SYNTH_COLORS);
    p.size = (uint8_t)rng_below(&r, SYNTH_SIZES);
    for (unsigned a = 0; a < SYNTH_ATTRIBUTES; a++) {
        bool fitting = mix64(5, p.type, a) % 2;
        if (rng_uniform(&r) < (fitting ? 0.4 : 0.04))
            p.attributes |= (uint16_t)(1u << a);
    }
    p.price = (float)(synth_types[p.type].price * exp(0.45 * rng_normal(&r)));
    static const double hide_chance[4] = {0.3, 0.25, 0.3, 0.3};
    for (int h = 0; h < 4; h++)
        p.hidden |= (uint8_t)((rng_uniform(&r) < hide_chance[h]) << h);
    return p;
}

static size_t bucket(const struct synth_product *p)
{
    return (size_t)p->locale * SYNTH_TYPES + p->type;
}

static medley_status make_world(struct synth_world *w, medley_error *err)
{
    size_t n = w->options.products;
    w->products = mem_alloc(n, sizeof *w->products);
    w->by_type = mem_alloc(n, sizeof *w->by_type);
    if (!w->products || !w->by_type)
        return fail_memory(err, "a synthetic shop");
    for (size_t i = 0; i < n; i++) {
        w->products[i] = make_product(w, i);
        w->begin[bucket(&w->products[i]) + 1]++;
    }
    for (size_t b = 0; b < SYNTH_LOCALES * SYNTH_TYPES; b++)
        w->begin[b + 1] += w->begin[b];
    uint32_t next[SYNTH_LOCALES * SYNTH_TYPES];
    for (size_t b = 0; b < SYNTH_LOCALES * SYNTH_TYPES; b++)
        next[b] = w->begin[b];
    for (size_t i = 0; i < n; i++)
        w->by_type[next[bucket(&w->products[i])]++] = (uint32_t)i;
    return MEDLEY_OK;
}

static bool price_fits(const struct synth_product *p, int wish)
{
    double relative = p->price / synth_types[p->type].price;
    return wish == PRICE_ANY || (wish == PRICE_CHEAP ? relative < 0.75 : relative > 1.4);
}

int synth_label(const struct synth_query *q, const struct synth_product *p)
{
    if (p->locale != q->locale)
        return SYNTH_I;
    if (p->type == q->type + SYNTH_MAIN_TYPES)
        return SYNTH_C;
    if (p->type != q->type)
        return SYNTH_I;
    bool met = (q->brand == SYNTH_ANY || q->brand == p->brand) &&
               (q->color == SYNTH_ANY || q->color == p->color) &&
               (q->attribute == SYNTH_ANY || p->attributes >> q->attribute & 1) &&
               price_fits(p, q->price);
    return met ? SYNTH_E : SYNTH_S;
}

uint32_t synth_pick(const struct synth_world *w, unsigned locale, unsigned type, struct rng *r)
{
    size_t b = (size_t)locale * SYNTH_TYPES + type;
    uint32_t n = w->begin[b + 1] - w->begin[b];
    return n ? w->by_type[w->begin[b] + rng_below(r, n)] : UINT32_MAX;
}

/* --- queries --- */

/* A wish that at least the anchor, a product of the shop, fulfils. */
static struct synth_query make_query(const struct synth_world *w, struct rng *r,
                                     uint32_t *anchor)
{
    const struct synth_product *p;
    do {
        *anchor = rng_below(r, (uint32_t)w->options.products);
        p = &w->products[*anchor];
    } while (p->type >= SYNTH_MAIN_TYPES && w->options.products > 100 && rng_uniform(r) < 0.6);
    struct synth_query q = {p->locale, p->type, SYNTH_ANY, SYNTH_ANY, SYNTH_ANY, PRICE_ANY};
    double intent = rng_uniform(r);
    if (intent >= 0.2 && intent < 0.45)
        q.brand = p->brand;
    if ((intent >= 0.4 && intent < 0.65) || intent > 0.95)
        q.color = p->color;
    if (intent >= 0.65 && p->attributes) {
        do
            q.attribute = (uint8_t)rng_below(r, SYNTH_ATTRIBUTES);
        while (!(p->attributes >> q.attribute & 1));
    }
    if (intent >= 0.8)
        q.price = price_fits(p, PRICE_CHEAP)     ? PRICE_CHEAP
                  : price_fits(p, PRICE_PREMIUM) ? PRICE_PREMIUM
                                                 : PRICE_ANY;
    return q;
}

/* Queries with texts of their own, so that none is in both splits. */
static medley_status next_query(const struct synth_world *w, size_t number, struct map *texts,
                                struct synth_query *q, uint32_t *anchor, struct strbuf *text,
                                medley_error *err)
{
    struct rng r;
    struct strbuf key;
    bool added = false;
    synth_rng(w, STREAM_QUERY, number, &r);
    sb_init(&key);
    for (int attempt = 0; !added; attempt++) {
        *q = make_query(w, &r, anchor);
        synth_query_text(q, &r, text);
        if (attempt >= 20) /* the shop has run out of different wishes */
            sb_addf(text, " %u", rng_below(&r, 1000000));
        sb_clear(&key);
        sb_addc(&key, (char)('0' + q->locale));
        sb_add(&key, text->s, text->n);
        if (key.failed || text->failed || map_add(texts, sb_str(&key), &added) == MAP_NONE) {
            sb_deinit(&key);
            return fail_memory(err, "query texts");
        }
    }
    sb_deinit(&key);
    return MEDLEY_OK;
}

/* The products that a shop would consider for a query, in random order. */
struct pool {
    uint32_t items[POOL_SIZE];
    size_t n;
};

static void pool_add(struct pool *pool, uint32_t product)
{
    if (product == UINT32_MAX || pool->n == POOL_SIZE)
        return;
    for (size_t i = 0; i < pool->n; i++)
        if (pool->items[i] == product)
            return;
    pool->items[pool->n++] = product;
}

/* A product of the wanted type; three of four are looked for until they fit. */
static uint32_t pick_wanted(const struct synth_world *w, const struct synth_query *q,
                            struct rng *r)
{
    bool fitting = rng_below(r, 4) > 0;
    uint32_t product = UINT32_MAX;
    for (int attempt = 0; attempt < 30; attempt++) {
        product = synth_pick(w, q->locale, q->type, r);
        if (!fitting || synth_label(q, &w->products[product]) == SYNTH_E)
            break;
    }
    return product;
}

static void fill_pool(const struct synth_world *w, const struct synth_query *q, uint32_t anchor,
                      size_t size, struct rng *r, struct pool *pool)
{
    pool->n = 0;
    pool_add(pool, anchor);
    for (size_t attempt = 0; pool->n < size && attempt < size + size / 3; attempt++) {
        double u = rng_uniform(r);
        if (u < 0.82)
            pool_add(pool, pick_wanted(w, q, r));
        else if (u < 0.87 && q->type < SYNTH_MAIN_TYPES)
            pool_add(pool, synth_pick(w, q->locale, q->type + SYNTH_MAIN_TYPES, r));
        else if (u < 0.95) /* a neighbour in the table: much the same department */
            pool_add(pool, synth_pick(w, q->locale, (q->type + 1) % SYNTH_TYPES, r));
        else
            pool_add(pool, synth_pick(w, q->locale, rng_below(r, SYNTH_TYPES), r));
    }
    rng_shuffle_u32(r, pool->items, pool->n);
}

static int judged_label(const struct synth_query *q, const struct synth_product *p,
                        struct rng *r)
{
    static const int neighbour[4][2] = {
        {SYNTH_S, SYNTH_S}, {SYNTH_E, SYNTH_I}, {SYNTH_I, SYNTH_I}, {SYNTH_S, SYNTH_C}};
    int label = synth_label(q, p);
    uint32_t which = rng_below(r, 2);
    return rng_uniform(r) < label_noise ? neighbour[label][which] : label;
}

/* --- files --- */

struct files {
    struct outfile examples, products, metadata, lists, events;
};

static void finish(const char *task, size_t n)
{
    progress_step(task, n, n, "rows");
    progress_end(task);
}

static medley_status check_stop(const char *task, size_t i, size_t n, medley_error *err)
{
    if (i % 1024 != 0)
        return MEDLEY_OK;
    progress_step(task, i, n, "rows");
    return interrupted() ? fail(err, MEDLEY_EINTERRUPTED, "synth interrupted") : MEDLEY_OK;
}

static medley_status write_products(const struct synth_world *w, struct files *files,
                                    struct strbuf *line, medley_error *err)
{
    fprintf(files->products.f,
            "product_id,product_title,product_description,product_bullet_point,"
            "product_brand,product_color,product_locale\n");
    fprintf(files->metadata.f,
            "product_id,product_locale,category,price,rating,rating_count\n");
    for (size_t i = 0; i < w->options.products; i++) {
        medley_status st = check_stop("write products", i, w->options.products, err);
        if (st != MEDLEY_OK)
            return st;
        const struct synth_product *p = &w->products[i];
        sb_clear(line);
        synth_product_row(w, (uint32_t)i, line);
        fprintf(files->products.f, "%s\n", line->s);
        sb_clear(line);
        synth_product_id((uint32_t)i, line);
        uint64_t h = mix64(w->options.seed, i, 9);
        fprintf(files->metadata.f, "%s,%s,%s,%.2f,%.1f,%u\n", line->s, synth_locales[p->locale],
                p->hidden & HIDES_CATEGORY ? "" : synth_types[p->type].category,
                (double)p->price, 3.0 + (double)(h % 21) / 10, (unsigned)(h >> 32) % 3000);
        if (line->failed)
            return fail_memory(err, "a product");
    }
    finish("write products", w->options.products);
    return MEDLEY_OK;
}

/* A product, what goes with it, and others like it: what one result list showed together. */
static void write_list(const struct synth_world *w, size_t number, FILE *f)
{
    struct rng r;
    struct pool list = {.n = 0};
    synth_rng(w, STREAM_LIST, number, &r);
    uint32_t first = rng_below(&r, (uint32_t)w->options.products);
    const struct synth_product *p = &w->products[first];
    unsigned partner = (p->type + SYNTH_MAIN_TYPES) % SYNTH_TYPES;
    pool_add(&list, first);
    for (uint32_t n = 1 + rng_below(&r, 3); n > 0; n--)
        pool_add(&list, synth_pick(w, p->locale, partner, &r));
    for (uint32_t n = 1 + rng_below(&r, 3); n > 0; n--)
        pool_add(&list, synth_pick(w, p->locale, p->type, &r));
    if (rng_below(&r, 4) == 0)
        pool_add(&list, synth_pick(w, p->locale, rng_below(&r, SYNTH_TYPES), &r));
    for (size_t i = 0; i < list.n; i++)
        fprintf(f, "%zu,M%09u,%s\n", number, list.items[i], synth_locales[p->locale]);
}

static medley_status write_lists(const struct synth_world *w, FILE *f, medley_error *err)
{
    size_t n = w->options.products / 4;
    fprintf(f, "list_id,product_id,product_locale\n");
    for (size_t i = 0; i < n; i++) {
        medley_status st = check_stop("write lists", i, n, err);
        if (st != MEDLEY_OK)
            return st;
        write_list(w, i, f);
    }
    finish("write lists", n);
    return MEDLEY_OK;
}

/* How often a query is asked, against others: a few are asked fifty times as often as most. */
static double popularity(const struct synth_world *w, size_t query)
{
    double u = (double)(mix64(w->options.seed, query, 11) >> 11) * 0x1p-53;
    return 1 / (0.02 + u);
}

/* Numbers that the rows of all queries share. */
struct counters {
    uint64_t example;
    double asked, all; /* popularity: of the queries so far, of all */
};

static void write_judgements(const struct synth_world *w, size_t number,
                             const struct synth_query *q, struct str text,
                             const struct pool *pool, size_t judged, struct rng *r,
                             struct counters *c, FILE *f)
{
    bool test = mix64(w->options.seed, number, 13) % 5 == 0;
    for (size_t i = 0; i < judged && i < pool->n; i++) {
        int label = judged_label(q, &w->products[pool->items[i]], r);
        fprintf(f, "%llu,%.*s,%zu,M%09u,%s,%c,%s\n", (unsigned long long)c->example++,
                (int)text.n, text.s, number, pool->items[i], synth_locales[q->locale],
                label_names[label], test ? "test" : "train");
    }
}

static medley_status write_query(const struct synth_world *w, size_t number, struct map *texts,
                                 struct files *files, struct strbuf *line, struct strbuf *text,
                                 struct counters *c, medley_error *err)
{
    struct synth_query q;
    struct pool pool;
    struct rng r;
    uint32_t anchor = 0;
    medley_status st = next_query(w, number, texts, &q, &anchor, text, err);
    if (st != MEDLEY_OK)
        return st;
    synth_rng(w, STREAM_POOL, number, &r);
    size_t judged = (size_t)(w->options.judged * (0.5 + rng_uniform(&r)) + 0.5);
    judged = judged < 1 ? 1 : judged > JUDGED_LIMIT ? JUDGED_LIMIT : judged;
    fill_pool(w, &q, anchor, judged * 2 < 24 ? 24 : judged * 2, &r, &pool);
    write_judgements(w, number, &q, sb_str(text), &pool, judged, &r, c, files->examples.f);
    uint64_t first = (uint64_t)(c->asked / c->all * (double)w->options.sessions);
    c->asked += popularity(w, number);
    uint64_t last = (uint64_t)(c->asked / c->all * (double)w->options.sessions);
    const struct synth_search search = {.world = w,
                                        .query = &q,
                                        .query_number = number,
                                        .text = sb_str(text),
                                        .pool = pool.items,
                                        .n_pool = pool.n,
                                        .first = first,
                                        .n = last - first};
    synth_sessions(&search, line, files->events.f);
    return line->failed ? fail_memory(err, "a session") : MEDLEY_OK;
}

static medley_status write_queries(const struct synth_world *w, struct files *files,
                                   struct strbuf *line, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct counters c = {0};
    struct strbuf text;
    struct map *texts = map_new(w->options.queries);
    sb_init(&text);
    if (!texts)
        st = fail_memory(err, "query texts");
    for (size_t i = 0; i < w->options.queries; i++)
        c.all += popularity(w, i);
    fprintf(files->examples.f,
            "example_id,query,query_id,product_id,product_locale,esci_label,split\n");
    for (size_t i = 0; i < w->options.queries && st == MEDLEY_OK; i++) {
        st = check_stop("write queries", i, w->options.queries, err);
        if (st == MEDLEY_OK)
            st = write_query(w, i, texts, files, line, &text, &c, err);
    }
    sb_deinit(&text);
    map_free(texts);
    if (st == MEDLEY_OK)
        finish("write queries", w->options.queries);
    return st;
}

static medley_status write_files(const struct synth_world *w, const char *folder,
                                 medley_error *err)
{
    struct files files = {0};
    struct outfile *all[5] = {&files.examples, &files.products, &files.metadata, &files.lists,
                              &files.events};
    static const char *const names[5] = {"examples.csv", "products.csv", "product_metadata.csv",
                                         "colistings.csv", "events.jsonl"};
    struct strbuf line;
    medley_status st = make_folders(folder, err);
    sb_init(&line);
    for (int i = 0; i < 5 && st == MEDLEY_OK; i++) {
        char *path = path_join(folder, names[i]);
        st = path ? outfile_open(all[i], path, err) : fail_memory(err, "a path");
        mem_free(path);
    }
    if (st == MEDLEY_OK)
        st = write_products(w, &files, &line, err);
    if (st == MEDLEY_OK)
        st = write_lists(w, files.lists.f, err);
    if (st == MEDLEY_OK)
        st = write_queries(w, &files, &line, err);
    for (int i = 0; i < 5 && st == MEDLEY_OK; i++)
        st = outfile_commit(all[i], err);
    for (int i = 0; i < 5; i++)
        outfile_abort(all[i]);
    sb_deinit(&line);
    return st;
}

medley_status synth_write(const char *folder, const struct synth_options *options,
                          medley_error *err)
{
    struct synth_world w = {.options = *options};
    struct synth_options *o = &w.options;
    o->products = o->products ? o->products : 2000;
    o->queries = o->queries ? o->queries : 500;
    o->sessions = o->sessions ? o->sessions : 20 * o->queries;
    o->judged = o->judged > 0 ? o->judged : 12;
    if (o->products >= 1000000000 || o->queries >= UINT32_MAX)
        return fail(err, MEDLEY_EINVAL, "too many: %zu products, %zu queries", o->products,
                    o->queries);
    if (o->judged > JUDGED_LIMIT)
        return fail(err, MEDLEY_EINVAL, "%g judged products per query; expected at most %d",
                    o->judged, JUDGED_LIMIT);
    medley_status st = make_world(&w, err);
    if (st == MEDLEY_OK)
        st = write_files(&w, folder, err);
    mem_free(w.products);
    mem_free(w.by_type);
    return st;
}
