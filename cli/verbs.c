/* verbs.c: the table of verbs, in the order a workspace meets them. */
#include "cli/cli.h"

const struct verb verbs[] = {
    {"init", "make a workspace with a commented medley.yaml", verb_init},
    {"run", "run every stage that is out of date, in order", verb_run},
    {"status", "what is up to date, what is stale, and why", verb_status},
    {"import", "read examples, products and behaviour", verb_import},
    {"train", "train base models, out of fold", verb_train},
    {"model", "add, try, list, remove or pin a base model", verb_model},
    {"stack", "fit the ensemble on out-of-fold predictions", verb_stack},
    {"rank", "what each base model is worth: three rankings", verb_rank},
    {"profile", "what each base model costs on this machine", verb_profile},
    {"select", "keep the models that are worth their cost", verb_select},
    {"cascade", "run costly models only where cheap ones are not sure", verb_cascade},
    {"evaluate", "measure models and ensembles on the test split", verb_evaluate},
    {"report", "write the HTML report", verb_report},
    {"predict", "label the pairs of a file", verb_predict},
    {"explain", "why one product got its label", verb_explain},
    {"precompute", "make graph embeddings ahead, again for new data", verb_precompute},
    {"diff", "two bundles side by side: which labels changed, and why", verb_diff},
    {"serve", "answer over HTTP with the current bundle", verb_serve},
    {"synth", "write a synthetic shop: products, queries, events", verb_synth},
    {"gbdt", "boosted trees on plain tables: train, predict, explain, convert", verb_gbdt},
    {"lm", "language models: compare one with its reference", verb_lm},
    {"gnn", "graph layers: compare them with their reference", verb_gnn},
    {"tokenize", "texts to token ids", verb_tokenize},
    {NULL, NULL, NULL},
};
