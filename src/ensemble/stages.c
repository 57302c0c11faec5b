/* stages.c: see stages.h. */
#include "ensemble/stages.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "data/edges.h"
#include "data/table_reader.h"
#include "ensemble/crossfit.h"
#include "ensemble/teacher.h"
#include "ensemble/text_relations.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

const char *const stage_group_names[STAGE_GROUPS] = {
    "import", "features", "text-relations", "train", "stack",
    "rank",   "select",   "evaluate",       "tune",  "report",
};

/* What a stage depends on, one line each; the text is the stamp file. */
struct parts {
    struct strbuf text;
    struct hash128 hash;
};

static void add_part(struct parts *p, const char *what, struct hash128 content)
{
    char hex[33];
    hash_text(content, hex);
    sb_addf(&p->text, "%s %s\n", hex, what);
    p->hash = hash_bytes(what, strlen(what) + 1, p->hash);
    p->hash = hash_bytes(&content, sizeof content, p->hash);
}

static void add_settings(struct parts *p, const char *what, const struct yaml_node *node)
{
    char line[160];
    snprintf(line, sizeof line, "settings %s", what);
    add_part(p, line, yaml_hash(node, (struct hash128){0, 0}));
}

static void add_value(struct parts *p, const char *what, const void *value, size_t n)
{
    add_part(p, what, hash_bytes(value, n, (struct hash128){0, 0}));
}

/* A file that is not there hashes to zero: the stage itself will say what is missing. */
static void add_file(struct parts *p, const struct workspace *w, const char *file)
{
    if (!file)
        return;
    struct hash128 h = {0, 0};
    struct path path = workspace_path(w, "%s", file);
    char line[600];
    snprintf(line, sizeof line, "file %.500s", file);
    table_hash(path.s, &h, NULL);
    add_part(p, line, h);
}

static void add_esci(struct parts *p, const struct workspace *w, const char *folder)
{
    char *files[ESCI_FILES];
    if (!folder || esci_find(workspace_path(w, "%s", folder).s, files, NULL))
        return;
    for (size_t i = 0; i < ESCI_FILES; i++)
        add_file(p, w, files[i]);
    esci_free(files);
}

static void add_pretrained(struct parts *p, const struct workspace *w, const char *folder)
{
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt",
                                        "tokenizer.json"};
    for (size_t i = 0; folder && i < sizeof files / sizeof *files; i++) {
        char file[600];
        snprintf(file, sizeof file, "%.500s/%s", folder, files[i]);
        if (file_exists(workspace_path(w, "%s", file).s))
            add_file(p, w, file);
    }
}

static void add_upstream(struct parts *p, const struct stages *s, enum stage_group group,
                         size_t model)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct stage *up = &s->items[i];
        if (up->group != group || (model != SIZE_MAX && up->model != model))
            continue;
        char line[128];
        snprintf(line, sizeof line, "stage %s", up->name);
        add_part(p, line, hash_bytes(up->key, strlen(up->key), (struct hash128){0, 0}));
    }
}

/* The features stage that serves model m: the first model with the same features owns it, and
 * their text relations. */
static size_t features_owner(const struct config *c, size_t m)
{
    for (size_t i = 0; i < m; i++)
        if (c->models[i].kind == KIND_GNN &&
            strcmp(c->models[i].features, c->models[m].features) == 0)
            return i;
    return m;
}

/* Whether a model with the features that m owns reads a text relation. */
static bool wants_neighbours(const struct config *c, size_t m)
{
    for (size_t i = m; i < c->n_models; i++)
        if (c->models[i].kind == KIND_GNN && features_owner(c, i) == m &&
            names_text_relation(c->models[i].relations))
            return true;
    return false;
}

static void add_cost(struct parts *p, const struct workspace *w, const char *model)
{
    char file[200];
    snprintf(file, sizeof file, "models/%s/cost.json", model);
    add_file(p, w, file);
}

/* One line for each limit; options of the command line may have replaced those of the file. */
static void add_budget(struct parts *p, const struct budget_config *b)
{
    const double limits[] = {b->latency_ms, b->latency_p99_ms, b->throughput,
                             b->price,      b->core_hour,      (double)b->memory,
                             b->pairs,      b->cores,          b->top};
    static const char *const names[] = {"latency", "p99 latency", "throughput",
                                        "price",   "core hour",   "memory",
                                        "pairs",   "cores",       "top"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char line[40];
        snprintf(line, sizeof line, "budget %s", names[i]);
        add_value(p, line, &limits[i], sizeof limits[i]);
    }
    add_value(p, "budget pins", &b->pinned, sizeof b->pinned);
    add_value(p, "budget prices", b->price_of, sizeof b->price_of);
    add_value(p, "budget metric", b->metric, strlen(b->metric));
    add_value(p, "budget prefer", b->prefer, strlen(b->prefer));
}

static void list_parts(const struct workspace *w, const struct stages *s,
                       const struct stage *stage, struct parts *p)
{
    const struct config *c = &w->config;
    const struct model_config *m = &c->models[stage->model];
    switch (stage->group) {
    case STAGE_IMPORT:
        add_settings(p, "data", c->data_node);
        add_file(p, w, c->data.examples);
        add_file(p, w, c->data.products);
        add_esci(p, w, c->data.esci);
        add_file(p, w, c->data.metadata);
        add_file(p, w, c->data.lists);
        add_file(p, w, c->data.events);
        for (size_t i = 0; i < c->data.n_relations; i++)
            add_file(p, w, c->data.relations[i].file);
        break;
    case STAGE_FEATURES:
        add_upstream(p, s, STAGE_IMPORT, SIZE_MAX);
        if (strcmp(m->features, "hashed") != 0)
            add_pretrained(p, w, m->features);
        break;
    case STAGE_NEIGHBOURS:
        add_upstream(p, s, STAGE_FEATURES, stage->model);
        break;
    case STAGE_TRAIN:
        add_upstream(p, s, STAGE_IMPORT, SIZE_MAX);
        add_settings(p, "model", m->node);
        add_settings(p, "stacking", c->stacking_node);
        add_pretrained(p, w, m->lm.pretrained);
        add_file(p, w, m->predictions);
        add_file(p, w, m->plugin.library);
        if (m->kind == KIND_GNN)
            add_upstream(p, s, STAGE_FEATURES, features_owner(c, stage->model));
        if (m->kind == KIND_GNN && names_text_relation(m->relations))
            add_upstream(p, s, STAGE_NEIGHBOURS, features_owner(c, stage->model));
        for (const char **t = m->teachers; t && *t; t++) {
            size_t teacher = teacher_model(c, *t);
            if (teacher == SIZE_MAX)
                add_file(p, w, *t);
            else
                add_upstream(p, s, STAGE_TRAIN, teacher);
        }
        break;
    case STAGE_STACK:
        add_upstream(p, s, STAGE_TRAIN, SIZE_MAX);
        add_settings(p, "ensemble", c->ensemble_node);
        break;
    case STAGE_RANK:
        add_upstream(p, s, STAGE_STACK, SIZE_MAX);
        break;
    case STAGE_SELECT:
        add_upstream(p, s, STAGE_STACK, SIZE_MAX);
        add_budget(p, &c->budget);
        for (size_t i = 0; i < c->n_models; i++)
            add_cost(p, w, c->models[i].name);
        add_value(p, "serve precompute", &c->serve.precompute, sizeof c->serve.precompute);
        break;
    case STAGE_EVALUATE:
        add_upstream(p, s, STAGE_SELECT, SIZE_MAX);
        break;
    case STAGE_TUNE:
        add_upstream(p, s, STAGE_SELECT, SIZE_MAX);
        add_settings(p, "decide", c->decide_node);
        break;
    case STAGE_REPORT:
        add_upstream(p, s, STAGE_RANK, SIZE_MAX);
        add_upstream(p, s, STAGE_EVALUATE, SIZE_MAX);
        add_upstream(p, s, STAGE_TUNE, SIZE_MAX);
        break;
    case STAGE_GROUPS:
        break;
    }
}

static struct path stamp_path(const struct workspace *w, const struct stage *s)
{
    return workspace_path(w, ".medley/%s", s->name);
}

/* The first line that differs tells why. */
static void explain_difference(const char *before, const char *now, char *why, size_t size)
{
    while (*before && *now) {
        size_t a = strcspn(before, "\n"), b = strcspn(now, "\n");
        if (a != b || memcmp(before, now, a) != 0)
            break;
        before += a + (before[a] == '\n');
        now += b + (now[b] == '\n');
    }
    const char *line = *now ? now : before;
    size_t n = strcspn(line, "\n"), skip = n > 33 ? 33 : 0;
    if (n > skip)
        snprintf(why, size, "%.*s %s", (int)(n - skip), line + skip,
                 *now ? (*before ? "changed" : "is new") : "is gone");
    else
        snprintf(why, size, "inputs changed");
}

/* Selecting writes a plain bundle: what `decide:` wants in it has to be added again. */
static bool bundle_is_plain(const struct workspace *w, const struct stages *s)
{
    const struct decide_config *want = &w->config.decide;
    bool will_be = false;
    for (size_t i = 0; i < s->n; i++)
        will_be |= s->items[i].group == STAGE_SELECT && !s->items[i].up_to_date;
    return ((want->cascade || want->calibrate) && will_be) ||
           (want->cascade &&
            !file_exists(workspace_path(w, "bundle/current/cascade/cascade.json").s)) ||
           (want->calibrate &&
            !file_exists(workspace_path(w, "bundle/current/calibrator.json").s));
}

static medley_status inspect_one(const struct workspace *w, const struct stages *s,
                                 struct stage *stage, medley_error *err)
{
    struct parts p = {.hash = {0, 0}};
    char *stamp = NULL;
    size_t n;
    sb_init(&p.text);
    add_value(&p, "format", "1", 1);
    list_parts(w, s, stage, &p);
    hash_text(p.hash, stage->key);
    if (p.text.failed) {
        sb_deinit(&p.text);
        return fail_memory(err, "a stage");
    }
    struct path path = stamp_path(w, stage);
    if (!file_exists(path.s) || file_read(path.s, 1 << 20, &stamp, &n, NULL) != MEDLEY_OK)
        snprintf(stage->why, sizeof stage->why, "never run");
    else if (strcmp(stamp, p.text.s) != 0)
        explain_difference(stamp, p.text.s, stage->why, sizeof stage->why);
    else if (!file_exists(workspace_path(w, "%s", stage->output).s))
        snprintf(stage->why, sizeof stage->why, "%.200s is gone", stage->output);
    else if (stage->group == STAGE_SELECT &&
             !file_exists(workspace_path(w, "bundle/current/bundle.json").s))
        snprintf(stage->why, sizeof stage->why, "bundle/current is gone");
    else if (stage->group == STAGE_TUNE && bundle_is_plain(w, s))
        snprintf(stage->why, sizeof stage->why, "bundle/current has not what decide: wants");
    else
        stage->up_to_date = true;
    mem_free(stamp);
    sb_deinit(&p.text);
    return MEDLEY_OK;
}

static struct stage *append(struct stages *s, enum stage_group group, const char *output)
{
    struct stage *stage = &s->items[s->n++];
    stage->group = group;
    snprintf(stage->name, sizeof stage->name, "%s", stage_group_names[group]);
    snprintf(stage->output, sizeof stage->output, "%s", output);
    return stage;
}

static void append_model(struct stages *s, enum stage_group group, const struct config *c,
                         size_t m)
{
    char output[200];
    snprintf(output, sizeof output, "predictions/%s/probabilities.npy", c->models[m].name);
    struct stage *stage = append(s, group, output);
    stage->model = m;
    snprintf(stage->name, sizeof stage->name, "train-%s", c->models[m].name);
}

static void append_features(struct stages *s, const struct workspace *w, size_t m)
{
    struct path p = features_path(w, w->config.models[m].features);
    const char *file = strrchr(p.s, '/') ? strrchr(p.s, '/') + 1 : p.s;
    int n = (int)strcspn(file, ".");
    char output[200];
    snprintf(output, sizeof output, "features/%.100s", file);
    struct stage *stage = append(s, STAGE_FEATURES, output);
    stage->model = m;
    snprintf(stage->name, sizeof stage->name, "features-%.*s", n, file);
    if (!wants_neighbours(&w->config, m))
        return;
    snprintf(output, sizeof output, "features/%.*s.text/" RELATIONS_FILE, n, file);
    stage = append(s, STAGE_NEIGHBOURS, output);
    stage->model = m;
    snprintf(stage->name, sizeof stage->name, "text-relations-%.*s", n, file);
}

medley_status stages_inspect(const struct workspace *w, struct stages *out, medley_error *err)
{
    const struct config *c = &w->config;
    struct stages s = {mem_zalloc(3 * c->n_models + 9, sizeof *s.items), 0};
    if (!s.items)
        return fail_memory(err, "stages");
    append(&s, STAGE_IMPORT, "data/dataset.safetensors");
    for (size_t m = 0; m < c->n_models; m++)
        if (c->models[m].kind == KIND_GNN && features_owner(c, m) == m)
            append_features(&s, w, m);
    for (size_t m = 0; m < c->n_models; m++)
        append_model(&s, STAGE_TRAIN, c, m);
    append(&s, STAGE_STACK, "ensemble/full.txt");
    append(&s, STAGE_RANK, "ensemble/ranking.json");
    append(&s, STAGE_SELECT, "ensemble/selection.json");
    append(&s, STAGE_EVALUATE, "ensemble/evaluation.json");
    append(&s, STAGE_TUNE, "ensemble/calibration.json");
    append(&s, STAGE_REPORT, "report/index.html");
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < s.n && !st; i++)
        st = inspect_one(w, &s, &s.items[i], err);
    if (st)
        stages_free(&s);
    else
        *out = s;
    return st;
}

void stages_free(struct stages *s)
{
    mem_free(s->items);
    s->items = NULL;
    s->n = 0;
}

/* Runs one stage and stamps it. The old stamp goes first: a stage that was cut short is stale.
 */
static medley_status run_one(struct workspace *w, const struct stages *s, struct stage *stage,
                             medley_error *err)
{
    struct path path = stamp_path(w, stage);
    struct parts p = {.hash = {0, 0}};
    sb_init(&p.text);
    add_value(&p, "format", "1", 1);
    list_parts(w, s, stage, &p);
    hash_text(p.hash, stage->key); /* files may have changed since: stages before wrote them */
    medley_status st = p.text.failed ? fail_memory(err, "a stage") : MEDLEY_OK;
    if (!st && unlink(path.s) != 0 && errno != ENOENT)
        st = fail(err, MEDLEY_EIO, "cannot remove '%s': %s", path.s, strerror(errno));
    if (!st && interrupted())
        st = fail(err, MEDLEY_EINTERRUPTED, "interrupted before stage '%s'", stage->name);
    if (!st)
        st = stage_do(w, stage, err);
    if (!st)
        st = file_write(path.s, p.text.s, p.text.n, err);
    sb_deinit(&p.text);
    return st;
}

static medley_status lock_workspace(const struct workspace *w, int *lock, medley_error *err)
{
    medley_status st = make_folders(workspace_path(w, ".medley").s, err);
    if (st)
        return st;
    struct path p = workspace_path(w, ".medley/lock");
    *lock = open(p.s, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*lock < 0)
        return fail(err, MEDLEY_EIO, "cannot open '%s': %s", p.s, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return MEDLEY_OK;
    close(*lock);
    return fail(err, MEDLEY_EINVAL, "another medley is working in '%s'", w->root);
}

static bool teaches(const struct config *c, size_t teacher, size_t student)
{
    for (const char **t = c->models[student].teachers; t && *t; t++)
        if (teacher_model(c, *t) == teacher)
            return true;
    return false;
}

/* Every stage that `stage` builds upon comes before it in the list and in an earlier group; of
 * train stages only students build upon their teachers, and rank is not needed by select and
 * evaluate. */
static bool needs(const struct workspace *w, const struct stage *stage,
                  const struct stage *before)
{
    if (before->group == STAGE_TRAIN && stage->group == STAGE_TRAIN)
        return teaches(&w->config, before->model, stage->model);
    if (before->group >= stage->group ||
        (before->group == STAGE_RANK && stage->group < STAGE_REPORT))
        return false;
    if (before->group < STAGE_TRAIN && before->group >= STAGE_FEATURES &&
        stage->group <= STAGE_TRAIN) {
        const struct model_config *m = &w->config.models[stage->model];
        return m->kind == KIND_GNN &&
               features_owner(&w->config, stage->model) == before->model &&
               (before->group == STAGE_FEATURES || names_text_relation(m->relations));
    }
    return true;
}

static medley_status check_needs(const struct workspace *w, const struct stages *s,
                                 const struct stage *stage, medley_error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct stage *before = &s->items[i];
        if (needs(w, stage, before) && !before->up_to_date)
            return fail(err, MEDLEY_ESTALE,
                        "'%s' needs '%s', which is out of date: %s (run 'medley run -C %s')",
                        stage->name, before->name, before->why, w->root);
    }
    return MEDLEY_OK;
}

static medley_status run_group(struct workspace *w, enum stage_group group, const char *only,
                               bool force, medley_error *err)
{
    struct stages s;
    size_t matched = 0;
    medley_status st = stages_inspect(w, &s, err);
    if (st)
        return st;
    for (size_t i = 0; i < s.n && !st; i++) {
        struct stage *stage = &s.items[i];
        bool wanted = stage->group == group ||
                      (group == STAGE_TRAIN && stage->group >= STAGE_FEATURES &&
                       stage->group < STAGE_TRAIN) ||
                      (group == STAGE_FEATURES && stage->group == STAGE_NEIGHBOURS);
        if (wanted && only && stage->group == STAGE_TRAIN)
            wanted = strcmp(only, w->config.models[stage->model].name) == 0;
        if (!wanted)
            continue;
        matched += stage->group == group;
        st = check_needs(w, &s, stage, err);
        if (!st && (!stage->up_to_date || (force && stage->group == group)))
            st = run_one(w, &s, stage, err);
        stage->up_to_date = !st;
    }
    if (!st && !matched)
        st = fail(err, MEDLEY_ENOTFOUND, "no model '%s' in medley.yaml", only);
    stages_free(&s);
    return st;
}

medley_status stages_run_group(struct workspace *w, enum stage_group group, const char *only,
                               bool force, medley_error *err)
{
    int lock = -1;
    medley_status st = lock_workspace(w, &lock, err);
    if (st)
        return st;
    st = run_group(w, group, only, force, err);
    close(lock);
    return st;
}

medley_status stages_call(struct workspace *w, enum stage_group group,
                          medley_status (*body)(struct workspace *w, void *context,
                                                medley_error *err),
                          void *context, medley_error *err)
{
    struct stages s = {NULL, 0};
    int lock = -1;
    medley_status st = lock_workspace(w, &lock, err);
    if (st)
        return st;
    st = stages_inspect(w, &s, err);
    for (size_t i = 0; i < s.n && !st; i++)
        if (s.items[i].group == group)
            st = check_needs(w, &s, &s.items[i], err);
    if (!st)
        st = workspace_open_data(w, err);
    if (!st)
        st = body(w, context, err);
    stages_free(&s);
    close(lock);
    return st;
}

medley_status stages_run(struct workspace *w, medley_error *err)
{
    struct stages s = {NULL, 0};
    int lock = -1;
    medley_status st = lock_workspace(w, &lock, err);
    if (st)
        return st;
    st = stages_inspect(w, &s, err);
    for (size_t i = 0; !st && i < s.n; i++)
        if (!s.items[i].up_to_date)
            st = run_one(w, &s, &s.items[i], err);
    stages_free(&s);
    close(lock);
    return st;
}
