/* shadow.c: the background answers of a candidate bundle; shadow.h says why. */
#include "serve/shadow.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "serve/classification.h"

#include <math.h>

struct shadow_job {
    struct job job; /* first: a job is cast back */
    struct server *server;
    struct deployment *candidate;
    struct classification *asked; /* with the results that the client got */
};

static void job_free(struct shadow_job *j)
{
    deployment_leave(j->candidate);
    classification_free(j->asked);
    mem_free(j);
}

/* Half the sum of absolute differences: 0 the same, 1 nothing in common. */
static double distance(const medley_result *a, const medley_result *b, size_t n_classes)
{
    double sum = 0;
    for (size_t k = 0; k < n_classes; k++)
        sum += fabs((double)a->probabilities[k] - (double)b->probabilities[k]);
    return sum / 2;
}

static void compare(struct server *s, const struct engine *candidate,
                    const struct classification *c, const medley_result *answers)
{
    size_t n_classes = candidate->n_classes;
    uint64_t agreed = 0;
    double apart = 0;
    for (size_t i = 0; i < c->asked.n_products; i++) {
        agreed += c->results[i].label == answers[i].label;
        apart += distance(&c->results[i], &answers[i], n_classes);
    }
    counters_add(&s->shadow.agreed, agreed);
    counters_add(&s->shadow.differed, c->asked.n_products - agreed);
    counters_add(&s->shadow.distance_millionths, (uint64_t)(apart * 1e6));
    shadow_changes_add(&s->shadow_changes, candidate->id, c, answers, n_classes);
}

/* On the shadow's own worker. */
static void run_job(struct job *job)
{
    struct shadow_job *j = (struct shadow_job *)job;
    const struct classify_request *asked = &j->asked->asked;
    const struct engine *e = &j->candidate->engine;
    medley_result *answers = mem_zalloc(asked->n_products, sizeof *answers);
    medley_classify_options options = {0};
    medley_error err;
    bool stop = atomic_load(&j->server->hurrying);
    if (answers && !stop &&
        e->classify(e->context, asked->query, asked->locale, asked->products, asked->n_products,
                    &options, answers, &err) == MEDLEY_OK)
        compare(j->server, e, j->asked, answers);
    else
        counters_add(&j->server->shadow.failed, 1);
    mem_free(answers);
    job_free(j);
}

static bool is_chosen(struct server *s, double share)
{
    uint64_t number = atomic_fetch_add(&s->next_id, 1);
    return (double)(mix64(s->id_seed, number, 1) >> 11) * 0x1p-53 < share;
}

void shadow_offer(struct request *r)
{
    struct server *s = r->server;
    double share;
    struct deployment *candidate = deployment_enter_shadow(&s->deployments, &share);
    if (!candidate)
        return;
    struct shadow_job *j = NULL;
    if (r->classification->usual && is_chosen(s, share))
        j = mem_zalloc(1, sizeof *j);
    if (!j) {
        deployment_leave(candidate);
        return;
    }
    *j = (struct shadow_job){{NULL, run_job}, s, candidate, r->classification};
    r->classification = NULL;
    if (!jobs_submit(s->shadow_jobs, &j->job)) {
        counters_add(&s->shadow.dropped, 1);
        job_free(j);
    }
}

void shadow_write(struct json_writer *w, const struct shadow_counters *c)
{
    uint64_t agreed = counters_get(&c->agreed), differed = counters_get(&c->differed);
    uint64_t n = agreed + differed;
    jw_key(w, "pairs");
    jw_i64(w, (int64_t)n);
    jw_key(w, "pairs_differing");
    jw_i64(w, (int64_t)differed);
    jw_key(w, "mean_distance");
    if (n)
        jw_double(w, (double)counters_get(&c->distance_millionths) * 1e-6 / (double)n);
    else
        jw_null(w);
    jw_key(w, "requests_dropped");
    jw_i64(w, (int64_t)counters_get(&c->dropped));
    jw_key(w, "requests_failed");
    jw_i64(w, (int64_t)counters_get(&c->failed));
}
