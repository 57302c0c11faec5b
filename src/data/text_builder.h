/* text_builder.h: a column of strings under construction. */
#ifndef DATA_TEXT_BUILDER_H
#define DATA_TEXT_BUILDER_H

#include "data/dataset.h"

struct text_builder {
    uint64_t *offsets; /* [n+1] once anything was added */
    char *bytes;
    size_t n, offsets_capacity, bytes_capacity;

    const char *spill; /* a folder: past TEXT_SPILL_AT the bytes lie in a nameless file there */
    bool spilled;      /* they do: bytes is a shared mapping of fd */
    int fd;
    size_t given_back; /* bytes at the front that were given back to the system */
};
#define TEXT_SPILL_AT ((size_t)64 << 20)

bool text_add(struct text_builder *b, struct str text); /* false when out of memory */
void text_deinit(struct text_builder *b);
struct str text_at(const struct text_builder *b, size_t i);
/* Borrowed until the next text_add; an empty builder gives a column of none. */
struct str_column text_column(const struct text_builder *b);
size_t text_bytes(const struct text_builder *b); /* of all strings together */

/* For text_builder.c: room for `bytes` in all, full pages given back, everything released. */
bool text_spill_reserve(struct text_builder *b, size_t bytes);
void text_spill_written(struct text_builder *b);
void text_spill_deinit(struct text_builder *b);

#endif
