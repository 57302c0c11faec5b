/* import.c: outside tables to a dataset: products, their metadata, examples, then relations.
 * Rows are streamed; what is kept in memory are the columns that are written. Odd rows are
 * counted and told in summary.json (issues.c); rows that would make the result wrong stop the
 * import with the file and line. Tested by test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "data/dataset_file.h"

#include <math.h>
#include <string.h>
#include <strings.h>

static const char *const exact_aliases[] = {"exact", NULL};
static const char *const substitute_aliases[] = {"substitute", NULL};
static const char *const complement_aliases[] = {"complement", NULL};
static const char *const irrelevant_aliases[] = {"irrelevant", NULL};
static const struct import_label esci_labels[] = {
    {"E", exact_aliases, 1.0},
    {"S", substitute_aliases, 0.1},
    {"C", complement_aliases, 0.01},
    {"I", irrelevant_aliases, 0.0},
};

const struct relation_row built_relations[RELATIONS_BUILT] = {
    [BUILT_LISTING] = {"listing", RELATION_QUERY_PRODUCT},
    [BUILT_IMPRESSIONS] = {"impressions", RELATION_QUERY_PRODUCT},
    [BUILT_CLICKS] = {"clicks", RELATION_QUERY_PRODUCT},
    [BUILT_ADDS] = {"adds", RELATION_QUERY_PRODUCT},
    [BUILT_PURCHASES] = {"purchases", RELATION_QUERY_PRODUCT},
    [BUILT_CONSUMES] = {"consumes", RELATION_QUERY_PRODUCT},
    [BUILT_CO_LISTED] = {"co-listed", RELATION_PRODUCT_PRODUCT},
    [BUILT_SAME_BRAND] = {"same-brand", RELATION_PRODUCT_PRODUCT},
    [BUILT_SAME_CATEGORY] = {"same-category", RELATION_PRODUCT_PRODUCT},
    [BUILT_CO_VIEWED] = {"co-viewed", RELATION_PRODUCT_PRODUCT},
    [BUILT_CO_PURCHASED] = {"co-purchased", RELATION_PRODUCT_PRODUCT},
};

size_t importer_products(const struct importer *im)
{
    return map_count(im->products);
}

static struct str importer_key(struct importer *im, uint8_t locale, struct str text)
{
    sb_clear(&im->key);
    sb_addc(&im->key, (char)locale);
    sb_add(&im->key, text.s, text.n);
    return sb_str(&im->key);
}

uint32_t importer_add(struct importer *im, struct map *m, uint8_t locale, struct str text,
                      bool *added)
{
    struct str key = importer_key(im, locale, text);
    return im->key.failed ? MAP_NONE : map_add(m, key, added);
}

uint32_t importer_find(struct importer *im, const struct map *m, uint8_t locale,
                       struct str text)
{
    struct str key = importer_key(im, locale, text);
    return im->key.failed ? MAP_NONE : map_find(m, key);
}

medley_status importer_locale(struct importer *im, const struct table *t, struct str tag,
                              uint8_t *out, medley_error *err)
{
    const char *fallback = im->options->default_locale;
    tag = str_trim(tag);
    if (tag.n == 0)
        tag = str_of(fallback ? fallback : "us");
    bool added;
    uint32_t i = map_add(im->locales, tag, &added);
    if (i == MAP_NONE)
        return fail_memory(err, "locales");
    if (i >= 255)
        return table_fail(t, err, "more than 255 locales; is '%.*s' one?", (int)tag.n, tag.s);
    *out = (uint8_t)i;
    return MEDLEY_OK;
}

medley_status importer_tick(const char *task, const struct table *t, uint64_t row,
                            medley_error *err)
{
    if (row % 1024 != 0)
        return MEDLEY_OK;
    uint64_t done, total;
    table_position(t, &done, &total);
    progress_step(task, done, total, "bytes");
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "import of '%s' interrupted", table_path(t));
    return MEDLEY_OK;
}

void importer_finish(const char *task, struct table *t, medley_status st)
{
    uint64_t done, total;
    table_position(t, &done, &total);
    table_close(t);
    if (st != MEDLEY_OK)
        return;
    progress_step(task, done, total, "bytes");
    progress_end(task);
}

medley_status importer_column(struct table *t, const char *named, const char *esci, size_t *out,
                              medley_error *err)
{
    if (named)
        return table_require(t, named, out, err);
    *out = table_find(t, esci);
    return MEDLEY_OK;
}

const char *or_esci(const char *named, const char *esci)
{
    return named ? named : esci;
}

static medley_status check_options(const struct import_options *o, medley_error *err)
{
    if (o->esci && (o->examples || o->products))
        return fail(err, MEDLEY_EINVAL,
                    "import takes the folder of ESCI or files of examples and products, not "
                    "both");
    if (o->version && strcmp(o->version, "small") != 0 && strcmp(o->version, "large") != 0)
        return fail(err, MEDLEY_EINVAL, "version '%s' is neither small nor large", o->version);
    if (!o->esci && (!o->examples || !o->products))
        return fail(err, MEDLEY_EINVAL, "import needs a file of examples and one of products");
    if (o->labels && (o->n_labels < 2 || o->n_labels > MAX_CLASSES))
        return fail(err, MEDLEY_EINVAL, "%zu labels; expected 2 to %d", o->n_labels,
                    MAX_CLASSES);
    if (!(o->test_share >= 0 && o->test_share < 1))
        return fail(err, MEDLEY_EINVAL, "test_share %g is not in [0, 1)", o->test_share);
    for (size_t i = 0; i < o->n_relations; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(o->relations[i].name, o->relations[k].name) == 0)
                return fail(err, MEDLEY_EINVAL, "two relations are called '%s'",
                            o->relations[i].name);
    for (size_t i = 0; i < o->n_relations * RELATIONS_BUILT; i++)
        if (strcmp(o->relations[i / RELATIONS_BUILT].name,
                   built_relations[i % RELATIONS_BUILT].name) == 0)
            return fail(err, MEDLEY_EINVAL,
                        "relation '%s': that is the name of one that import makes itself",
                        built_relations[i % RELATIONS_BUILT].name);
    for (size_t i = 0; o->labels && i < o->n_labels; i++) {
        const struct import_label *l = &o->labels[i];
        if (!l->name || !*l->name || !isfinite(l->gain))
            return fail(err, MEDLEY_EINVAL, "label %zu has no name or no finite gain", i);
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(l->name, o->labels[k].name) == 0)
                return fail(err, MEDLEY_EINVAL, "two labels are called '%s'", l->name);
    }
    return MEDLEY_OK;
}

static medley_status importer_init(struct importer *im, const struct import_options *o,
                                   medley_error *err)
{
    *im = (struct importer){.options = o};
    im->labels = o->labels ? o->labels : esci_labels;
    im->n_labels = o->labels ? o->n_labels : sizeof esci_labels / sizeof *esci_labels;
    sb_init(&im->key);
    im->locales = map_new(8);
    im->products = map_new(1024);
    im->queries = map_new(1024);
    im->query_ids = map_new(1024);
    im->pairs = map_new(1024);
    im->example_ids = map_new(1024);
    bool good = im->locales && im->products && im->queries && im->query_ids && im->pairs &&
                im->example_ids;
    return good ? MEDLEY_OK : fail_memory(err, "an import");
}

static void importer_deinit(struct importer *im)
{
    struct map *maps[] = {im->locales, im->products,    im->queries, im->query_ids,
                          im->pairs,   im->example_ids, im->wanted,  im->sources};
    void *arrays[] = {im->example_query,  im->example_product, im->example_label,
                      im->example_split,  im->query_rows,      im->id_rows,
                      im->product_locale, im->category_at,     im->source_queries};
    struct text_builder *texts[] = {&im->example_id,   &im->query_id, &im->query_text,
                                    &im->product_id,   &im->title,    &im->description,
                                    &im->bullets,      &im->brand,    &im->color,
                                    &im->category_raw, &im->category};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_free(maps[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        mem_free(arrays[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text_deinit(texts[i]);
    for (size_t i = 0; i < RELATIONS_BUILT; i++)
        edges_deinit(&im->relations[i]);
    for (size_t i = 0; i < im->n_own; i++)
        edges_deinit(&im->own[i].edges);
    mem_free(im->own);
    issues_deinit(im);
    esci_free(im->esci);
    sb_deinit(&im->key);
}

static medley_status write_columns(const struct importer *im, uint8_t *query_locale,
                                   char **locale_names, const char *folder, medley_error *err)
{
    struct dataset d = {
        .n_examples = im->n_examples,
        .n_queries = map_count(im->queries),
        .n_products = importer_products(im),
        .n_classes = im->n_labels,
        .n_locales = map_count(im->locales),
        .example_query = im->example_query,
        .example_product = im->example_product,
        .example_label = im->example_label,
        .example_split = im->example_split,
        .query_locale = query_locale,
        .product_locale = im->product_locale,
        .locale_names = (const char **)locale_names,
    };
    for (size_t i = 0; i < im->n_labels; i++) {
        d.class_names[i] = im->labels[i].name;
        d.class_gains[i] = im->labels[i].gain;
    }
    for (size_t q = 0; q < d.n_queries; q++)
        query_locale[q] = im->query_rows[q].locale;
#define COLUMN(name, rows) d.name = text_column(&im->name);
    DATASET_TEXTS(COLUMN)
#undef COLUMN
#define SPILLED(name, rows) im->name.spilled,
    const bool spilled[] = {DATASET_TEXTS(SPILLED)};
#undef SPILLED
    return dataset_write(&d, spilled, folder, err);
}

static medley_status write_dataset(const struct importer *im, const char *folder,
                                   medley_error *err)
{
    size_t n_locales = map_count(im->locales);
    uint8_t *query_locale = mem_alloc(map_count(im->queries), sizeof *query_locale);
    char **names = mem_zalloc(n_locales, sizeof *names);
    bool good = query_locale && names;
    for (uint32_t i = 0; good && i < n_locales; i++) {
        struct str tag = map_key(im->locales, i);
        names[i] = mem_strndup(tag.s, tag.n);
        good = names[i] != NULL;
    }
    medley_status st = good ? write_columns(im, query_locale, names, folder, err)
                            : fail_memory(err, "the columns of a dataset");
    for (size_t i = 0; names && i < n_locales; i++)
        mem_free(names[i]);
    mem_free(names);
    mem_free(query_locale);
    return st;
}

static medley_status write_all(struct importer *im, const char *folder, medley_error *err)
{
    size_t n = 0;
    struct named_edges *list = mem_alloc(RELATIONS_BUILT + im->n_own, sizeof *list);
    if (!list)
        return fail_memory(err, "relations");
    for (; n < RELATIONS_BUILT; n++)
        list[n] = (struct named_edges){built_relations[n].name, built_relations[n].kind,
                                       &im->relations[n]};
    for (size_t i = 0; i < im->n_own; i++)
        list[n++] = (struct named_edges){im->own[i].name, im->own[i].kind, &im->own[i].edges};
    medley_status st = write_dataset(im, folder, err);
    if (st == MEDLEY_OK)
        st = relations_write(list, n, folder, err);
    if (st == MEDLEY_OK)
        st = summary_write(im, folder, err);
    mem_free(list);
    return st;
}

medley_status dataset_import(const struct import_options *options, const char *folder,
                             medley_error *err)
{
    medley_status st = check_options(options, err);
    if (st != MEDLEY_OK)
        return st;
    struct importer im;
    struct import_options found = *options;
    st = importer_init(&im, &found, err);
    if (st == MEDLEY_OK && found.esci)
        st = esci_find(found.esci, im.esci, err);
    if (st == MEDLEY_OK && found.esci) {
        found.examples = im.esci[ESCI_EXAMPLES];
        found.products = im.esci[ESCI_PRODUCTS];
    }
    if (st == MEDLEY_OK)
        st = make_folders(folder, err);
    im.title.spill = im.description.spill = im.bullets.spill = folder;
    if (st == MEDLEY_OK)
        st = import_wanted(&im, err);
    if (st == MEDLEY_OK)
        st = import_products(&im, err);
    if (st == MEDLEY_OK)
        st = import_metadata(&im, err);
    if (st == MEDLEY_OK)
        st = import_examples(&im, err);
    if (st == MEDLEY_OK)
        st = import_sources(&im, err);
    if (st == MEDLEY_OK)
        st = gather_categories(&im, err);
    if (st == MEDLEY_OK)
        st = import_lists(&im, err);
    if (st == MEDLEY_OK)
        st = import_groups(&im, err);
    if (st == MEDLEY_OK)
        st = import_counts(&im, err);
    if (st == MEDLEY_OK)
        st = import_events(&im, err);
    if (st == MEDLEY_OK && im.key.failed) /* a look-up may have found nothing for that reason */
        st = fail_memory(err, "an import");
    if (st == MEDLEY_OK)
        st = write_all(&im, folder, err);
    importer_deinit(&im);
    return st;
}
