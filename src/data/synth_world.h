/* synth_world.h: private to the synthetic shop: what is true of its products and queries, apart
 * from how they are described (synth_text.c) and what people do (synth_events.c). */
#ifndef DATA_SYNTH_WORLD_H
#define DATA_SYNTH_WORLD_H

#include "base/rng.h"
#include "base/str.h"
#include "data/synth.h"
#include "data/synth_words.h"

#include <stdio.h>

#define SYNTH_ANY 255 /* a query that does not ask for a brand, a colour or an attribute */

struct synth_product {
    float price;
    uint16_t attributes; /* bit a: has attribute a */
    uint8_t locale, type, brand, color, size;
    uint8_t hidden; /* HIDES_*: what its text does not tell */
};

/* A third of the products leave something out that behaviour still knows. */
enum { HIDES_TYPE = 1, HIDES_COLOR = 2, HIDES_ATTRIBUTES = 4, HIDES_CATEGORY = 8 };

enum { PRICE_ANY, PRICE_CHEAP, PRICE_PREMIUM };

struct synth_query {
    uint8_t locale, type, brand, color, attribute, price;
};

enum { SYNTH_E, SYNTH_S, SYNTH_C, SYNTH_I };

/* Random streams: one kind of thing each, so that changing one leaves the others as they were.
 */
enum synth_stream {
    STREAM_PRODUCT = 1,
    STREAM_TEXT,
    STREAM_QUERY,
    STREAM_POOL,
    STREAM_SESSION,
    STREAM_LIST
};

struct synth_world {
    struct synth_options options;   /* with the defaults filled in */
    struct synth_product *products; /* [options.products] */
    uint32_t *by_type; /* [options.products] products in order of locale and type */
    uint32_t
        begin[SYNTH_LOCALES * SYNTH_TYPES + 1]; /* where each (locale, type) begins in it */
};

void synth_rng(const struct synth_world *w, enum synth_stream stream, uint64_t i,
               struct rng *r);

/* The true label: same type and every constraint met is E, a constraint missed S; an accessory
 * of the wanted type C; anything else I. */
int synth_label(const struct synth_query *q, const struct synth_product *p);

/* A random product of a type, or UINT32_MAX where there is none. */
uint32_t synth_pick(const struct synth_world *w, unsigned locale, unsigned type, struct rng *r);

/* Texts. Those of a product are appended as CSV fields of one row, without the line break. */
void synth_product_row(const struct synth_world *w, uint32_t product, struct strbuf *out);
void synth_product_id(uint32_t product, struct strbuf *out);
void synth_query_text(const struct synth_query *q, struct rng *r, struct strbuf *out);

/* The sessions of one query: `n` of them, numbered from `first`, over the products it
 * retrieves. */
struct synth_search {
    const struct synth_world *world;
    const struct synth_query *query;
    size_t query_number;
    struct str text;
    const uint32_t *pool; /* [n_pool] products */
    size_t n_pool;
    uint64_t first, n;
};
void synth_sessions(const struct synth_search *s, struct strbuf *line, FILE *out);

#endif
