/* config_plugged.c: see config_plugged.h. */
#include "ensemble/config_plugged.h"

#include "base/error.h"
#include "remote/protocol.h"

#include <string.h>

/* clang-format off */
#define MODEL(key, type, member, min, max, help) \
    {key, type, offsetof(struct model_config, member), min, max, NULL, help}
#define END {NULL, 0, 0, 0, 0, NULL, NULL}

const struct yaml_field plugin_fields[] = {
    MODEL("library", YAML_TEXT, plugin.library, 0, 0, "shared library with the three functions of medley/plugin.h (required)"),
    MODEL("settings", YAML_NODE, plugin.settings, 0, 0, "{key: text} for the plugin"),
    MODEL("trained_elsewhere", YAML_BOOL, plugin.foreign, 0, 0, "show it no training pairs [false]"),
    MODEL("trust", YAML_BOOL, trust, 0, 0, "trained elsewhere: do not test whether it saw the training pairs [false]"),
    MODEL("seed", YAML_U64, lm.seed, 0, 0, "[stacking.seed]"),
    END,
};

const struct yaml_field remote_fields[] = {
    MODEL("url", YAML_TEXT, remote.url, 0, 0, "of the server, http://host:8000 (required)"),
    MODEL("model", YAML_TEXT, remote.model, 0, 0, "its name on that server [name]"),
    MODEL("version", YAML_TEXT, remote.version, 0, 0, "[the server's choice]"),
    MODEL("inputs", YAML_NODE, remote.inputs, 0, 0, "{tensor: template} of BYTES, from {query} {locale} {title} {description} {bullets} {brand} {color} {category} (required)"),
    MODEL("output", YAML_TEXT, remote.output, 0, 0, "tensor of shape [pairs, classes] [probabilities]"),
    MODEL("classes", YAML_TEXT_LIST, remote.classes, 0, 0, "label names in the server's order [the order of data.labels]"),
    MODEL("locales", YAML_TEXT_LIST, remote.locales, 0, 0, "ask for these only; missing elsewhere [all]"),
    MODEL("logits", YAML_BOOL, remote.logits, 0, 0, "the output is logits [false]"),
    MODEL("column", YAML_BOOL, remote.column, 0, 0, "inputs of shape [pairs, 1], as Triton's batching wants them [false]"),
    MODEL("batch", YAML_UNSIGNED, remote.batch, 1, 1000, "pairs a request [32]"),
    MODEL("timeout_ms", YAML_DOUBLE, remote.timeout_ms, 1, 3600000, "of one request [2000]"),
    MODEL("deadline_ms", YAML_DOUBLE, remote.deadline_ms, 1, 3600000, "of one list while serving, retries included [3000]"),
    MODEL("retries", YAML_UNSIGNED, remote.retries, 0, 20, "[2]"),
    MODEL("backoff_ms", YAML_DOUBLE, remote.backoff_ms, 0, 60000, "before the first retry; doubles, with jitter [100]"),
    MODEL("breaker_failures", YAML_UNSIGNED, remote.breaker_failures, 1, 10000, "failed lists in a row, until the server is left alone [5]"),
    MODEL("breaker_open_ms", YAML_DOUBLE, remote.breaker_open_ms, 1, 3600000, "for so long, then one list tries [10000]"),
    MODEL("token_env", YAML_TEXT, remote.token_env, 0, 0, "environment variable that holds a bearer token"),
    MODEL("headers", YAML_NODE, remote.headers, 0, 0, "{name: value} of HTTP"),
    MODEL("trust", YAML_BOOL, trust, 0, 0, "do not test whether it saw the training pairs [false]"),
    END,
};
/* clang-format on */

void plugged_defaults(struct model_config *m)
{
    m->remote = (struct remote_options){.output = "probabilities",
                                        .batch = 32,
                                        .timeout_ms = 2000,
                                        .deadline_ms = 3000,
                                        .retries = 2,
                                        .backoff_ms = 100,
                                        .breaker_failures = 5,
                                        .breaker_open_ms = 10000};
}

static medley_status refuse(const struct yaml_document *d, const struct yaml_node *node,
                            medley_error *err, const char *what)
{
    return fail(err, MEDLEY_EFORMAT, "%s:%d: %s", yaml_path(d), node->line, what);
}

static bool plain_mapping(const struct yaml_node *node)
{
    for (size_t i = 0; node->kind == YAML_MAPPING && i < node->count; i++)
        if (node->items[i]->kind != YAML_SCALAR)
            return false;
    return node->kind == YAML_MAPPING;
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A line break in a header would start another one. */
static bool one_line(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            return false;
    return true;
}

static medley_status check_remote(const struct yaml_document *d, const struct model_config *m,
                                  medley_error *err)
{
    const struct remote_options *r = &m->remote;
    medley_error why;
    if (!r->url || !(begins(r->url, "http://") || begins(r->url, "https://")))
        return refuse(d, m->node, err, "kind remote needs a 'url' of http:// or https://");
    if (!r->inputs || !plain_mapping(r->inputs) || r->inputs->count == 0 ||
        r->inputs->count > REMOTE_MAX_INPUTS)
        return refuse(d, r->inputs ? r->inputs : m->node, err,
                      "kind remote needs 'inputs': {tensor: template}, 1 to 8 of them");
    for (size_t i = 0; i < r->inputs->count; i++)
        if (template_check(r->inputs->items[i]->text, &why))
            return refuse(d, r->inputs->items[i], err, why.message);
    if (r->headers && !plain_mapping(r->headers))
        return refuse(d, r->headers, err, "'headers' is {name: value}");
    for (size_t i = 0; r->headers && i < r->headers->count; i++)
        if (!one_line(r->headers->keys[i]) || strchr(r->headers->keys[i], ':') ||
            !one_line(r->headers->items[i]->text))
            return refuse(d, r->headers, err, "a header is one line, its name without a colon");
    return MEDLEY_OK;
}

medley_status plugged_check(const struct yaml_document *d, const struct model_config *m,
                            medley_error *err)
{
    if (m->kind == KIND_REMOTE)
        return check_remote(d, m, err);
    if (m->kind != KIND_PLUGIN)
        return MEDLEY_OK;
    if (!m->plugin.library)
        return refuse(d, m->node, err, "a model of kind plugin needs 'library'");
    if (m->plugin.settings && !plain_mapping(m->plugin.settings))
        return refuse(d, m->plugin.settings, err, "'settings' is {key: text}");
    return MEDLEY_OK;
}
