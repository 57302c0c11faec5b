/* model_xgboost.c: reads XGBoost's JSON and UBJSON models, 1.7 to 3.x.
 *
 * XGBoost sends x < c left; for floats that is x <= the float before c. A leaf is a node whose
 * left child is -1 and whose condition is its value; deleted nodes are those that the root does
 * not reach. With size_leaf_vector > 1 a leaf holds one value per output: in leaf_weights, at
 * the leaf's right child (3.x), or in base_weights, at the node (2.x). tree_info gives the
 * output of a tree; trees are put in order round by round, output by output. base_score is a
 * prediction (for binary:logistic a probability), one number or, from 3.1 on, a list "[a,b]".
 * DART's weight_drop multiplies leaf values. Covers are sum_hessian, which is what XGBoost's
 * own pred_contribs uses.
 *
 * Proof: tests/test_gbdt_xgboost.c, fuzz/fuzz_xgboost_json.c, fuzz/fuzz_xgboost_ubj.c. */
#include "gbdt/model_xgboost.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "gbdt/text_reader.h"
#include "gbdt/ubjson.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

const struct xgboost_objective xgboost_objectives[] = {
    /* the first of each link is the one that is written */
    {"multi:softprob", MEDLEY_LINK_SOFTMAX, BASE_MARGIN},
    {"multi:softmax", MEDLEY_LINK_SOFTMAX, BASE_MARGIN},
    {"binary:logistic", MEDLEY_LINK_SIGMOID, BASE_LOGIT},
    {"reg:logistic", MEDLEY_LINK_SIGMOID, BASE_LOGIT},
    {"reg:squarederror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:linear", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:squaredlogerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:absoluteerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:pseudohubererror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:quantileerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:expectileerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:pairwise", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:ndcg", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:map", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"binary:logitraw", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"count:poisson", MEDLEY_LINK_EXP, BASE_LOG},
    {"reg:gamma", MEDLEY_LINK_EXP, BASE_LOG},
    {"reg:tweedie", MEDLEY_LINK_EXP, BASE_LOG},
    {"survival:cox", MEDLEY_LINK_EXP, BASE_LOG},
    {"survival:aft", MEDLEY_LINK_EXP, BASE_LOG},
    {NULL, MEDLEY_LINK_IDENTITY, BASE_MARGIN},
};

/* ---- the forest ---- */

struct forest_parts {
    const json *trees, *info, *weights; /* weights of DART, or NULL */
    struct tree **list;                 /* [n] in the file's order; NULL once taken */
    size_t n;
};

static medley_status find_trees(const struct xgboost_source *s, const json *booster,
                                struct forest_parts *p)
{
    const json *name = NULL, *model = NULL;
    const char *kind = "";
    medley_status st = xg_get(s, booster, "name", JSON_STRING, &name);
    if (st != MEDLEY_OK)
        return st;
    json_as_text(name, &kind);
    if (strcmp(kind, "dart") == 0) {
        st = xg_get(s, booster, "weight_drop", JSON_ARRAY, &p->weights);
        if (st == MEDLEY_OK)
            st = xg_get(s, booster, "gbtree", JSON_OBJECT, &booster);
    } else if (strcmp(kind, "gbtree") != 0) {
        return xg_refuse(s, MEDLEY_EUNSUPPORTED, "booster '%.40s' (expected gbtree or dart)",
                         kind);
    }
    if (st == MEDLEY_OK)
        st = xg_get(s, booster, "model", JSON_OBJECT, &model);
    if (st == MEDLEY_OK)
        st = xg_get(s, model, "trees", JSON_ARRAY, &p->trees);
    if (st != MEDLEY_OK)
        return st;
    p->n = json_count(p->trees);
    st = xg_array(s, model, "tree_info", p->n, &p->info);
    if (st == MEDLEY_OK && p->weights && json_count(p->weights) != p->n)
        st = xg_refuse(s, MEDLEY_EFORMAT, "'weight_drop' holds %zu values for %zu trees",
                       json_count(p->weights), p->n);
    return st;
}

static medley_status read_list(struct xgboost_source *s, struct medley_gbdt *m,
                               struct forest_parts *p)
{
    const json *tree = json_first(p->trees), *info = p->info;
    const json *weight = p->weights ? json_first(p->weights) : NULL;
    medley_status st = MEDLEY_OK;
    p->list = mem_zalloc(p->n, sizeof *p->list);
    if (!p->list && p->n)
        return fail_memory(s->err, "a model's trees");
    for (size_t i = 0; st == MEDLEY_OK && i < p->n; i++) {
        int32_t output = 0;
        float factor = 1;
        s->tree = i;
        if (!xg_index(info, 0, (int64_t)m->n_classes - 1, &output))
            st = xg_refuse(s, MEDLEY_EFORMAT, "tree_info is not an output from 0 to %zu",
                           m->n_classes - 1);
        if (st == MEDLEY_OK && weight && !xg_float(weight, &factor))
            st = xg_refuse(s, MEDLEY_EFORMAT, "weight_drop is not a finite number");
        if (st == MEDLEY_OK && json_kind_of(tree) != JSON_OBJECT)
            st = xg_refuse(s, MEDLEY_EFORMAT, "not an object");
        if (st == MEDLEY_OK)
            st = xgboost_read_tree(s, tree, m, (double)factor, &p->list[i]);
        if (st == MEDLEY_OK && p->list[i]->n_outputs == 1)
            p->list[i]->first_class = (uint32_t)output;
        tree = json_next(tree);
        info = json_next(info);
        weight = weight ? json_next(weight) : NULL;
    }
    s->tree = SIZE_MAX;
    return st;
}

/* The next tree of a class, or a tree of nothing when there are no more. */
static struct tree *next_of_class(struct forest_parts *p, uint32_t c, size_t *at)
{
    while (*at < p->n && (!p->list[*at] || p->list[*at]->first_class != c))
        ++*at;
    if (*at == p->n)
        return tree_new(1, 1, c);
    struct tree *t = p->list[*at];
    p->list[(*at)++] = NULL;
    return t;
}

static medley_status arrange(const struct xgboost_source *s, struct medley_gbdt *m,
                             struct forest_parts *p)
{
    size_t at[GBDT_MAX_CLASSES] = {0}, of_class[GBDT_MAX_CLASSES] = {0}, rounds = 0;
    size_t vectors = 0, outputs = m->n_classes;
    for (size_t i = 0; i < p->n; i++) {
        vectors += p->list[i]->n_outputs > 1;
        size_t *n = &of_class[p->list[i]->first_class];
        rounds = ++*n > rounds ? *n : rounds;
    }
    if (vectors != 0 && vectors != p->n)
        return xg_refuse(s, MEDLEY_EUNSUPPORTED, "trees of one output beside trees of several");
    if (vectors) {
        m->kind = MEDLEY_TREES_VECTOR;
        outputs = 1;
    }
    for (size_t r = 0; r < rounds; r++)
        for (size_t c = 0; c < outputs; c++) {
            struct tree *t = next_of_class(p, (uint32_t)c, &at[c]);
            if (!t || !gbdt_add_tree(m, t)) {
                tree_free(t);
                return fail_memory(s->err, "a model's trees");
            }
        }
    return MEDLEY_OK;
}

static medley_status read_forest(struct xgboost_source *s, const json *learner,
                                 struct medley_gbdt *m)
{
    struct forest_parts p = {0};
    const json *booster = NULL;
    medley_status st = xg_get(s, learner, "gradient_booster", JSON_OBJECT, &booster);
    m->cover = MEDLEY_COVER_HESSIAN;
    if (st == MEDLEY_OK)
        st = find_trees(s, booster, &p);
    if (st == MEDLEY_OK)
        st = read_list(s, m, &p);
    if (st == MEDLEY_OK)
        st = arrange(s, m, &p);
    for (size_t i = 0; p.list && i < p.n; i++)
        tree_free(p.list[i]);
    mem_free(p.list);
    return st;
}

/* ---- the head ---- */

static bool to_margin(double v, enum base_link link, double *out)
{
    if (link == BASE_LOGIT) {
        *out = log(v / (1 - v));
        return v > 0 && v < 1;
    }
    if (link == BASE_LOG) {
        *out = log(v);
        return v > 0;
    }
    *out = v;
    return true;
}

/* "5E-1", a number, or "[a,b]" with one number or one for each output. */
static medley_status read_base(const struct xgboost_source *s, const json *param,
                               enum base_link link, struct medley_gbdt *m)
{
    const json *v = json_get(param, "base_score");
    const char *text = NULL;
    double number = 0;
    size_t n = 0;
    if (json_as_double(v, &number)) {
        for (; n < m->n_classes; n++)
            if (!to_margin(number, link, &m->base[n]))
                return xg_refuse(s, MEDLEY_EFORMAT,
                                 "'base_score' does not go with the objective");
        return MEDLEY_OK;
    }
    if (!json_as_text(v, &text))
        return xg_refuse(s, MEDLEY_EFORMAT, "'base_score' is missing or no text");
    struct str rest = str_trim(str_of(text));
    if (rest.n >= 2 && rest.s[0] == '[' && rest.s[rest.n - 1] == ']')
        rest = (struct str){rest.s + 1, rest.n - 2};
    while (rest.s) {
        const char *comma = rest.n ? memchr(rest.s, ',', rest.n) : NULL;
        struct str word = {rest.s, comma ? (size_t)(comma - rest.s) : rest.n};
        rest = comma ? (struct str){comma + 1, rest.n - word.n - 1} : (struct str){NULL, 0};
        if (n == m->n_classes || !str_to_double(str_trim(word), &number) ||
            !to_margin(number, link, &m->base[n]))
            return xg_refuse(
                s, MEDLEY_EFORMAT,
                "'base_score': '%.*s' is not a start for the objective, or too many",
                shown(word), word.s);
        n++;
    }
    if (n != 1 && n != m->n_classes)
        return xg_refuse(s, MEDLEY_EFORMAT, "'base_score' holds %zu numbers for %zu outputs", n,
                         m->n_classes);
    for (; n < m->n_classes; n++)
        m->base[n] = m->base[0];
    return MEDLEY_OK;
}

static medley_status read_objective(const struct xgboost_source *s, const json *learner,
                                    const struct xgboost_objective **out)
{
    const json *objective = NULL, *name = NULL;
    const char *text = "";
    medley_status st = xg_get(s, learner, "objective", JSON_OBJECT, &objective);
    if (st == MEDLEY_OK)
        st = xg_get(s, objective, "name", JSON_STRING, &name);
    if (st != MEDLEY_OK)
        return st;
    json_as_text(name, &text);
    for (const struct xgboost_objective *o = xgboost_objectives; o->name; o++)
        if (strcmp(o->name, text) == 0) {
            *out = o;
            return MEDLEY_OK;
        }
    return xg_refuse(s, MEDLEY_EUNSUPPORTED, "objective '%.40s'", text);
}

static medley_status read_names(const struct xgboost_source *s, const json *learner,
                                struct medley_gbdt *m)
{
    const json *names = json_get(learner, "feature_names"), *v;
    if (json_count(names) == 0)
        return MEDLEY_OK;
    if (json_count(names) != m->n_features)
        return xg_refuse(s, MEDLEY_EFORMAT, "'feature_names' holds %zu names for %zu features",
                         json_count(names), m->n_features);
    const char **list = mem_zalloc(m->n_features, sizeof *list);
    if (!list)
        return fail_memory(s->err, "feature names");
    v = json_first(names);
    for (size_t i = 0; i < m->n_features; i++, v = json_next(v))
        json_as_text(v, &list[i]); /* stays NULL, which is refused */
    medley_status st = medley_gbdt_set_feature_names(m, list, s->err);
    if (st == MEDLEY_EINVAL)
        st = xg_refuse(s, MEDLEY_EFORMAT, "'feature_names' holds an empty or broken name");
    mem_free(list);
    return st;
}

static medley_status read_head(const struct xgboost_source *s, const json *learner,
                               struct medley_gbdt **out)
{
    const struct xgboost_objective *objective = NULL;
    const json *param = NULL;
    int64_t classes = 0, targets = 1, features = 0;
    medley_status st = read_objective(s, learner, &objective);
    if (st == MEDLEY_OK)
        st = xg_get(s, learner, "learner_model_param", JSON_OBJECT, &param);
    if (st == MEDLEY_OK)
        st = xg_count(s, param, "num_class", -1, &classes);
    if (st == MEDLEY_OK)
        st = xg_count(s, param, "num_target", 1, &targets);
    if (st == MEDLEY_OK)
        st = xg_count(s, param, "num_feature", -1, &features);
    if (st != MEDLEY_OK)
        return st;
    int64_t outputs = classes > targets ? classes : targets > 1 ? targets : 1;
    if (outputs > GBDT_MAX_CLASSES)
        return xg_refuse(s, MEDLEY_EUNSUPPORTED, "%" PRId64 " outputs (at most %d)", outputs,
                         GBDT_MAX_CLASSES);
    if (features < 1 || features > GBDT_MAX_FEATURES)
        return xg_refuse(s, MEDLEY_EUNSUPPORTED, "%" PRId64 " features (expected 1 to %d)",
                         features, GBDT_MAX_FEATURES);
    if (objective->link == MEDLEY_LINK_SOFTMAX && outputs < 2)
        return xg_refuse(s, MEDLEY_EFORMAT, "'num_class' is %" PRId64 " in %s", classes,
                         objective->name);
    *out = gbdt_new((size_t)features, (size_t)outputs, MEDLEY_TREES_PER_CLASS);
    if (!*out)
        return fail_memory(s->err, "a model");
    (*out)->link = objective->link;
    st = read_base(s, param, objective->base, *out);
    return st == MEDLEY_OK ? read_names(s, learner, *out) : st;
}

/* XGBoost writes NaN and Infinity, which JSON does not have: null says as much here. Appends
 * the text with these words replaced outside strings. */
static void replace_words(struct str data, struct strbuf *out)
{
    static const char *const words[] = {"NaN", "-NaN", "Infinity", "-Infinity"};
    bool quoted = false;
    size_t from = 0;
    for (size_t i = 0; i < data.n; i++) {
        char c = data.s[i];
        if (quoted && c == '\\')
            i++; /* whatever follows is part of the text */
        else if (c == '"')
            quoted = !quoted;
        if (quoted || (c != 'N' && c != '-' && c != 'I'))
            continue;
        for (size_t w = 0; w < 4; w++) {
            size_t n = strlen(words[w]);
            if (data.n - i < n || memcmp(data.s + i, words[w], n) != 0)
                continue;
            sb_add(out, data.s + from, i - from);
            sb_addz(out, "null");
            from = i + n;
            i = from - 1;
            break;
        }
    }
    sb_add(out, data.s + from, data.n - from);
}

static medley_status read_text(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct xgboost_source s = {.path = path, .err = err, .tree = SIZE_MAX};
    const json *learner = NULL;
    json *root = NULL;
    struct medley_gbdt *m = NULL;
    medley_status st = json_parse(data, path, &root, err);
    if (st == MEDLEY_OK)
        st = xg_get(&s, root, "learner", JSON_OBJECT, &learner);
    if (st == MEDLEY_OK)
        st = read_head(&s, learner, &m);
    if (st == MEDLEY_OK)
        st = read_forest(&s, learner, m);
    json_free(root);
    if (st == MEDLEY_OK)
        *out = m;
    else
        medley_gbdt_free(m);
    return st;
}

static medley_status read_json(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct strbuf text;
    if (!memmem(data.s, data.n, "NaN", 3) && !memmem(data.s, data.n, "Infinity", 8))
        return read_text(path, data, out, err);
    sb_init(&text);
    replace_words(data, &text);
    medley_status st =
        text.failed ? fail_memory(err, path) : read_text(path, sb_str(&text), out, err);
    sb_deinit(&text);
    return st;
}

static medley_status read_ubj(const char *path, struct str data, medley_gbdt **out,
                              medley_error *err)
{
    struct strbuf text;
    sb_init(&text);
    medley_status st = ubjson_to_json(data, path, &text, err);
    if (text.failed)
        st = fail_memory(err, path);
    if (st == MEDLEY_OK)
        st = read_text(path, sb_str(&text), out, err);
    sb_deinit(&text);
    return st;
}

/* UBJSON's "{" is followed by the length of a key, JSON's by a space or a quote. */
static bool is_ubj(struct str data)
{
    return data.n > 1 && data.s[0] == '{' && data.s[1] && strchr("LlIiU#$N", data.s[1]);
}

static bool is_json(struct str data)
{
    struct str trimmed = str_trim(data);
    return trimmed.n > 0 && trimmed.s[0] == '{' && !is_ubj(data);
}

const struct model_format model_format_xgboost_json = {"xgboost-json", is_json, read_json,
                                                       xgboost_write_json};
const struct model_format model_format_xgboost_ubj = {"xgboost-ubj", is_ubj, read_ubj,
                                                      xgboost_write_ubj};
