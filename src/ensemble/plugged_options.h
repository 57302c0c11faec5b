/* plugged_options.h: settings of base models that run elsewhere: a shared library, a server. */
#ifndef ENSEMBLE_PLUGGED_OPTIONS_H
#define ENSEMBLE_PLUGGED_OPTIONS_H

#include "base/yaml.h"

struct plugin_options {
    const char *library;              /* path of the .so */
    const struct yaml_node *settings; /* {key: text} for the plugin, or NULL */
    bool foreign; /* it is shown no training pairs: fitted elsewhere, or learns nothing */
};

/* The Open Inference Protocol v2 over HTTP. Times are milliseconds. */
struct remote_options {
    const char *url;             /* http://host:8000, without the path */
    const char *model, *version; /* on that server; NULL: the name here; the server's choice */
    const struct yaml_node *inputs; /* {tensor: template} */
    const char *output;             /* tensor of probabilities [n, K] */
    const char **classes;           /* our names in the server's order; NULL: the same order */
    const char **locales;           /* asks only for these; NULL: all */
    bool logits;                    /* the output is logits */
    bool column;                    /* inputs are of shape [n, 1], not [n] */
    unsigned batch;                 /* pairs a request */
    double timeout_ms, deadline_ms; /* of one request; of one list while serving, retries too */
    unsigned retries;               /* after the first try */
    double backoff_ms;              /* before the first retry; doubles */
    unsigned breaker_failures;      /* lists in a row that failed, until nobody is asked */
    double breaker_open_ms;         /* for so long */
    const char *token_env;          /* environment variable with a bearer token */
    const struct yaml_node *headers; /* {name: value} */
};

#endif
