/* init.c: the medley.yaml that a new workspace starts with. */
#include "ensemble/workspace.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first of the endings that is there; false when none is. */
static bool find_file(const char *folder, const char *name, struct path *out)
{
    static const char *const endings[] = {"csv", "tsv", "jsonl", "parquet"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        int n = snprintf(out->s, sizeof out->s, "%s/%s.%s", folder, name, endings[i]);
        if (n > 0 && (size_t)n < sizeof out->s &&
            (file_exists(out->s) || folder_exists(out->s)))
            return true;
    }
    return false;
}

/* Double-quoted YAML: backslash and quote escaped. */
static void add_quoted(struct strbuf *b, const char *text)
{
    sb_addc(b, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            sb_addc(b, '\\');
        sb_addc(b, *text);
    }
    sb_addc(b, '"');
}

static medley_status add_data(struct strbuf *b, const char *folder, medley_error *err)
{
    static const struct {
        const char *key, *file;
        bool required;
    } parts[] = {{"examples", "examples", true},
                 {"products", "products", true},
                 {"metadata", "product_metadata", false},
                 {"lists", "colistings", false},
                 {"events", "events", false}};
    sb_addz(
        b, "# What to import. Paths are relative to this folder. ESCI column names are "
           "expected; a\n"
           "# columns: section maps others (columns: {query: search_term, label: relevance}),\n"
           "# and labels: [good, fair, bad] replaces the classes E, S, C, I.\n"
           "data:\n");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct path p;
        if (!folder) {
            sb_addf(b, parts[i].required ? "  %s: source/%s.csv\n" : "  # %s: source/%s.csv\n",
                    parts[i].key, parts[i].file);
        } else if (find_file(folder, parts[i].file, &p)) {
            sb_addf(b, "  %s: ", parts[i].key);
            add_quoted(b, p.s);
            sb_addc(b, '\n');
        } else if (parts[i].required) {
            return fail(err, MEDLEY_ENOTFOUND, "no %s.csv, .tsv, .jsonl or .parquet in '%s'",
                        parts[i].file, folder);
        }
    }
    return MEDLEY_OK;
}

static medley_status add_esci(struct strbuf *b, const char *folder, const char *version,
                              medley_error *err)
{
    char *files[ESCI_FILES];
    medley_status st = esci_find(folder, files, err);
    if (st)
        return st;
    esci_free(files);
    sb_addz(b, "# What to import: the Shopping Queries Dataset as it was published. version is "
               "small\n# (harder queries) or large (all of them).\ndata:\n  esci: ");
    add_quoted(b, folder);
    sb_addf(b, "\n  version: %s\n", version ? version : "large");
    return MEDLEY_OK;
}

/* name: kind of language model, with the lines that follow. */
static void add_lm(struct strbuf *b, const char *name, const char *pretrained,
                   const char *lines)
{
    sb_addf(b, "  - name: %s\n    kind: lm\n", name);
    if (pretrained) {
        sb_addz(b, "    pretrained: ");
        add_quoted(b, pretrained);
        sb_addc(b, '\n');
    }
    sb_addz(b, lines);
}

static void add_gnn(struct strbuf *b, const char *layer, const char *features,
                    const char *lines)
{
    sb_addf(b, "  - name: %s\n    kind: gnn\n    layer: %s\n    features: ", layer, layer);
    add_quoted(b, features);
    sb_addf(b, "\n%s", lines);
}

static void add_models(struct strbuf *b, const char *pretrained)
{
    const char *features = pretrained ? pretrained : "hashed";
    sb_addz(b, "\n# The base models: anything that gives class probabilities for a pair. "
               "`kind: table`\n"
               "# takes predictions made elsewhere (predictions: mine.csv with example_id and "
               "p_<class>),\n# `remote` asks an inference server, `plugin` a shared library "
               "(docs/own-models.md):\n"
               "#   - {name: served, kind: remote, url: 'http://localhost:8000', output: "
               "probabilities,\n"
               "#      inputs: {query: '{query}', title: '{title}'}}\n"
               "#   - {name: words, kind: plugin, library: ./plugin_bm25.so}\n"
               "models:\n");
    if (pretrained) {
        add_lm(b, "minilm", pretrained,
               "    layers: 4\n    head: segments\n    fields: query,title,brand,color\n"
               "    max_tokens: 48\n    epochs: 2\n    batch: 16\n    learning_rate: 1e-4\n"
               "    freeze_layers: 1\n");
        add_lm(
            b, "fast", pretrained,
            "    layers: 2\n    head: segments\n    fields: query,title\n    max_tokens: 36\n"
            "    epochs: 2\n    batch: 16\n    learning_rate: 1e-4\n    freeze_embeddings: "
            "true\n");
    } else {
        add_lm(b, "wide", NULL,
               "    layers: 4\n    hidden: 192\n    fields: query,title\n    max_tokens: 64\n"
               "    epochs: 3\n    learning_rate: 5e-4\n");
        add_lm(b, "fast", NULL,
               "    layers: 1\n    hidden: 64\n    heads: 2\n    fields: query,title\n"
               "    max_tokens: 48\n    epochs: 3\n    learning_rate: 1e-3\n");
    }
    sb_addz(
        b,
        "  # From scratch, with a vocabulary of this shop's own texts in all its languages.\n"
        "  # pretrain: {epochs: 3} lets it learn those texts first, without labels;\n"
        "  # distill: {teacher: NAME} lets it learn from a model listed before.\n");
    add_lm(b, "local", NULL,
           "    head: segments\n    layers: 2\n    hidden: 128\n    vocabulary: 12000\n"
           "    fields: query,title,brand,color,bullets\n    max_tokens: 96\n    epochs: 2\n"
           "    learning_rate: 1e-3\n");
    sb_addz(
        b,
        "  # Graph models: layer is gcn or sage (means), sage-max, gatv2 (learnt weights) or "
        "rgcn, which\n"
        "  # tells relations apart. relations: [listing, clicks] reads only these; the default "
        "is all of\n"
        "  # listing, co-listed, same-brand, same-category; of events: impressions, clicks, "
        "adds,\n"
        "  # purchases, consumes, co-viewed, co-purchased; and your own (data: relations:). "
        "text,\n"
        "  # text-products and text-queries, the nearest texts, are made when they are "
        "named.\n");
    add_gnn(b, "gcn", features, "");
    add_gnn(b, "sage", features, "    relations: [listing]\n");
    add_gnn(b, "gatv2", features, "");
}

static const char tail[] =
    "\n# Out-of-fold predictions: no model is stacked on examples whose query it has seen.\n"
    "stacking:\n  folds: 3\n  seed: 1\n"
    "\n# The gradient-boosted trees over the models.\n"
    "ensemble:\n  rounds: 400\n  learning_rate: 0.04\n  num_leaves: 6\n"
    "\n# What serving may cost, as 'medley profile' measures it. No line: no limit. Also: "
    "latency_p99_ms,\n# pairs (1, 8 or 64 in a list), cores, throughput, memory, price; "
    "prefer: "
    "knee or cheapest; pin: [name].\n"
    "budget:\n  metric: macro_f1\n  latency_ms: 100\n  top: 4\n"
    "\n# The cascade: how much macro-F1 it may give up, and what it saves (time or models). "
    "cascade:\n# true and calibrate: true let bundles answer so. Also: costs, rows of what it "
    "costs to answer\n# each class when the row's is true.\n"
    "decide:\n  cascade_loss: 0.003\n  save: time\n"
    "\nserve:\n  host: 127.0.0.1\n  port: 8080\n"
    "  # Graph embeddings of the most frequent products and queries are made ahead and kept in "
    "the\n  # bundle: a number, or all; 0 turns it off.\n"
    "  precompute: {products: 10000, queries: 10000}\n";

static char *absolute(const char *path)
{
    return path ? realpath(path, NULL) : NULL;
}

medley_status workspace_init(const char *root, const struct workspace_template *template,
                             medley_error *err)
{
    struct strbuf text;
    struct path p;
    int n = snprintf(p.s, sizeof p.s, "%s/medley.yaml", root);
    if (n < 0 || (size_t)n >= sizeof p.s)
        return fail(err, MEDLEY_EINVAL, "the workspace path is too long");
    if (file_exists(p.s))
        return fail(err, MEDLEY_EINVAL, "'%s' exists already", p.s);
    const char *source = template->esci ? template->esci : template->data;
    char *data = absolute(source), *pretrained = absolute(template->pretrained);
    sb_init(&text);
    medley_status st = MEDLEY_OK;
    if ((source && !data) || (template->pretrained && !pretrained))
        st = fail(err, MEDLEY_ENOTFOUND, "no folder '%s'",
                  source && !data ? source : template->pretrained);
    if (!st)
        st = template->esci ? add_esci(&text, data, template->version, err)
                            : add_data(&text, data, err);
    add_models(&text, pretrained);
    sb_addz(&text, tail);
    if (!st && text.failed)
        st = fail_memory(err, "medley.yaml");
    if (!st)
        st = make_folders(root, err);
    if (!st)
        st = file_write(p.s, text.s, text.n, err);
    sb_deinit(&text);
    free(data);
    free(pretrained);
    return st;
}
