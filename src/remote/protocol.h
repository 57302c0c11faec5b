/* protocol.h: bodies of the Open Inference Protocol v2 (KServe, Triton, MLServer): what is
 * asked, and what came back, which nobody trusts. No network here: client.h. */
#ifndef REMOTE_PROTOCOL_H
#define REMOTE_PROTOCOL_H

#include "data/dataset.h"

enum { REMOTE_MAX_INPUTS = 8 };

/* "{query} [SEP] {title}": fields of a pair in text; "{{" is a brace. EFORMAT with what is
 * wrong with it. */
medley_status template_check(const char *pattern, medley_error *err);
/* Appended to out; a checked pattern. */
void template_fill(const char *pattern, const struct pair_text *pair, struct strbuf *out);

struct protocol {
    size_t n_inputs;
    const char *tensor[REMOTE_MAX_INPUTS], *pattern[REMOTE_MAX_INPUTS];
    const char *output;
    size_t n_classes;
    uint32_t class_at[MAX_CLASSES]; /* our class of the server's c-th column */
    bool column;                    /* inputs are [n, 1] */
    bool logits;
};

/* The body of POST .../infer for n pairs: appended to out (`failed` tells of memory). */
void protocol_request(const struct protocol *p, const struct pair_text *pairs, size_t n,
                      struct strbuf *out);
/* The answer to n pairs: out[n * K] in our order of classes, softmax applied to logits.
 * EFORMAT when the body is not JSON, lacks the output, or is of another shape, type or length;
 * the values are checked to be numbers alone (see ensemble/answers.h). out may be written to.
 */
medley_status protocol_reply(const struct protocol *p, struct str body, size_t n, float *out,
                             medley_error *err);
/* The most bytes that an honest answer to n pairs has: more is not read. */
size_t protocol_most_bytes(const struct protocol *p, size_t n);

#endif
