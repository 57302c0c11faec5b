/* workspace.h: the folder that a project lives in: medley.yaml beside data/, models/,
 * predictions/, ensemble/, bundle/ and report/. All state is in its files. */
#ifndef ENSEMBLE_WORKSPACE_H
#define ENSEMBLE_WORKSPACE_H

#include "base/arena.h"
#include "data/relations.h"
#include "ensemble/config.h"

/* A path by value: short enough to live on the stack, so that joining cannot fail for memory. A
 * path that does not fit becomes empty, which no file operation accepts. */
struct path {
    char s[1024];
};

struct workspace {
    char root[512];
    /* lm.pretrained and plugin.library are resolved; other paths as written */
    struct config config;
    struct arena arena;  /* resolved paths */
    struct dataset data; /* after workspace_open_data */
    struct relations relations;
    bool data_open;
};

/* Reads root/medley.yaml. The struct points into itself: do not copy it. */
medley_status workspace_open(const char *root, struct workspace *out, medley_error *err);
void workspace_close(struct workspace *w);
/* Maps data/; ESTALE when nothing was imported yet. Calling again does nothing. */
medley_status workspace_open_data(struct workspace *w, medley_error *err);
void workspace_close_data(struct workspace *w); /* before import replaces it */

/* root/format...; absolute results stay absolute. */
struct path workspace_path(const struct workspace *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes a new workspace: the folder, and a commented medley.yaml for the data that was found.
 * Refuses to overwrite an existing medley.yaml. */
struct workspace_template {
    const char
        *data; /* folder with examples.csv, products.csv, ...; NULL: ./source is written in */
    const char *esci;    /* in place of data: the published folder of ESCI; NULL: none */
    const char *version; /* of it; NULL: large */
    const char *pretrained; /* Hugging Face folder of a small encoder; NULL: from scratch */
};
medley_status workspace_init(const char *root, const struct workspace_template *template,
                             medley_error *err);

#endif
