/* importer.h: private to src/data: the state of one import, shared by its phases: import.c (all
 * of it), import_products.c, import_examples.c, import_links.c (lists, brands, categories),
 * import_counts.c (relations of the user's own), ubi.c (behaviour events) and issues.c (what
 * was odd). */
#ifndef DATA_IMPORTER_H
#define DATA_IMPORTER_H

#include "base/map.h"
#include "data/edges.h"
#include "data/import.h"
#include "data/table_reader.h"
#include "data/text_builder.h"

/* X(name, kind, handled): odd rows that do not stop an import. */
#define ISSUE_LIST(X)                                                                 \
    X(EMPTY_QUERY, "empty query", "pair dropped")                                     \
    X(NO_PRODUCT_ID, "no product id", "row dropped")                                  \
    X(NO_LABEL, "no label", "pair dropped")                                           \
    X(UNKNOWN_DROPPED, "unknown product", "pair dropped")                             \
    X(UNKNOWN_KEPT, "unknown product", "kept with empty product text")                \
    X(DUPLICATE_PAIR, "duplicate pair", "dropped, the label is the same")             \
    X(CONFLICT, "conflicting labels", "the first label kept")                         \
    X(DUPLICATE_ID, "duplicate example id", "kept; a prediction goes to the first")   \
    X(DUPLICATE_PRODUCT, "duplicate product", "the first kept")                       \
    X(MERGED_QUERY, "one query under several ids", "merged under the first id")       \
    X(SHARED_QUERY_ID, "one query id with several texts", "kept as separate queries") \
    X(METADATA_PRODUCT, "metadata of an unknown product", "ignored")                  \
    X(LIST_PRODUCT, "list with an unknown product", "product ignored")                \
    X(LONG_LIST, "list of more than 50 products", "50 taken, by hash")                \
    X(COUNT_QUERY, "count of an unknown query", "ignored")                            \
    X(COUNT_PRODUCT, "count of an unknown product", "ignored")                        \
    X(EVENT_FIELDS, "event without action, query or object", "ignored")               \
    X(EVENT_ACTION, "event with an unknown action", "ignored")                        \
    X(EVENT_QUERY, "event with an unknown query", "ignored")                          \
    X(EVENT_PRODUCT, "event with an unknown product", "ignored")                      \
    X(EVENT_REPEATED, "event that came before, line by line", "ignored")              \
    X(EVENT_LATE, "event after events_until", "ignored")                              \
    X(EVENT_TIME, "event without a time that can be read", "ignored, as time matters")

enum issue_kind {
#define ISSUE_ENUM(name, kind, handled) ISSUE_##name,
    ISSUE_LIST(ISSUE_ENUM)
#undef ISSUE_ENUM
        ISSUE_COUNT
};

#define ISSUES_SHOWN 20

struct issue {
    uint64_t count;
    size_t n; /* of first[] */
    struct {
        char *file, *detail; /* owned */
        uint64_t line;
    } first[ISSUES_SHOWN];
};

enum { RELATIONS_BUILT = 11 };
enum built_relation {
    BUILT_LISTING,
    BUILT_IMPRESSIONS,
    BUILT_CLICKS,
    BUILT_ADDS,
    BUILT_PURCHASES,
    BUILT_CONSUMES,
    BUILT_CO_LISTED,
    BUILT_SAME_BRAND,
    BUILT_SAME_CATEGORY,
    BUILT_CO_VIEWED,
    BUILT_CO_PURCHASED,
};

struct importer {
    const struct import_options *options;
    const struct import_label *labels; /* [n_labels] */
    size_t n_labels;
    struct issue issues[ISSUE_COUNT];
    struct strbuf key; /* scratch: a locale index and a text */

    /* The official folder (import_esci.c). */
    char *esci[ESCI_FILES]; /* paths; NULL: no such file */
    struct map *wanted;     /* products that examples name, until products are read; or NULL */
    struct map *sources;    /* where queries come from; or NULL */
    uint64_t *source_queries; /* [sources] */
    size_t cap_sources;

    struct map *locales;   /* tag -> locale */
    struct map *products;  /* locale and product id -> product */
    struct map *queries;   /* locale and query text -> query */
    struct map *query_ids; /* locale and query id -> row of id_* */
    struct map *pairs;     /* (query, product) -> example */
    struct map *example_ids;

    /* examples */
    uint32_t *example_query, *example_product;
    uint8_t *example_label, *example_split;
    size_t n_examples, cap_query, cap_product, cap_label, cap_split;
    struct text_builder example_id;

    /* queries */
    struct query_row {
        uint64_t split_line; /* where its split was given; 0 when it was drawn by hash */
        uint8_t locale, split;
    } * query_rows;
    size_t cap_queries;
    struct text_builder query_id, query_text;
    struct id_row { /* of a query id given by the user */
        uint64_t split_line;
        uint32_t query; /* the first with this id */
        uint8_t split;
    } * id_rows;
    size_t cap_ids;

    /* products */
    uint8_t *product_locale;
    uint64_t *category_at; /* [n_products] row of category_raw, or NO_CATEGORY */
    size_t cap_product_locale, cap_category;
    struct text_builder product_id, title, description, bullets, brand, color;
    struct text_builder category_raw; /* in order of arrival */
    struct text_builder category;     /* in order of products, at the end */

    struct edges relations[RELATIONS_BUILT];
    struct own_relation { /* from tables of counts */
        const char *name;
        enum relation_kind kind;
        struct edges edges;
    } * own;
    size_t n_own;
};

extern const struct relation_row {
    const char *name;
    enum relation_kind kind;
} built_relations[RELATIONS_BUILT];

/* Counts an odd row and keeps the first few. `t` says where. */
void issue_add(struct importer *im, enum issue_kind kind, const struct table *t,
               const char *format, ...) __attribute__((format(printf, 4, 5)));
void issues_deinit(struct importer *im);
medley_status summary_write(const struct importer *im, const char *folder, medley_error *err);

/* The index of a locale tag, added when new (empty: the default locale). */
medley_status importer_locale(struct importer *im, const struct table *t, struct str tag,
                              uint8_t *out, medley_error *err);
/* The maps by (locale, text): the row of a key, added when new; MAP_NONE when out of memory. */
uint32_t importer_add(struct importer *im, struct map *m, uint8_t locale, struct str text,
                      bool *added);
/* MAP_NONE when absent. */
uint32_t importer_find(struct importer *im, const struct map *m, uint8_t locale,
                       struct str text);
size_t importer_products(const struct importer *im);
/* Call once a row: shows progress now and then, and notices a request to stop. */
medley_status importer_tick(const char *task, const struct table *t, uint64_t row,
                            medley_error *err);
/* Closes the table of a task that came to `st`, and tells of its end when that is well. */
void importer_finish(const char *task, struct table *t, medley_status st);

/* The column that plays a part: one that the user named must be there, the ESCI one may be. */
medley_status importer_column(struct table *t, const char *named, const char *esci, size_t *out,
                              medley_error *err);
const char *or_esci(const char *named, const char *esci); /* the name to use */

/* Adds the row of a product without text that was just put into the map. */
medley_status importer_add_product(struct importer *im, struct str id, uint8_t locale,
                                   medley_error *err);
medley_status importer_add_empty_texts(struct importer *im, medley_error *err);

#define NO_CATEGORY UINT64_MAX

/* Of the official folder: the column that says whether an example belongs to the version asked
 * for (TABLE_NO_COLUMN otherwise), and what a row has there. */
medley_status esci_version_column(const struct importer *im, struct table *t, size_t *out,
                                  medley_error *err);
medley_status esci_kept(const struct table *t, size_t column, bool *kept, medley_error *err);

/* The phases, in order. */
medley_status import_wanted(struct importer *im, medley_error *err);
medley_status import_products(struct importer *im, medley_error *err);
medley_status import_metadata(struct importer *im, medley_error *err);
medley_status import_examples(struct importer *im, medley_error *err);
medley_status import_sources(struct importer *im, medley_error *err);
/* Puts the categories into the order of the products. */
medley_status gather_categories(struct importer *im, medley_error *err);
medley_status import_lists(struct importer *im, medley_error *err);
medley_status import_counts(struct importer *im, medley_error *err);
/* same-brand and same-category, once all products are known. */
medley_status import_groups(struct importer *im, medley_error *err);
medley_status import_events(struct importer *im, medley_error *err);

#endif
