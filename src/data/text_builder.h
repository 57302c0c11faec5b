/* text_builder.h: a column of strings under construction. */
#ifndef DATA_TEXT_BUILDER_H
#define DATA_TEXT_BUILDER_H

#include "data/dataset.h"

struct text_builder {
    uint64_t *offsets; /* [n+1] once anything was added */
    char *bytes;
    size_t n, offsets_capacity, bytes_capacity;
};

bool text_add(struct text_builder *b, struct str text); /* false when out of memory */
void text_deinit(struct text_builder *b);
struct str text_at(const struct text_builder *b, size_t i);
/* Borrowed until the next text_add; an empty builder gives a column of none. */
struct str_column text_column(const struct text_builder *b);
size_t text_bytes(const struct text_builder *b); /* of all strings together */

#endif
