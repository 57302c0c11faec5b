/* text_list.h: texts as input: lines, or a JSON array of strings in which \u0000 may stand,
 * which the JSON door refuses because its texts are terminated. */
#ifndef CLI_TEXT_LIST_H
#define CLI_TEXT_LIST_H

#include "base/str.h"
#include "medley/status.h"

#define TEXT_LIST_LIMIT ((size_t)4 << 30) /* bytes of an input */

struct text_list {
    struct str *items; /* [n] borrowed from the data */
    size_t n, capacity;
};

/* Both keep pointers into data; the second also rewrites it (escapes become what they stand
 * for). */
medley_status text_list_lines(struct text_list *l, const char *data, size_t n,
                              medley_error *err);
medley_status text_list_json(struct text_list *l, char *data, size_t n, const char *name,
                             medley_error *err);
void text_list_deinit(struct text_list *l);

#endif
