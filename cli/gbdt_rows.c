/* gbdt_rows.c: what `medley gbdt predict` and `explain` share: a model, the rows to put through
 * it, a table to write. Proof: tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include "base/error.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/pool.h"

#include <stdio.h>
#include <string.h>

void gbdt_threads(const char *text)
{
    pool_set_threads((unsigned)cli_count("--threads", text, 1, 256));
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct gbdt_rows *rows = state->input;
    switch (key) {
    case 'f':
        rows->in.features = arg;
        return 0;
    case 'm':
        rows->model = arg;
        return 0;
    case 'o':
        rows->out = arg;
        return 0;
    case 't':
        gbdt_threads(arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"features", 'f', "FILE", 0,
     "table of features: .npy [rows, features], or .csv/.tsv/.jsonl", 0},
    {"model", 'm', "FILE", 0, "model of Medley, LightGBM (text) or XGBoost (JSON, UBJ)", 0},
    {"output", 'o', "FILE", 0, ".npy, .csv, or - for CSV on standard output", 0},
    {"threads", 't', "N", 0, "threads (default: all cores, or MEDLEY_THREADS)", 0},
    {0},
};

const struct argp gbdt_rows_argp = {.options = options, .parser = parse};

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

static void write_csv(FILE *f, const struct strbuf *header, const float *v, size_t rows,
                      size_t cols)
{
    fprintf(f, "%s\n", header->s);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            fprintf(f, "%.9g%c", (double)v[i * cols + j], j + 1 < cols ? ',' : '\n');
}

medley_status gbdt_write_table(const char *path, const struct strbuf *header, const float *v,
                               size_t rows, size_t cols, medley_error *err)
{
    struct outfile o = {0};
    if (ends_with(path, ".npy"))
        return npy_write(path, NPY_F32, rows, cols, v, err);
    if (header->failed)
        return fail_memory(err, "the header of a table");
    if (strcmp(path, "-") == 0) {
        write_csv(stdout, header, v, rows, cols);
        if (fflush(stdout) != 0 || ferror(stdout))
            return fail(err, MEDLEY_EIO, "cannot write to standard output");
        return MEDLEY_OK;
    }
    medley_status st = outfile_open(&o, path, err);
    if (st != MEDLEY_OK)
        return st;
    write_csv(o.f, header, v, rows, cols);
    st = outfile_commit(&o, err);
    outfile_abort(&o);
    return st;
}

int gbdt_check_output(const char *verb, const char *out)
{
    if (out && strcmp(out, "-") != 0 && !ends_with(out, ".npy") && !ends_with(out, ".csv"))
        return cli_usage(verb, "--output: '%s' ends neither in .npy nor in .csv", out);
    return 0;
}

medley_status gbdt_load_rows(const struct gbdt_rows *rows, medley_gbdt **model,
                             struct input *in, medley_error *err)
{
    medley_status st = medley_gbdt_load(rows->model, model, err);
    return st == MEDLEY_OK ? input_load_for(&rows->in, *model, in, err) : st;
}
