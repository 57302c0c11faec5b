/* shadow_changes.c: GET /v1/shadow and /v1/shadow/changes; shadow_changes.h says what is kept.
 *
 * The pairs that change hold people's words, which no client should read of another: they are
 * for admins. The counts are for all clients. Proof: tests/test_serve_bundles.c. */
#include "serve/shadow_changes.h"

#include "serve/classification.h"

#include <math.h>
#include <string.h>

void shadow_changes_init(struct shadow_changes *c)
{
    *c = (struct shadow_changes){0};
    pthread_mutex_init(&c->lock, NULL);
}

void shadow_changes_deinit(struct shadow_changes *c)
{
    pthread_mutex_destroy(&c->lock);
}

/* Cut between two characters. */
static void copy_text(char *to, size_t size, medley_text from)
{
    size_t n = from.n < size ? from.n : size - 1;
    while (n > 0 && n < from.n && ((unsigned char)from.s[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memcpy(to, from.s, n);
    to[n] = '\0';
}

static bool is_same(const struct shadow_change *a, const struct shadow_change *b)
{
    return strcmp(a->product, b->product) == 0 && strcmp(a->query, b->query) == 0 &&
           strcmp(a->locale, b->locale) == 0;
}

/* A pair that comes again stays where it is, so that a few frequent ones do not fill all. */
static void keep(struct shadow_changes *s, const struct classification *c, size_t i,
                 const medley_result *answer, double distance)
{
    const medley_product *p = &c->asked.products[i];
    const medley_result *was = &c->results[i];
    struct shadow_change now = {.active = was->label,
                                .shadow = answer->label,
                                .active_probability = was->probabilities[was->label],
                                .shadow_probability = answer->probabilities[answer->label],
                                .distance = (float)distance};
    copy_text(now.query, sizeof now.query, c->asked.query);
    copy_text(now.locale, sizeof now.locale, c->asked.locale);
    copy_text(now.product, sizeof now.product, p->id.n ? p->id : p->title);
    for (size_t j = 0; j < s->n && j < SHADOW_CHANGES; j++) {
        if (is_same(&s->last[j], &now)) {
            s->last[j] = now;
            return;
        }
    }
    s->last[s->n++ % SHADOW_CHANGES] = now;
}

static void begin_anew(struct shadow_changes *s, const char *id)
{
    s->n = 0;
    s->distance = 0;
    memset(s->labels, 0, sizeof s->labels);
    snprintf(s->id, sizeof s->id, "%s", id);
}

void shadow_changes_add(struct shadow_changes *s, const char *id,
                        const struct classification *c, const medley_result *answers,
                        size_t n_classes)
{
    pthread_mutex_lock(&s->lock);
    if (strcmp(s->id, id) != 0)
        begin_anew(s, id);
    for (size_t i = 0; i < c->asked.n_products; i++) {
        const medley_result *a = &c->results[i], *b = &answers[i];
        double apart = 0;
        if (a->label >= n_classes || b->label >= n_classes)
            continue;
        for (size_t k = 0; k < n_classes; k++)
            apart += fabs((double)a->probabilities[k] - (double)b->probabilities[k]) / 2;
        s->labels[a->label][b->label]++;
        s->distance += apart;
        if (a->label != b->label)
            keep(s, c, i, b, apart);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- the routes -------------------------------------------------------------------------- */

static void number(struct json_writer *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_i64(w, (int64_t)v);
}

/* The counts of the shadow that stands there; zeros before it has judged. */
static void write_counts(struct json_writer *w, struct shadow_changes *s,
                         const struct engine *e)
{
    uint64_t pairs = 0, same = 0;
    pthread_mutex_lock(&s->lock);
    bool known = strcmp(s->id, e->id) == 0;
    jw_key(w, "labels");
    jw_array(w);
    for (size_t a = 0; a < e->n_classes; a++) {
        jw_array(w);
        for (size_t b = 0; b < e->n_classes; b++) {
            uint64_t n = known ? s->labels[a][b] : 0;
            pairs += n;
            same += a == b ? n : 0;
            jw_i64(w, (int64_t)n);
        }
        jw_array_end(w);
    }
    jw_array_end(w);
    number(w, "pairs", pairs);
    number(w, "pairs_differing", pairs - same);
    jw_key(w, "mean_distance");
    if (pairs)
        jw_double(w, s->distance / (double)pairs);
    else
        jw_null(w);
    pthread_mutex_unlock(&s->lock);
}

static void write_shadow(struct json_writer *w, struct server *s, const struct engine *e,
                         double share)
{
    jw_key(w, "share");
    jw_double(w, share);
    jw_key(w, "classes");
    jw_array(w);
    for (size_t k = 0; k < e->n_classes; k++)
        jw_textz(w, e->classes[k]);
    jw_array_end(w);
    write_make(w, e);
    write_counts(w, &s->shadow_changes, e);
    number(w, "requests_dropped", counters_get(&s->shadow.dropped));
    number(w, "requests_failed", counters_get(&s->shadow.failed));
}

enum handled handle_shadow_state(struct request *r)
{
    struct server *s = r->server;
    struct json_writer w;
    double share;
    struct deployment *shadow = deployment_enter_shadow(&s->deployments, &share);
    r->deployment = deployment_enter(&s->deployments);
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "active");
    jw_textz(&w, r->deployment->engine.id);
    jw_key(&w, "id");
    jw_textz(&w, shadow ? shadow->engine.id : NULL);
    if (shadow)
        write_shadow(&w, s, &shadow->engine, share);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    deployment_leave(shadow);
    answer(r, 200, "application/json");
    return HANDLED;
}

static void write_judged(struct json_writer *w, const struct engine *e, const char *who,
                         uint8_t label, float probability)
{
    jw_key(w, who);
    jw_object(w);
    jw_key(w, "label");
    jw_textz(w, label < e->n_classes ? e->classes[label] : NULL);
    jw_key(w, "probability");
    jw_float(w, probability);
    jw_object_end(w);
}

static void write_change(struct json_writer *w, const struct engine *e,
                         const struct shadow_change *c)
{
    jw_object(w);
    jw_key(w, "query");
    jw_textz(w, c->query);
    jw_key(w, "locale");
    jw_textz(w, c->locale);
    jw_key(w, "product");
    jw_textz(w, c->product);
    write_judged(w, e, "active", c->active, c->active_probability);
    write_judged(w, e, "shadow", c->shadow, c->shadow_probability);
    jw_key(w, "distance");
    jw_float(w, c->distance);
    jw_object_end(w);
}

/* Newest first. All bundles of a server have the same classes. */
enum handled handle_shadow_changes(struct request *r)
{
    struct shadow_changes *s = &r->server->shadow_changes;
    struct json_writer w;
    r->deployment = deployment_enter(&r->server->deployments);
    const struct engine *e = &r->deployment->engine;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    pthread_mutex_lock(&s->lock);
    jw_key(&w, "id");
    jw_textz(&w, s->id[0] ? s->id : NULL);
    jw_key(&w, "changes");
    jw_array(&w);
    for (size_t i = 0; i < s->n && i < SHADOW_CHANGES; i++)
        write_change(&w, e, &s->last[(s->n - 1 - i) % SHADOW_CHANGES]);
    jw_array_end(&w);
    pthread_mutex_unlock(&s->lock);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
    return HANDLED;
}
