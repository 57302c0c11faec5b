/* encoder_scratch.c: the settings of an encoder that starts at random. They are written as the
 * config.json that a model of that family would have and read by the one reader there is, so
 * that every check and every default of the family holds here too. */
#include "base/error.h"
#include "lm/encoder.h"

#include <string.h>

enum { DEBERTA_BUCKETS = 32 }; /* of relative positions; the published 256 suit 512 tokens */

static bool is(const struct encoder_sizes *s, const char *family)
{
    return strcmp(s->family, family) == 0;
}

static bool like_roberta(const struct encoder_sizes *s)
{
    return is(s, "roberta") || is(s, "xlm-roberta") || is(s, "camembert");
}

/* Positions that the padding takes. */
static unsigned lost_positions(const struct encoder_sizes *s)
{
    if (like_roberta(s))
        return (s->padding < 0 ? 1 : (unsigned)s->padding) + 1;
    return is(s, "mpnet") ? 2 : 0;
}

/* What the family's authors changed from the defaults of its config.json. */
static void write_family(struct json_writer *w, const struct encoder_sizes *s)
{
    if (like_roberta(s) || is(s, "deberta-v2")) {
        jw_key(w, "type_vocab_size"), jw_i64(w, like_roberta(s));
    }
    if (like_roberta(s) || is(s, "mpnet")) {
        jw_key(w, "layer_norm_eps"), jw_double(w, 1e-5);
    }
    if (is(s, "deberta-v2")) {
        jw_key(w, "relative_attention"), jw_bool(w, true);
        jw_key(w, "position_biased_input"), jw_bool(w, false);
        jw_key(w, "position_buckets"), jw_i64(w, DEBERTA_BUCKETS);
        jw_key(w, "share_att_key"), jw_bool(w, true);
        jw_key(w, "norm_rel_ebd"), jw_textz(w, "layer_norm");
        jw_key(w, "pos_att_type"), jw_textz(w, "p2c|c2p");
    }
    if (is(s, "big_bird")) { /* texts of products are short */
        jw_key(w, "attention_type"), jw_textz(w, "original_full");
    }
}

static void write_config(struct json_writer *w, const struct encoder_sizes *s)
{
    jw_object(w);
    jw_key(w, "model_type"), jw_textz(w, s->family);
    jw_key(w, "vocab_size"), jw_i64(w, s->vocabulary);
    jw_key(w, "hidden_size"), jw_i64(w, s->hidden);
    jw_key(w, "num_hidden_layers"), jw_i64(w, s->layers);
    jw_key(w, "num_attention_heads"), jw_i64(w, s->heads);
    jw_key(w, "intermediate_size"), jw_i64(w, s->intermediate);
    jw_key(w, "max_position_embeddings"), jw_i64(w, s->max_tokens + lost_positions(s));
    jw_key(w, "embedding_size"), jw_i64(w, s->hidden);
    if (s->padding >= 0) {
        jw_key(w, "pad_token_id"), jw_i64(w, s->padding);
    }
    write_family(w, s);
    jw_object_end(w);
}

medley_status encoder_config_new(const struct encoder_sizes *s, struct encoder *out,
                                 medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    json *root = NULL;
    struct encoder e = {0};
    medley_status st = encoder_family_find(s->family, &e.family, err);
    if (st)
        return st;
    if (s->heads == 0 || s->hidden % s->heads)
        return fail(err, MEDLEY_EINVAL, "hidden %u is not a multiple of heads %u", s->hidden,
                    s->heads);
    sb_init(&text);
    jw_init(&w, &text, false);
    write_config(&w, s);
    st = text.failed ? fail_memory(err, "settings of an encoder")
                     : json_parse(sb_str(&text), "settings from scratch", &root, err);
    if (!st)
        st = encoder_config_read(root, "settings from scratch", &e, err);
    json_free(root);
    sb_deinit(&text);
    if (!st)
        *out = e;
    return st;
}
