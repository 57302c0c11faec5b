/* gbdt_input.h: tables and players as the command line of `medley gbdt` gives them. */
#ifndef CLI_GBDT_INPUT_H
#define CLI_GBDT_INPUT_H

#include "base/str.h"
#include "medley/gbdt.h"

/* Where a table comes from. Features are .npy, or a table with a header (.csv .tsv .jsonl). */
struct input_paths {
    const char *features;
    const char *labels;       /* .npy; NULL: none, or label_column */
    const char *label_column; /* of a table with a header */
    const char *classes;      /* names in that column, by commas; NULL: numbers */
    const char *weights;      /* .npy or NULL */
};

/* A table in memory. */
struct input {
    medley_table table; /* points to the arrays below */
    float *features, *weights;
    uint8_t *labels;
    char **names; /* [n_features] of a table with a header, else NULL */
};

/* `like`, when not NULL, gives the columns to take by name (from a table with a header). */
medley_status input_load(const struct input_paths *paths, const struct input *like,
                         struct input *out, medley_error *err);
/* Rows to predict: columns are those the model was trained on. */
medley_status input_load_for(const struct input_paths *paths, const medley_gbdt *model,
                             struct input *out, medley_error *err);
void input_deinit(struct input *in);

/* Who owns each feature. */
struct players {
    size_t n;
    uint32_t *of_feature; /* [features] */
    char **names;         /* [n] */
    uint32_t other;       /* the player of features that no one claims; UINT32_MAX: none */
};

/* "bert=0-3,sage=4-7+9". */
medley_status players_parse(const char *spec, size_t n_features, struct players *out,
                            medley_error *err);
medley_status players_of_features(const medley_gbdt *model, struct players *out,
                                  medley_error *err);
void players_deinit(struct players *p);

/* Cuts the text before the next `separator` off *rest; after the last, rest->s is NULL. */
struct str input_take(struct str *rest, char separator);

/* Appends NAME:INDEX as a CSV field. */
void input_quote(struct strbuf *out, const char *name, size_t index);

#endif
