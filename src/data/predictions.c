/* predictions.c: probabilities that a model trained elsewhere gave, from a table keyed by
 * example_id or an array in dataset order. Tested by test_import.c. */
#include "data/import.h"

#include "base/error.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/progress.h"
#include "data/table_reader.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define SUM_TOLERANCE 1e-3
enum { SPELLINGS = 3 }; /* of p_<class>: as it is, lower case, upper case */

/* Turns the k values of one row into probabilities, in place; NULL, or what is wrong with them.
 */
static const char *settle_row(double *v, size_t k, bool logits)
{
    double sum = 0, top = -INFINITY;
    for (size_t c = 0; c < k; c++) {
        if (!isfinite(v[c]))
            return "a value is not a finite number";
        if (!logits && v[c] < 0)
            return "a probability is negative";
        top = fmax(top, v[c]);
    }
    for (size_t c = 0; c < k; c++) {
        if (logits)
            v[c] = exp(v[c] - top);
        sum += v[c];
    }
    if (!logits && fabs(sum - 1) > SUM_TOLERANCE)
        return "the probabilities do not sum to 1 (are they logits?)";
    for (size_t c = 0; logits && c < k; c++)
        v[c] /= sum;
    return NULL;
}

/* --- arrays --- */

static medley_status read_array(const char *path, const struct dataset *d, bool logits,
                                float *out, medley_error *err)
{
    struct npy a;
    size_t k = d->n_classes;
    medley_status st = npy_open(path, &a, err);
    if (st != MEDLEY_OK)
        return st;
    if (a.rows != d->n_examples || a.cols != k) {
        st = fail(err, MEDLEY_EFORMAT, "%s: shape [%zu, %zu] instead of [%zu, %zu]", path,
                  a.rows, a.cols, d->n_examples, k);
        npy_close(&a);
        return st;
    }
    npy_to_float(&a, out);
    for (size_t i = 0; i < a.rows && st == MEDLEY_OK; i++) {
        double row[MAX_CLASSES];
        size_t missing = 0;
        for (size_t c = 0; c < k; c++) {
            row[c] = out[i * k + c];
            missing += isnan(row[c]);
        }
        if (missing == k) /* a row that the model did not predict */
            continue;
        const char *problem = settle_row(row, k, logits);
        if (problem)
            st = fail(err, MEDLEY_EFORMAT, "%s: row %zu: %s", path, i, problem);
        for (size_t c = 0; c < k; c++)
            out[i * k + c] = (float)row[c];
    }
    npy_close(&a);
    return st;
}

/* --- tables --- */

struct reading {
    struct table *t;
    const struct dataset *d;
    struct map *ids; /* example id -> row of first */
    uint32_t *first; /* the first example with the id */
    size_t id, column[MAX_CLASSES][SPELLINGS];
    uint64_t *line; /* [n_examples] where its prediction was, 0: not yet */
    uint64_t unknown, known;
};

static void change_case(char *s, int (*change)(int))
{
    for (; *s; s++)
        *s = (char)change((unsigned char)*s);
}

/* The column p_<class>, in any case. A JSONL table does not list its columns, so that the usual
 * spellings are asked for and each row is taken by the one it has. */
static medley_status find_class(struct table *t, const char *class_name, size_t out[SPELLINGS],
                                medley_error *err)
{
    char name[256];
    snprintf(name, sizeof name, "p_%s", class_name);
    for (int i = 0; i < SPELLINGS; i++)
        out[i] = TABLE_NO_COLUMN;
    for (size_t i = 0; table_has_header(t) && i < table_columns(t); i++)
        if (strcasecmp(table_column_name(t, i).s, name) == 0) {
            out[0] = table_find(t, table_column_name(t, i).s);
            return MEDLEY_OK;
        }
    if (table_has_header(t))
        return table_require(t, name, &out[0], err); /* says what was found */
    out[0] = table_find(t, name);
    change_case(name + 2, tolower);
    out[1] = table_find(t, name);
    change_case(name + 2, toupper);
    out[2] = table_find(t, name);
    return MEDLEY_OK;
}

static medley_status index_examples(struct reading *r, medley_error *err)
{
    size_t n = r->d->n_examples;
    r->ids = map_new(n);
    r->first = mem_alloc(n, sizeof *r->first);
    r->line = mem_zalloc(n, sizeof *r->line);
    if (!r->ids || (n && (!r->first || !r->line)))
        return fail_memory(err, "an index of examples");
    for (size_t i = 0; i < n; i++) {
        bool added;
        uint32_t row = map_add(r->ids, column_at(&r->d->example_id, i), &added);
        if (row == MAP_NONE)
            return fail_memory(err, "an index of examples");
        if (added)
            r->first[row] = (uint32_t)i;
    }
    return MEDLEY_OK;
}

static medley_status read_row(struct reading *r, bool logits, float *out, medley_error *err)
{
    size_t k = r->d->n_classes;
    double row[MAX_CLASSES];
    struct str id = str_trim(table_field(r->t, r->id));
    uint32_t at = map_find(r->ids, id);
    for (size_t c = 0; c < k; c++) {
        struct str text = {"", 0};
        for (int i = 0; i < SPELLINGS && text.n == 0; i++)
            text = str_trim(table_field(r->t, r->column[c][i]));
        if (!str_to_double(text, &row[c]))
            return table_fail(r->t, err, "p_%s '%.*s' is not a finite number",
                              r->d->class_names[c], (int)text.n, text.s);
    }
    const char *problem = settle_row(row, k, logits);
    if (problem)
        return table_fail(r->t, err, "example '%.*s': %s", (int)id.n, id.s, problem);
    if (at == MAP_NONE) {
        r->unknown++;
        return MEDLEY_OK;
    }
    size_t i = r->first[at];
    if (r->line[i])
        return table_fail(r->t, err, "example '%.*s' comes twice, first in line %llu",
                          (int)id.n, id.s, (unsigned long long)r->line[i]);
    r->line[i] = table_line(r->t);
    r->known++;
    for (size_t c = 0; c < k; c++)
        out[i * k + c] = (float)row[c];
    return MEDLEY_OK;
}

static medley_status read_rows(struct reading *r, bool logits, float *out, medley_error *err)
{
    bool more = true;
    medley_status st = table_require(r->t, "example_id", &r->id, err);
    for (size_t c = 0; c < r->d->n_classes && st == MEDLEY_OK; c++)
        st = find_class(r->t, r->d->class_names[c], r->column[c], err);
    if (st == MEDLEY_OK)
        st = index_examples(r, err);
    for (size_t i = 0; st == MEDLEY_OK && i < r->d->n_examples * r->d->n_classes; i++)
        out[i] = NAN;
    while (st == MEDLEY_OK && more) {
        st = table_next(r->t, &more, err);
        if (st == MEDLEY_OK && more)
            st = read_row(r, logits, out, err);
    }
    return st;
}

medley_status predictions_read(const char *path, const struct dataset *d, bool logits,
                               float *out, medley_error *err)
{
    size_t n = strlen(path);
    if (n > 4 && strcasecmp(path + n - 4, ".npy") == 0)
        return read_array(path, d, logits, out, err);
    struct reading r = {.d = d};
    medley_status st = table_open(path, &r.t, err);
    if (st == MEDLEY_OK)
        st = read_rows(&r, logits, out, err);
    if (st == MEDLEY_OK && r.known == 0)
        st = fail(err, MEDLEY_EFORMAT, "%s: no row names an example of the dataset", path);
    if (st == MEDLEY_OK && r.unknown)
        progress_note("%s: %llu rows name examples that the dataset does not hold; ignored",
                      path, (unsigned long long)r.unknown);
    table_close(r.t);
    map_free(r.ids);
    mem_free(r.first);
    mem_free(r.line);
    return st;
}
