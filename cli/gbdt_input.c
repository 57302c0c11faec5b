/* gbdt_input.c: reads the tables and players of `medley gbdt`. Proof: tests/test_gbdt_cli.c. */
#include "cli/gbdt_input.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "data/table_reader.h"

#include <math.h>
#include <string.h>

#define MAX_CLASSES 256

struct str input_take(struct str *rest, char separator)
{
    const char *end = rest->n ? memchr(rest->s, separator, rest->n) : NULL;
    struct str word = {rest->s, end ? (size_t)(end - rest->s) : rest->n};
    *rest = end ? (struct str){end + 1, rest->n - word.n - 1} : (struct str){NULL, 0};
    return word;
}

void input_quote(struct strbuf *out, const char *name, size_t index)
{
    bool quoted = strpbrk(name, ",\"\n") != NULL;
    if (quoted)
        sb_addc(out, '"');
    for (const char *p = name; *p; p++) {
        if (*p == '"')
            sb_addc(out, '"');
        sb_addc(out, *p);
    }
    sb_addf(out, ":%zu%s", index, quoted ? "\"" : "");
}

static void names_free(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        mem_free(names[i]);
    mem_free(names);
}

void input_deinit(struct input *in)
{
    names_free(in->names, in->table.n_features);
    mem_free(in->features);
    mem_free(in->weights);
    mem_free(in->labels);
    *in = (struct input){0};
}

/* ---- .npy ---- */

static bool is_npy(const char *path)
{
    size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".npy") == 0;
}

/* One number per row of the table. */
static medley_status load_vector(const char *path, size_t rows, float **out, medley_error *err)
{
    struct npy a;
    medley_status st = npy_open(path, &a, err);
    if (st != MEDLEY_OK)
        return st;
    if (a.rows != rows || a.cols != 1)
        st = fail(err, MEDLEY_EFORMAT, "%s: shape (%zu, %zu), but the features have %zu rows",
                  path, a.rows, a.cols, rows);
    *out = st == MEDLEY_OK ? mem_alloc(rows, sizeof **out) : NULL;
    if (*out)
        npy_to_float(&a, *out);
    else if (st == MEDLEY_OK)
        st = fail_memory(err, path);
    npy_close(&a);
    return st;
}

static medley_status load_matrix(const char *path, struct input *in, medley_error *err)
{
    struct npy a;
    medley_status st = npy_open(path, &a, err);
    if (st != MEDLEY_OK)
        return st;
    in->features = mem_alloc(a.rows * a.cols, sizeof *in->features);
    if (in->features) {
        npy_to_float(&a, in->features);
        in->table.n = a.rows;
        in->table.n_features = a.cols;
    } else {
        st = fail_memory(err, path);
    }
    npy_close(&a);
    return st;
}

static medley_status load_labels(const char *path, struct input *in, medley_error *err)
{
    float *values = NULL;
    medley_status st = load_vector(path, in->table.n, &values, err);
    if (st != MEDLEY_OK)
        return st;
    in->labels = mem_alloc(in->table.n, 1);
    if (!in->labels)
        st = fail_memory(err, path);
    for (size_t i = 0; st == MEDLEY_OK && i < in->table.n; i++) {
        if (!(values[i] >= 0 && values[i] < MAX_CLASSES) || values[i] != floorf(values[i]))
            st = fail(err, MEDLEY_EFORMAT, "%s: row %zu: %g is not a class", path, i,
                      (double)values[i]);
        else
            in->labels[i] = (uint8_t)values[i];
    }
    mem_free(values);
    return st;
}

/* ---- tables with a header ---- */

struct columns {
    struct table *t;
    size_t label;   /* TABLE_NO_COLUMN: none */
    size_t *source; /* [n_features] */
};

/* Feature columns: the wanted ones by name, or all but the label. */
static medley_status choose_columns(struct columns *c, const char *const *wanted, size_t n,
                                    struct input *in, medley_error *err)
{
    size_t all = table_columns(c->t);
    size_t room = wanted ? n : all;
    c->source = mem_alloc(room, sizeof *c->source);
    in->names = mem_zalloc(room, sizeof *in->names);
    if (!c->source || !in->names)
        return fail_memory(err, "columns");
    in->table.n_features = room; /* for input_deinit; set anew below */
    size_t m = 0;
    for (size_t i = 0; i < room; i++) {
        size_t at = i;
        medley_status st = MEDLEY_OK;
        if (wanted)
            st = table_require(c->t, wanted[i], &at, err);
        if (st != MEDLEY_OK)
            return st;
        if (!wanted && i == c->label)
            continue;
        struct str name = table_column_name(c->t, at);
        in->names[m] = mem_strndup(name.s, name.n);
        if (!in->names[m])
            return fail_memory(err, "column names");
        c->source[m++] = table_find(c->t, name.s);
    }
    in->table.n_features = m;
    return MEDLEY_OK;
}

static medley_status read_label(const struct columns *c, const char *classes, uint8_t *out,
                                medley_error *err)
{
    struct str field = table_field(c->t, c->label), rest = str_of(classes);
    uint64_t number = 0;
    bool found = false;
    if (!classes)
        found = str_to_u64(field, &number) && number < MAX_CLASSES;
    for (; classes && !found && rest.s; number += !found)
        found = str_eq(input_take(&rest, ','), field);
    if (!found)
        return table_fail(c->t, err, "unknown class '%.*s' (expected %s)",
                          (int)(field.n < 40 ? field.n : 40), field.s,
                          classes ? classes : "a number from 0");
    *out = (uint8_t)number;
    return MEDLEY_OK;
}

static medley_status read_features(const struct columns *c, size_t n, float *out,
                                   medley_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct str field = str_trim(table_field(c->t, c->source[i]));
        struct str name = table_column_name(c->t, c->source[i]);
        double v = NAN; /* an empty field is missing */
        if (field.n && !str_to_double(field, &v))
            return table_fail(c->t, err, "column '%.*s': '%.*s' is not a number", (int)name.n,
                              name.s, (int)(field.n < 40 ? field.n : 40), field.s);
        out[i] = (float)v;
    }
    return MEDLEY_OK;
}

static medley_status read_rows(const struct columns *c, const char *classes, struct input *in,
                               medley_error *err)
{
    size_t room = 0, label_room = 0, width = in->table.n_features;
    for (;;) {
        bool more = false;
        size_t n = in->table.n;
        medley_status st = table_next(c->t, &more, err);
        if (st != MEDLEY_OK || !more)
            return st;
        if (!mem_reserve(&in->features, &room, (n + 1) * width, sizeof *in->features) ||
            !mem_reserve(&in->labels, &label_room, n + 1, 1))
            return fail_memory(err, table_path(c->t));
        st = read_features(c, width, in->features + n * width, err);
        if (st == MEDLEY_OK && c->label != TABLE_NO_COLUMN)
            st = read_label(c, classes, &in->labels[n], err);
        if (st != MEDLEY_OK)
            return st;
        in->table.n++;
    }
}

static medley_status load_table(const struct input_paths *paths, const char *const *wanted,
                                size_t n_wanted, struct input *in, medley_error *err)
{
    struct columns c = {.label = TABLE_NO_COLUMN};
    medley_status st = table_open(paths->features, &c.t, err);
    if (st != MEDLEY_OK)
        return st;
    if (paths->label_column)
        st = table_require(c.t, paths->label_column, &c.label, err);
    if (st == MEDLEY_OK)
        st = choose_columns(&c, wanted, n_wanted, in, err);
    if (st == MEDLEY_OK && in->table.n_features == 0)
        st = fail(err, MEDLEY_EFORMAT, "%s: no feature columns", paths->features);
    if (st == MEDLEY_OK)
        st = read_rows(&c, paths->classes, in, err);
    mem_free(c.source);
    table_close(c.t);
    return st;
}

/* ---- either ---- */

static size_t count_names(const char *list)
{
    size_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

static medley_status finish(const struct input_paths *paths, struct input *in,
                            medley_error *err)
{
    medley_table *t = &in->table;
    medley_status st = MEDLEY_OK;
    if (paths->labels)
        st = load_labels(paths->labels, in, err);
    if (st == MEDLEY_OK && paths->weights)
        st = load_vector(paths->weights, t->n, &in->weights, err);
    if (st == MEDLEY_OK && t->n == 0)
        st = fail(err, MEDLEY_EFORMAT, "%s: no rows", paths->features);
    for (size_t i = 0; in->labels && (paths->labels || paths->label_column) && i < t->n; i++)
        t->n_classes = in->labels[i] >= t->n_classes ? in->labels[i] + 1u : t->n_classes;
    if (paths->classes)
        t->n_classes = count_names(paths->classes);
    t->features = in->features;
    t->labels = in->labels;
    t->weights = in->weights;
    return st;
}

static medley_status load(const struct input_paths *paths, const char *const *wanted, size_t n,
                          struct input *out, medley_error *err)
{
    struct input in = {0};
    medley_status st;
    if (!is_npy(paths->features))
        st = load_table(paths, wanted, n, &in, err);
    else if (paths->label_column)
        st = fail(err, MEDLEY_EINVAL, "'%s' has no columns by name; use --labels",
                  paths->features);
    else
        st = load_matrix(paths->features, &in, err);
    if (st == MEDLEY_OK)
        st = finish(paths, &in, err);
    if (st == MEDLEY_OK)
        *out = in;
    else
        input_deinit(&in);
    return st;
}

medley_status input_load(const struct input_paths *paths, const struct input *like,
                         struct input *out, medley_error *err)
{
    const char *const *wanted = like ? (const char *const *)like->names : NULL;
    return load(paths, wanted, like ? like->table.n_features : 0, out, err);
}

medley_status input_load_for(const struct input_paths *paths, const medley_gbdt *model,
                             struct input *out, medley_error *err)
{
    size_t n = medley_gbdt_features(model);
    const char **wanted = NULL;
    if (medley_gbdt_feature_name(model, 0)) {
        wanted = mem_alloc(n, sizeof *wanted);
        if (!wanted)
            return fail_memory(err, "feature names");
        for (size_t i = 0; i < n; i++)
            wanted[i] = medley_gbdt_feature_name(model, i);
    }
    medley_status st = load(paths, wanted, n, out, err);
    mem_free(wanted);
    if (st == MEDLEY_OK && out->table.n_features != n) {
        st = fail(err, MEDLEY_EFORMAT, "%s: %zu features, but the model has %zu",
                  paths->features, out->table.n_features, n);
        input_deinit(out);
    }
    return st;
}

/* ---- players ---- */

void players_deinit(struct players *p)
{
    names_free(p->names, p->n);
    mem_free(p->of_feature);
    *p = (struct players){0};
}

static medley_status players_init(struct players *p, size_t n_features, size_t room,
                                  medley_error *err)
{
    *p = (struct players){.other = UINT32_MAX};
    p->of_feature = mem_alloc(n_features, sizeof *p->of_feature);
    p->names = mem_zalloc(room, sizeof *p->names);
    if (!p->of_feature || !p->names)
        return fail_memory(err, "players");
    for (size_t f = 0; f < n_features; f++)
        p->of_feature[f] = UINT32_MAX;
    return MEDLEY_OK;
}

static medley_status add_player(struct players *p, struct str name, medley_error *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_is(name, p->names[i]))
            return fail(err, MEDLEY_EINVAL, "--players: '%s' appears twice", p->names[i]);
    p->names[p->n] = mem_strndup(name.s, name.n);
    if (!p->names[p->n])
        return fail_memory(err, "players");
    p->n++;
    return MEDLEY_OK;
}

/* "4-7" or "9", for the newest player. */
static medley_status claim(struct players *p, struct str range, size_t n_features,
                           medley_error *err)
{
    struct str rest = range, first = input_take(&rest, '-');
    uint64_t from = 0, to = 0;
    bool good = str_to_u64(first, &from);
    to = from;
    if (rest.s)
        good = good && str_to_u64(rest, &to);
    if (!good || from > to || to >= n_features)
        return fail(err, MEDLEY_EINVAL,
                    "--players: '%.*s' is not a range of features from 0 to %zu", (int)range.n,
                    range.s, n_features - 1);
    for (uint64_t f = from; f <= to; f++) {
        if (p->of_feature[f] != UINT32_MAX)
            return fail(err, MEDLEY_EINVAL, "--players: feature %zu belongs to '%s' and '%s'",
                        (size_t)f, p->names[p->of_feature[f]], p->names[p->n - 1]);
        p->of_feature[f] = (uint32_t)(p->n - 1);
    }
    return MEDLEY_OK;
}

/* One player of the features that nobody claimed, if there are any. */
static medley_status gather_rest(struct players *p, size_t n_features, medley_error *err)
{
    for (size_t f = 0; f < n_features; f++) {
        if (p->of_feature[f] != UINT32_MAX)
            continue;
        if (p->other == UINT32_MAX) {
            medley_status st = add_player(p, STR("other"), err);
            if (st != MEDLEY_OK)
                return st;
            p->other = (uint32_t)(p->n - 1);
        }
        p->of_feature[f] = p->other;
    }
    return MEDLEY_OK;
}

medley_status players_parse(const char *spec, size_t n_features, struct players *out,
                            medley_error *err)
{
    struct players p;
    medley_status st = players_init(&p, n_features, count_names(spec) + 1, err);
    struct str rest = str_of(spec);
    while (st == MEDLEY_OK && rest.s) {
        struct str ranges = input_take(&rest, ','), name = input_take(&ranges, '=');
        if (name.n == 0 || !ranges.s) {
            st =
                fail(err, MEDLEY_EINVAL, "--players: '%s' is not like bert=0-3,sage=4-7", spec);
            break;
        }
        st = add_player(&p, name, err);
        while (st == MEDLEY_OK && ranges.s)
            st = claim(&p, input_take(&ranges, '+'), n_features, err);
    }
    if (st == MEDLEY_OK)
        st = gather_rest(&p, n_features, err);
    if (st == MEDLEY_OK)
        *out = p;
    else
        players_deinit(&p);
    return st;
}

medley_status players_of_features(const medley_gbdt *model, struct players *out,
                                  medley_error *err)
{
    struct players p;
    size_t n = medley_gbdt_features(model);
    medley_status st = players_init(&p, n, n, err);
    for (size_t f = 0; st == MEDLEY_OK && f < n; f++) {
        char number[32];
        const char *name = medley_gbdt_feature_name(model, f);
        snprintf(number, sizeof number, "feature_%zu", f);
        p.names[f] = mem_strdup(name ? name : number);
        p.of_feature[f] = (uint32_t)f;
        p.n = f + 1;
        if (!p.names[f])
            st = fail_memory(err, "feature names");
    }
    if (st == MEDLEY_OK)
        *out = p;
    else
        players_deinit(&p);
    return st;
}
