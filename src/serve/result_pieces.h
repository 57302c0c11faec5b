/* result_pieces.h: the parts of an answer's results that are the same for all answers of a
 * bundle: names of classes and models as JSON, with what stands around them. Made once for a
 * deployment; read by several threads. */
#ifndef SERVE_RESULT_PIECES_H
#define SERVE_RESULT_PIECES_H

#include "base/str.h"
#include "serve/engine.h"

struct slice {
    size_t at, n; /* of the text */
};

struct result_pieces {
    const struct engine *e;
    struct strbuf text;                          /* what the slices cut */
    struct slice classes[MEDLEY_MAX_CLASSES];    /* {"E": and ,"S": and so on */
    struct slice labels[MEDLEY_MAX_CLASSES];     /* "E" */
    struct slice players[MEDLEY_MAX_MODELS + 1]; /* {"minilm": and ,"context": */
    struct slice models[MEDLEY_MAX_MODELS];      /* "minilm" */
    size_t room;                                 /* bytes of a result at most, but for its id */
    size_t room_explained;                       /* and with contributions */
};

/* `e` outlives them. NULL: no memory. */
struct result_pieces *result_pieces_new(const struct engine *e);
void result_pieces_free(struct result_pieces *p); /* accepts NULL */

#endif
