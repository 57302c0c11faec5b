/* gbdt.h: what the sub-verbs of `medley gbdt` share. One file per sub-verb; one line per
 * sub-verb in gbdt.c. */
#ifndef CLI_GBDT_H
#define CLI_GBDT_H

#include "cli/cli.h"
#include "cli/gbdt_input.h"

/* Like a verb (cli.h), but argv[0] is "medley gbdt NAME". */
int gbdt_train(int argc, char **argv);
int gbdt_predict(int argc, char **argv);
int gbdt_explain(int argc, char **argv);
int gbdt_convert(int argc, char **argv);
int gbdt_rank(int argc, char **argv);

/* Options that take a table to a table; the child parser's input is one of these. */
struct gbdt_rows {
    struct input_paths in; /* -f */
    const char *model;     /* -m */
    const char *out;       /* -o; NULL or ending in .npy or .csv, or "-" */
};
extern const struct argp gbdt_rows_argp;

/* A labelled table and a held-out one; the child parser's input is one of these. Sets the number of
 * threads too. */
struct gbdt_tables {
    struct input_paths train, held_out;
};
extern const struct argp gbdt_tables_argp;

/* Options of growing trees; the child parser's input is a medley_gbdt_options. */
extern const struct argp gbdt_trees_argp;

/* Sets the number of threads from --threads. */
void gbdt_threads(const char *text);
/* The exit status of a usage error in --output; 0: none. */
int gbdt_check_output(const char *verb, const char *out);
medley_status gbdt_load_rows(const struct gbdt_rows *rows, medley_gbdt **model,
                             struct input *in, medley_error *err);
/* .npy, .csv, or - for CSV on standard output. */
medley_status gbdt_write_table(const char *path, const struct strbuf *header, const float *v,
                               size_t rows, size_t cols, medley_error *err);

#endif
