/* synth.h: a synthetic shop: products, queries, judgements and behaviour events with known truth. */
#ifndef DATA_SYNTH_H
#define DATA_SYNTH_H

#include "medley/status.h"

struct synth_options { /* 0 means the default in brackets */
    size_t products;    /* [2000] */
    size_t queries;     /* [500] */
    size_t sessions;    /* [20 per query] */
    double judged;      /* mean judged products per query [12] */
    uint64_t seed;
};

/* Writes examples.csv, products.csv, product_metadata.csv, colistings.csv (ESCI schema) and
 * events.jsonl (UBI 1.3) into `folder`. Streams; the same options give the same bytes. */
medley_status synth_write(const char *folder, const struct synth_options *options,
                          medley_error *err);

#endif
