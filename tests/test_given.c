/* test_given.c: predictions that the caller brings along: a model is not asked for what is
 * given, and the answer is that of a model that had said it: to the bit, whole or in part, with
 * and without a cascade, by the library and by the server. */
#define put http_put /* both headers have one */
#define at reply_at
#include "tests/serve_help.h"
#undef put
#undef at
#include "ensemble/answers.h"
#include "tests/plugged_shop.h"

#include <math.h>

enum { LIST = 24, K = 3, MOST = 4 };

/* Some pairs of the shop under one query of it. */
struct list {
    char query[64], ids[LIST][16];
    struct strbuf titles[LIST];
    medley_product by_id[LIST], by_text[LIST];
};

static void list_make(struct list *l)
{
    snprintf(l->query, sizeof l->query, "red2 shoe2 big2");
    for (int i = 0; i < LIST; i++) {
        sb_init(&l->titles[i]);
        plugged_title(i, &l->titles[i]);
        snprintf(l->ids[i], sizeof l->ids[i], "p%d", i);
        medley_text title = {l->titles[i].s, l->titles[i].n};
        l->by_id[i] = (medley_product){.id = {l->ids[i], strlen(l->ids[i])}};
        l->by_text[i] = (medley_product){.has_text = true, .title = title};
    }
}

static void list_free(struct list *l)
{
    for (int i = 0; i < LIST; i++)
        sb_deinit(&l->titles[i]);
}

struct answers {
    medley_result results[LIST];
    float contributions[LIST * (MOST + 1) * K], said[LIST * MOST * K];
};

static medley_status judge(const medley_bundle *b, const struct list *l,
                           const medley_product *products, medley_classify_options o,
                           struct answers *a, medley_error *err)
{
    memset(a, 0, sizeof *a);
    o.contributions = a->contributions;
    o.said = a->said;
    return medley_bundle_classify(b, (medley_text){l->query, strlen(l->query)},
                                  (medley_text){"us", 2}, products, LIST, &o, a->results, err);
}

static bool same(const struct answers *a, const struct answers *b)
{
    for (size_t i = 0; i < LIST; i++) {
        const medley_result *x = &a->results[i], *y = &b->results[i];
        if (x->label != y->label || x->stages != y->stages ||
            x->models_used != y->models_used || x->models_late != y->models_late ||
            memcmp(x->margins, y->margins, sizeof x->margins) != 0 ||
            memcmp(x->probabilities, y->probabilities, sizeof x->probabilities) != 0)
            return false;
    }
    return memcmp(a->contributions, b->contributions, sizeof a->contributions) == 0;
}

static size_t model_called(const medley_bundle *b, const char *name)
{
    size_t m = 0;
    while (m < medley_bundle_models(b) && strcmp(medley_bundle_model(b, m), name) != 0)
        m++;
    return m;
}

/* ---- the library ------------------------------------------------------------------------- */

static void give_nothing(float *given)
{
    answers_none(given, LIST * MOST, K);
}

static void test_as_asked(const medley_bundle *b, const struct list *l)
{
    static struct answers asked, answered;
    size_t m = medley_bundle_models(b), row = m * K;
    float given[LIST * MOST * K], said[LIST * MOST * K];
    medley_error err = {0};
    medley_classify_options o = {.given = given};
    judge(b, l, l->by_text, (medley_classify_options){.models = UINT32_MAX}, &asked, &err);
    memcpy(said, asked.said, sizeof said);
    memcpy(given, said, sizeof given);
    judge(b, l, l->by_text, (medley_classify_options){0}, &asked, &err);
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&asked, &answered),
       "all given: as if asked, to the bit %s", err.message);
    for (size_t i = 0; i < LIST * m; i++)
        if (isnan(given[i * K]))
            memcpy(given + i * K, (float[]){0.25f, 0.5f, 0.25f}, K * sizeof *given);
    static struct answers in_time;
    judge(b, l, l->by_text, o, &in_time, &err);
    o.deadline_ms = 1e-6;
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&in_time, &answered),
       "in no time: nobody is asked");
    memcpy(given, said, sizeof given);
    o.deadline_ms = 0;
    for (size_t i = 0; i < LIST; i++) /* of each pair another selection of models */
        for (size_t j = 0; j < m; j++)
            if ((i + j) % 3)
                answers_none(given + i * row + j * K, 1, K);
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&asked, &answered),
       "some given, the others asked: to the bit");
    o.deadline_ms = 1e-6;
    judge(b, l, l->by_text, o, &answered, &err);
    bool right = true;
    for (size_t i = 0; i < LIST; i++)
        for (size_t j = 0; j < m; j++)
            right &=
                isnan(given[i * row + j * K]) || !(answered.results[i].models_late >> j & 1);
    ok(right, "what is given is not late, whatever else is");
    give_nothing(given);
    o.deadline_ms = 0;
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&asked, &answered),
       "nothing given: all asked");
}

/* What a table says of a known pair, said by the caller of the same pair as text. */
static void test_as_table(const medley_bundle *b, const struct list *l)
{
    static struct answers table, answered;
    size_t m = medley_bundle_models(b), noise = model_called(b, "noise");
    float given[LIST * MOST * K];
    medley_error err = {0};
    medley_classify_options o = {.given = given, .only_given = true};
    size_t said = 0;
    judge(b, l, l->by_id, (medley_classify_options){.models = 1u << noise}, &table, &err);
    give_nothing(given);
    for (size_t i = 0; i < LIST; i++) {
        memcpy(given + (i * m + noise) * K, table.said + (i * m + noise) * K,
               K * sizeof *given);
        said += !isnan(given[(i * m + noise) * K]);
    }
    ok(said == PLUGGED_LIST, "the table knows %zu pairs", said);
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&table, &answered),
       "given alone: the answer of the table alone, to the bit %s", err.message);
    o.only_given = false;
    o.models = 1u << noise;
    ok(judge(b, l, l->by_text, o, &answered, &err) == MEDLEY_OK && same(&table, &answered),
       "also when it may be asked for the others");
    o.models = 1u << (noise ? 0 : 1);
    judge(b, l, l->by_text, o, &answered, &err);
    size_t wrong = 0;
    for (size_t i = 0; i < LIST; i++)
        wrong += answered.results[i].models_used !=
                 (o.models | (table.results[i].models_used & 1u << noise));
    ok(wrong == 0, "models that were not chosen count where they are given");
}

static void test_refused(const medley_bundle *b, const struct list *l)
{
    static struct answers a;
    static const struct {
        float p[K];
        const char *why;
    } bad[] = {
        {{0.5f, 0.5f, 0.1f}, "the probabilities sum to 1.1, not 1 (are they logits?)"},
        {{1.5f, -0.5f, 0}, "a probability is negative"},
        {{0.5f, NAN, 0.5f}, "a probability is not a number"},
        {{INFINITY, 0, 0}, "a probability is infinite"},
    };
    float given[LIST * MOST * K];
    char message[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        medley_error err = {0};
        give_nothing(given);
        memcpy(given + (3 * medley_bundle_models(b) + 1) * K, bad[i].p, sizeof bad[i].p);
        ok(judge(b, l, l->by_text, (medley_classify_options){.given = given}, &a, &err) ==
               MEDLEY_EINVAL,
           "no probabilities: refused");
        snprintf(message, sizeof message, "given of '%s' for product 3: %s",
                 medley_bundle_model(b, 1), bad[i].why);
        is_text(err.message, message, "  %s", bad[i].why);
    }
}

/* Whatever allocation fails, it is told, and nothing is left behind. */
static void test_no_room(const medley_bundle *b, const struct list *l)
{
    static struct answers whole, a;
    medley_error err = {0};
    float given[LIST * MOST * K];
    judge(b, l, l->by_text, (medley_classify_options){.models = UINT32_MAX}, &whole, &err);
    memcpy(given, whole.said, sizeof given);
    for (size_t i = 0; i < LIST * MOST; i += 2)
        answers_none(given + i * K, 1, K);
    medley_classify_options o = {.given = given};
    judge(b, l, l->by_text, o, &whole, &err);
    size_t told = 0, other = 0, n;
    for (n = 0; n < 2000; n++) {
        mem_fail_after(n);
        medley_status st = judge(b, l, l->by_text, o, &a, &err);
        mem_fail_after(SIZE_MAX);
        if (!st && same(&whole, &a) && n > 100)
            break;
        told += st == MEDLEY_ENOMEM;
        other += st && st != MEDLEY_ENOMEM;
    }
    ok(told > 10 && other == 0, "%zu failing allocations are told", told);
}

/* ---- the server -------------------------------------------------------------------------- */

static void add_body(struct strbuf *out, const medley_bundle *b, const struct list *l,
                     const float *given, const char *options)
{
    size_t m = medley_bundle_models(b);
    sb_addf(out, "{\"query\":\"%s\",%s\"products\":[", l->query, options);
    for (size_t i = 0; i < LIST; i++) {
        bool first = true;
        sb_addf(out, "%s{\"title\":\"%s\",\n\"predictions\": {", i ? "," : "", l->titles[i].s);
        for (size_t j = 0; j < m; j++) {
            const float *p = given + (i * m + j) * K;
            if (isnan(*p))
                continue;
            sb_addf(out, "%s\"%s\": [%.9g, %.9g,%.9g ]", first ? "" : ", ",
                    medley_bundle_model(b, j), (double)p[0], (double)p[1], (double)p[2]);
            first = false;
        }
        sb_addz(out, "}}");
    }
    sb_addz(out, "]}");
}

static bool is_number(const json *v, float wanted)
{
    double d;
    return json_as_double(v, &d) && (float)d == wanted;
}

/* Whether a list of names is that of a mask. */
static bool names_are(const json *list, const medley_bundle *b, uint32_t mask)
{
    const json *v = json_first(list);
    for (size_t m = 0; m < medley_bundle_models(b); m++) {
        const char *name;
        if (!(mask >> m & 1))
            continue;
        if (!json_as_text(v, &name) || strcmp(name, medley_bundle_model(b, m)) != 0)
            return false;
        v = json_next(v);
    }
    return json_kind_of(list) == JSON_ARRAY && v == NULL;
}

static bool result_is(const json *v, const medley_bundle *b, const struct answers *a, size_t i,
                      uint32_t given)
{
    size_t players = medley_bundle_models(b) + 1;
    const medley_result *r = &a->results[i];
    bool cached = true, same = json_as_bool(json_get(v, "cached"), &cached) && !cached;
    for (size_t k = 0; k < K; k++) {
        const char *class = medley_bundle_class(b, k);
        same &= is_number(json_get(json_get(v, "probabilities"), class), r->probabilities[k]);
        same &= is_number(json_get(json_get(v, "margins"), class), r->margins[k]);
        for (size_t m = 0; m < players; m++) {
            const char *player = m + 1 < players ? medley_bundle_model(b, m) : "context";
            same &= is_number(json_get(json_get(json_get(v, "contributions"), player), class),
                              a->contributions[(i * players + m) * K + k]);
        }
    }
    return same && names_are(json_get(v, "models_used"), b, r->models_used) &&
           names_are(json_get(v, "models_given"), b, given & r->models_used);
}

static void test_served(uint16_t port, const medley_bundle *b, const struct list *l,
                        const char *options, const char *path, bool part)
{
    static struct answers whole, wanted;
    size_t m = medley_bundle_models(b);
    float given[LIST * MOST * K];
    medley_error err = {0};
    struct strbuf body;
    json *root = NULL;
    bool alone = strstr(options, "\"models\":[]") != NULL;
    judge(b, l, l->by_text, (medley_classify_options){.models = UINT32_MAX}, &whole, &err);
    memcpy(given, whole.said, sizeof given);
    for (size_t i = 0; part && i < LIST; i++)
        answers_none(given + (i * m + i % m) * K, 1, K);
    /* Something else than what any model says. */
    memcpy(given + (5 * m + m - 1) * K, (float[]){0.1f, 0.30000001f, 0.6f}, K * sizeof *given);
    judge(b, l, l->by_text, (medley_classify_options){.given = given, .only_given = alone},
          &wanted, &err);
    sb_init(&body);
    add_body(&body, b, l, given, options);
    struct reply r = ask(port, "POST", path, JSON_TYPE, body.s);
    size_t right = 0;
    if (ok(r.status == 200 && json_parse(sb_str(&r.body), "answer", &root, NULL) == MEDLEY_OK,
           "%s with%s: %d %.200s", path, options, r.status,
           r.status == 200 ? "" : body_of(&r))) {
        size_t i = 0;
        for (const json *v = json_first(json_get(root, "results")); v; v = json_next(v), i++) {
            int64_t position = (int64_t)i;
            uint32_t mask = 0;
            json_as_i64(json_get(v, "position"), &position);
            for (size_t j = 0; j < m; j++)
                mask |= (uint32_t)!isnan(given[((size_t)position * m + j) * K]) << j;
            right += result_is(v, b, &wanted, (size_t)position, mask);
        }
    }
    ok(right == LIST, "%zu of %d pairs as offline, to the bit", right, LIST);
    json_free(root);
    reply_free(&r);
    sb_deinit(&body);
}

/* The cache stays as it was, and what it has is not used. */
static void test_cache(uint16_t port)
{
    static const char
        plain[] = "{\"query\":\"red5\",\"products\":[\"p1\"]}",
        with[] = "{\"query\":\"red5\",\"cache\":\"on\",\"products\":[{\"id\":\"p1\","
                 "\"predictions\":{\"mine\":[0,0,1],\"noise\":[0,0,1],\"graph\":[0,0,1]}}]}";
    char margin[32];
    struct reply r = classify(port, with);
    is_text(reply_at(&r, "results/0/cached"), "false", "with predictions: judged");
    reply_free(&r);
    r = classify(port, plain);
    is_text(reply_at(&r, "results/0/cached"), "false", "and not remembered");
    is_text(reply_at(&r, "results/0/models_given"), "(absent)", "nothing was given");
    snprintf(margin, sizeof margin, "%s", reply_at(&r, "results/0/margins/bad"));
    reply_free(&r);
    r = classify(port, with);
    is_text(reply_at(&r, "results/0/cached"), "false", "what is remembered is not used");
    ok(strcmp(reply_at(&r, "results/0/margins/bad"), margin) != 0, "it is another answer");
    ok(reply_at(&r, "results/0/models_given/0")[0] != '(', "which says what was given");
    reply_free(&r);
    r = classify(port, plain);
    is_text(reply_at(&r, "results/0/cached"), "true", "what is remembered");
    is_text(reply_at(&r, "results/0/margins/bad"), margin, "is as it was");
    reply_free(&r);
}

static void test_served_refusals(uint16_t port)
{
    static const struct {
        const char *predictions, *why;
    } bad[] = {
        {"{\"yours\":[0,0,1]}", "products[1].predictions.yours: the bundle has no such model"},
        {"{\"mine\":[0,1]}", "products[1].predictions.mine: 2 numbers for 3 classes"},
        {"{\"mine\":[0,0,0,1]}", "products[1].predictions.mine: 4 numbers for 3 classes"},
        {"{\"mine\":[0,0,0.9]}", "products[1].predictions.mine: sums to 0.9, not 1"},
        {"{\"mine\":[0,-0.5,1.5]}", "products[1].predictions.mine[1]: must be from 0 to 1"},
        {"{\"mine\":[0,\"1\",0]}", "products[1].predictions.mine[1]: must be a number"},
    };
    char body[300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body,
                 "{\"query\":\"q\",\"products\":[\"p0\",{\"id\":\"p1\",\"predictions\":%s}]}",
                 bad[i].predictions);
        struct reply r = classify(port, body);
        ok(r.status == 400, "400 for %s", bad[i].predictions);
        is_text(reply_at(&r, "error"), bad[i].why, "  which says why");
        reply_free(&r);
    }
}

static void test_server(const char *folder, const medley_bundle *b, const struct list *l)
{
    medley_error err = {0};
    struct engine engine;
    struct server *s = NULL;
    if (!ok(engine_open_bundle(at(folder, "bundle/current"), &engine, &err) == MEDLEY_OK &&
                server_start(&engine, &(struct server_options){.threads = 1}, &s, &err) ==
                    MEDLEY_OK,
            "serves: %s", err.message))
        return;
    uint16_t port = server_port(s);
    test_served(port, b, l, "\"explain\":true,", "/v1/classify", false);
    test_served(port, b, l, "\"explain\":true,", "/v1/classify", true);
    test_served(port, b, l, "\"explain\":true,\"models\":[],", "/v1/classify", true);
    test_served(port, b, l, "\"explain\":true,", "/v1/rank", true);
    test_cache(port);
    test_served_refusals(port);
    ok(server_stop(s, 5), "stops");
    engine_close(&engine);
}

/* ---- both kinds of bundles ----------------------------------------------------------------
 */

static void test_bundle(const char *folder, bool cascade)
{
    medley_error err = {0};
    medley_bundle *b = NULL;
    struct list l;
    if (!ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "opens: %s", err.message))
        return;
    ok((medley_bundle_stages(b) > 0) == cascade && medley_bundle_models(b) >= 2 &&
           medley_bundle_models(b) <= MOST && model_called(b, "noise") < MOST,
       "a bundle of %zu models %s cascade", medley_bundle_models(b),
       cascade ? "with a" : "without");
    list_make(&l);
    test_as_asked(b, &l);
    test_as_table(b, &l);
    test_refused(b, &l);
    if (!cascade)
        test_no_room(b, &l);
    test_server(folder, b, &l);
    list_free(&l);
    medley_bundle_close(b);
}

int main(void)
{
    medley_error err = {0};
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    static const char models[] =
        "  - {name: mine, kind: lm, layers: 1, hidden: 32, vocabulary: 400, epochs: 1, "
        "max_tokens: 32, fields: \"query,title\"}\n"
        "  - {name: graph, kind: gnn, layer: sage, epochs: 1}\n";
    for (int cascade = 0; cascade < 2; cascade++) {
        struct strbuf more;
        char *yaml = NULL;
        size_t n = 0;
        plugged_write(folder, models);
        sb_init(&more);
        file_read(at(folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
        char *pins = yaml ? strstr(yaml, "budget:") : NULL;
        sb_add(&more, yaml, pins ? (size_t)(pins - yaml) : 0);
        sb_addf(&more, "budget: {pin: [noise, mine, graph]}\n%s",
                cascade ? "decide: {cascade: true, cascade_loss: 0.02}\n" : "");
        put(folder, "medley.yaml", more.s);
        sb_deinit(&more);
        mem_free(yaml);
        if (ok(plugged_run(folder, true, &err) == MEDLEY_OK, "all stages: %s", err.message))
            test_bundle(folder, cascade);
    }
    return tap_done();
}
