/* config_data.c: the `data:` section of medley.yaml; see config.h. */
#include "ensemble/config_private.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* What `data:` binds to before the label list is worked out. */
struct data_section {
    struct import_options import;
    const struct yaml_node *columns, *labels, *relations;
};

/* clang-format off */
static const char *const esci_versions[] = {"small", "large", NULL};
#define DATA(key, type, member, min, max, help) ROW(key, type, data_section, member, min, max, NULL, help)
const struct yaml_field data_fields[] = {
    DATA("examples", YAML_TEXT, import.examples, 0, 0, "judged pairs: .csv, .tsv, .jsonl or .parquet, or a folder of .parquet parts (required)"),
    DATA("products", YAML_TEXT, import.products, 0, 0, "product texts (required)"),
    DATA("esci", YAML_TEXT, import.esci, 0, 0, "in place of both: the folder of the Shopping Queries Dataset, as it was published"),
    ROW("version", YAML_CHOICE, data_section, import.version, 0, 0, esci_versions, "of that dataset [large]"),
    DATA("metadata", YAML_TEXT, import.metadata, 0, 0, "categories by product"),
    DATA("lists", YAML_TEXT, import.lists, 0, 0, "result lists, which give co-listed products"),
    DATA("relations", YAML_NODE, relations, 0, 0, "your own: a list of {name, file}, tables of query, product_id, count or product_id, other_product_id, count"),
    DATA("events", YAML_TEXT, import.events, 0, 0, "behaviour events (UBI, .jsonl)"),
    DATA("events_until", YAML_TEXT, import.events_until, 0, 0, "events after this time are left out"),
    DATA("events_half_life", YAML_DOUBLE, import.events_half_life, 0, 100000, "days in which an event's weight halves; 0: never [0]"),
    DATA("columns", YAML_NODE, columns, 0, 0, "your column names for the ESCI ones"),
    DATA("labels", YAML_NODE, labels, 0, 0, "2 to 16 classes: names, or {name, gain, aliases}"),
    DATA("default_locale", YAML_TEXT, import.default_locale, 0, 0, "when there is no locale column [us]"),
    DATA("test_share", YAML_DOUBLE, import.test_share, 0.01, 0.9, "queries held out when there is no split column [0.2]"),
    DATA("seed", YAML_U64, import.seed, 0, 0, "of that split"),
    DATA("skip_unknown_products", YAML_BOOL, import.skip_unknown_products, 0, 0, "drop pairs whose product is not in products"),
    END,
};

#define COLUMN(name) ROW(#name, YAML_TEXT, import_columns, name, 0, 0, NULL, "column of the " #name)
const struct yaml_field column_fields[] = {
    COLUMN(example_id), COLUMN(query), COLUMN(query_id), COLUMN(product_id), COLUMN(locale),
    COLUMN(label), COLUMN(split), COLUMN(title), COLUMN(description), COLUMN(bullets),
    COLUMN(brand), COLUMN(color), COLUMN(category), END,
};

const struct yaml_field relation_fields[] = {
    ROW("name", YAML_TEXT, import_relation, name, 0, 0, NULL, "letters, digits, - and _ (required)"),
    ROW("file", YAML_TEXT, import_relation, file, 0, 0, NULL, "its table (required)"),
    END,
};

struct label_entry {
    const char *name;
    double gain;
    const char **aliases;
};
const struct yaml_field label_fields[] = {
    ROW("name", YAML_TEXT, label_entry, name, 0, 0, NULL, "as in the label column"),
    ROW("gain", YAML_DOUBLE, label_entry, gain, 0, 1e6, NULL, "relevance gain for ranking"),
    ROW("aliases", YAML_TEXT_LIST, label_entry, aliases, 0, 0, NULL, "other spellings"),
    END,
};

/* clang-format on */

static medley_status bind_label(struct config *c, const struct yaml_node *node, size_t i,
                                medley_error *err)
{
    struct label_entry entry = {NULL, -1, NULL};
    char where[64];
    snprintf(where, sizeof where, "data.labels[%zu]", i);
    if (node->kind == YAML_SCALAR)
        entry.name = node->text;
    medley_status st = node->kind == YAML_SCALAR ? MEDLEY_OK
                                                 : yaml_bind(c->document, node, where,
                                                             label_fields, NULL, &entry, err);
    if (st)
        return st;
    if (!entry.name || !*entry.name)
        return config_refuse(c, node, err, "a label needs a", "name");
    for (size_t j = 0; j < i; j++)
        if (strcmp(entry.name, c->labels[j].name) == 0)
            return config_refuse(c, node, err, "label given twice:", entry.name);
    c->labels[i] = (struct import_label){entry.name, entry.aliases, entry.gain};
    return MEDLEY_OK;
}

static medley_status bind_labels(struct config *c, const struct yaml_node *node,
                                 medley_error *err)
{
    if (!node)
        return MEDLEY_OK;
    if (node->kind != YAML_SEQUENCE || node->count < 2 || node->count > MAX_CLASSES)
        return config_refuse(c, node, err, "expected a list of 2 to 16 classes in",
                             "data.labels");
    for (size_t i = 0; i < node->count; i++) {
        medley_status st = bind_label(c, node->items[i], i, err);
        if (st)
            return st;
    }
    /* Gains not given fall evenly from 1 (first class) to 0 (last class). */
    for (size_t i = 0; i < node->count; i++)
        if (c->labels[i].gain < 0)
            c->labels[i].gain = 1 - (double)i / (double)(node->count - 1);
    c->data.labels = c->labels;
    c->data.n_labels = node->count;
    return MEDLEY_OK;
}

static medley_status bind_relations(struct config *c, const struct yaml_node *node,
                                    medley_error *err)
{
    if (!node)
        return MEDLEY_OK;
    if (node->kind != YAML_SEQUENCE || node->count > CONFIG_RELATIONS)
        return config_refuse(c, node, err, "expected a list of at most 32 tables in",
                             "data.relations");
    for (size_t i = 0; i < node->count; i++) {
        char where[64];
        struct import_relation *r = &c->relations[i];
        snprintf(where, sizeof where, "data.relations[%zu]", i);
        medley_status st =
            yaml_bind(c->document, node->items[i], where, relation_fields, NULL, r, err);
        if (st)
            return st;
        if (!r->name || !r->file || !config_plain_name(r->name))
            return config_refuse(
                c, node->items[i], err,
                "a relation needs a plain name and a file:", r->name ? r->name : "");
    }
    c->data.relations = c->relations;
    c->data.n_relations = node->count;
    return MEDLEY_OK;
}

medley_status config_bind_data(struct config *c, const struct yaml_node *node,
                               medley_error *err)
{
    struct data_section section = {0};
    medley_status st = yaml_bind(c->document, node, "data", data_fields, NULL, &section, err);
    if (!st)
        st = yaml_bind(c->document, section.columns, "data.columns", column_fields, NULL,
                       &section.import.columns, err);
    if (st)
        return st;
    c->data = section.import;
    if (c->data.esci && (c->data.examples || c->data.products))
        return config_refuse(c, node, err, "data has both esci and",
                             c->data.examples ? "examples" : "products");
    if (c->data.version && !c->data.esci)
        return config_refuse(c, node, err, "data has a version, which needs", "esci");
    if (!c->data.esci && (!c->data.examples || !c->data.products))
        return config_refuse(c, node, err, "data needs",
                             c->data.examples ? "products" : "examples");
    st = bind_relations(c, section.relations, err);
    return st ? st : bind_labels(c, section.labels, err);
}
