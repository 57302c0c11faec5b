/* test_config.c: medley.yaml is bound exactly, and refused by file, line and key. */
#include "base/file.h"
#include "ensemble/config.h"
#include "tests/tap.h"

static char path[128];

static medley_status load(const char *text, struct config *c, medley_error *err)
{
    if (file_write(path, text, strlen(text), NULL))
        return MEDLEY_EIO;
    return config_load(path, c, err);
}

/* The message without the folder, which is random. */
static const char *tail(const medley_error *err)
{
    const char *at = strstr(err->message, "medley.yaml");
    return at ? at : err->message;
}

static void refused(const char *text, const char *message)
{
    struct config c;
    medley_error err = {0};
    medley_status st = load(text, &c, &err);
    ok(st == MEDLEY_EFORMAT || st == MEDLEY_EUNSUPPORTED, "refused: %s", tail(&err));
    if (message)
        is_text(tail(&err), message, "says so");
    if (!st)
        config_free(&c);
}

#define DATA "data: {examples: e.csv, products: p.csv}\n"
#define MODEL "models: [{name: a, kind: lm}]\n"

static void test_values(void)
{
    struct config c;
    medley_error err = {0};
    medley_status st = load(
        "data:\n"
        "  examples: e.csv\n"
        "  products: p.jsonl\n"
        "  columns: {query: search_term}\n"
        "  labels: [good, {name: fair, aliases: [ok, so-so]}, bad]\n"
        "models:\n"
        "  - {name: a, kind: lm, epochs: 3, learning_rate: 1e-4, seed: 9, family: electra,\n"
        "     pretrain: {epochs: 7, mask_rate: 0.3}}\n"
        "  - {name: b, kind: gnn, layer: gatv2, relations: [co-listed, clicks],\n"
        "     hop_fanout: [15, 5], relation_fanout: {clicks: 3}}\n"
        "  - {name: c, kind: table, predictions: c.csv, logits: yes}\n"
        "stacking: {folds: 5, seed: 7}\n"
        "budget: {memory: 1.5G, top: 2}\n",
        &c, &err);
    ok(st == MEDLEY_OK, "a full file loads (%s)", err.message);
    if (st)
        return;
    is_text(c.data.columns.query, "search_term", "a mapped column");
    ok(c.data.n_labels == 3 && c.data.labels[1].gain == 0.5, "gains fall evenly");
    is_text(c.data.labels[1].aliases[1], "so-so", "an alias");
    ok(c.n_models == 3 && c.models[0].lm.epochs == 3, "an lm option");
    ok(c.models[0].lm.pretrain.wanted && c.models[0].lm.pretrain.epochs == 7 &&
           c.models[0].lm.pretrain.mask_rate == 0.3,
       "what it learns before");
    ok(c.models[0].lm.learning_rate == 1e-4, "a number with an exponent");
    ok(c.models[0].lm.seed == 9 && c.models[1].gnn.seed == 7,
       "own seed, else that of stacking");
    is_text(c.models[1].relations[1], "clicks", "relations of a gnn");
    ok(c.models[1].gnn.hop_fanout[0] == 15 && c.models[1].gnn.hop_fanout[1] == 5 &&
           c.models[1].gnn.hop_fanout[2] == 0 && c.models[1].relation_fanout->count == 1,
       "fan-outs of hops and relations");
    is_text(c.models[1].features, "hashed", "default features");
    ok(c.models[2].logits && !c.models[2].trust, "booleans");
    ok(c.budget.memory == 1610612736u && c.budget.top == 2, "sizes");
    is_text(c.budget.metric, "macro_f1", "default metric");
    ok(c.serve.port == 8080, "default port");
    ok(c.serve.precompute.products == 10000 && c.serve.precompute.queries == 10000,
       "embeddings made ahead by default");
    config_free(&c);
}

static void test_refusals(void)
{
    refused(DATA MODEL "stackin: {}\n",
            "medley.yaml:3: unknown key 'stackin' in the file (expected one of data, models, "
            "stacking, ensemble, budget, decide, serve)");
    refused(DATA "models:\n  - name: a\n    kind: lm\n    epoch: 3\n", NULL);
    refused(DATA "models:\n  - {name: a, kind: lm, pretrain: {epochs: 0}}\n",
            "medley.yaml:3: models[0].pretrain.epochs: '0' is not a whole number from 1 to "
            "100000");
    refused(DATA "models:\n  - {name: a, kind: lm, distill: {weight: 1}}\n",
            "medley.yaml:3: distill needs a 'teacher'");
    refused(
        DATA "models:\n  - {name: a, kind: lm, distill: {teacher: b}}\n"
             "  - {name: b, kind: lm}\n",
        "medley.yaml:3: a teacher is a model listed before its student, or a file, not 'b'");
    refused(DATA "models:\n  - {name: a, kind: lm, family: gpt2}\n",
            "medley.yaml:3: encoder family 'gpt2' is not supported (there are: bert, roberta, "
            "xlm-roberta, camembert, electra, mpnet, deberta-v2, big_bird, modernbert)");
    refused(DATA "models:\n  - {name: a, kind: lm, family: bert, pretrained: x}\n", NULL);
    refused(DATA "models:\n  - {name: a, kind: lm, frozen: true}\n",
            "medley.yaml:3: a frozen model needs a folder at 'pretrained'");
    refused(DATA "models:\n  - name: a\n    kind: lm\n    frozen: true\n    pretrained: x\n"
                 "    epochs: 3\n",
            "medley.yaml:7: a frozen model has no 'epochs'");
    refused(DATA "models:\n  - name: a\n    kind: lm\n    epochs: 0\n",
            "medley.yaml:5: models[0].epochs: '0' is not a whole number from 1 to 1000");
    refused(
        DATA "models:\n  - name: a\n    kind: gnn\n    layer: gin\n",
        "medley.yaml:5: models[0].layer: 'gin' is not one of gcn, sage, sage-max, gatv2, rgcn");
    refused(
        DATA "models: [{name: a, kind: svm}]\n",
        "medley.yaml:2: models[0].kind: 'svm' is not one of lm, gnn, table, plugin, remote");
    refused(DATA "models: [{name: a, kind: lm}, {name: a, kind: gnn}]\n",
            "medley.yaml:2: two models are called 'a'");
    refused(DATA "models: [{name: a/b, kind: lm}]\n",
            "medley.yaml:2: a model's name is 1 to 64 letters, digits, - or _, not 'a/b'");
    refused(DATA "models: [{name: t, kind: table}]\n",
            "medley.yaml:2: a model of kind table needs 'predictions'");
    refused(DATA "models: []\n",
            "medley.yaml:2: expected a list of 1 to 32 base models in 'models'");
    refused(MODEL, "medley.yaml:1: missing section 'data'");
    refused("data: {examples: e.csv}\n" MODEL, "medley.yaml:1: data needs 'products'");
    refused(DATA MODEL "budget:\n  pin: [nobody]\n",
            "medley.yaml:4: budget.pin: no model 'nobody'");
    refused(DATA MODEL "budget:\n  prices: {nobody: 3}\n",
            "medley.yaml:4: budget.prices: no model 'nobody'");
    refused(DATA MODEL "budget:\n  pairs: 7\n",
            "medley.yaml:4: budget.pairs is 1, 8 or 64 in 'budget'");
    refused(DATA MODEL "decide:\n  costs: [[0, 1], [1]]\n",
            "medley.yaml:4: as many costs as there are rows belong in a row of 'decide.costs'");
    refused(DATA MODEL "decide:\n  costs: [[0, 1], [-1, 0]]\n",
            "medley.yaml:4: expected numbers from 0 in 'decide.costs'");
    refused(DATA MODEL "budget:\n  latency_ms: fast\n",
            "medley.yaml:4: budget.latency_ms: 'fast' is not a number");
    refused(DATA MODEL "serve:\n  precompute: {products: many}\n",
            "medley.yaml:4: serve.precompute.products: 'many' is neither a whole number nor "
            "all");
    refused(DATA MODEL "serve: {precompute: {queries: -1}}\n",
            "medley.yaml:3: serve.precompute.queries: '-1' is neither a whole number nor all");
    refused(DATA MODEL "budget: {memory: 2X}\n",
            "medley.yaml:3: budget.memory: '2X' is not a size (512M, 2G, or bytes)");
    refused(DATA DATA MODEL, "medley.yaml:2: key 'data' appears twice (first on line 1)");
    refused(DATA "models: [*a]\n", "medley.yaml:2: aliases (*name) are not supported");
    refused("data: {examples: e.csv, products: p.csv, labels: [a]}\n" MODEL,
            "medley.yaml:1: expected a list of 2 to 16 classes in 'data.labels'");
    refused("data: [\n", NULL);
    refused(DATA "models:\n  - {name: a, kind: gnn, hop_fanout: [0]}\n",
            "medley.yaml:3: expected fan-outs from 1 to 1000 in 'a'");
    refused(DATA "models:\n  - {name: a, kind: gnn, hop_fanout: 7}\n",
            "medley.yaml:3: expected a list of 1 to 4 fan-outs in 'a'");
    refused(DATA "models:\n  - {name: a, kind: gnn, relation_fanout: {clicks: x}}\n",
            "medley.yaml:3: expected a fan-out from 1 to 1000 for 'clicks'");
    refused("data: {examples: e.csv, products: p.csv, relations: [{name: a b, file: "
            "x.csv}]}\n" MODEL,
            "medley.yaml:1: a relation needs a plain name and a file: 'a b'");
}

int main(void)
{
    snprintf(path, sizeof path, "%s/medley.yaml", tap_folder());
    test_values();
    test_refusals();
    return tap_done();
}
