/* text_builder.c: growing columns of strings; memory is twice the text at most, and no more
 * than its end where there is a folder to spill into (text_spill.c). */
#include "data/text_builder.h"

#include "base/memory.h"

#include <string.h>

static const uint64_t no_offsets[1] = {0};

bool text_add(struct text_builder *b, struct str text)
{
    size_t used = text_bytes(b);
    if (text.n > SIZE_MAX - used ||
        !mem_reserve(&b->offsets, &b->offsets_capacity, b->n + 2, sizeof *b->offsets) ||
        !text_spill_reserve(b, used + text.n))
        return false;
    if (text.n)
        memcpy(b->bytes + used, text.s, text.n);
    b->offsets[b->n++] = used;
    b->offsets[b->n] = used + text.n;
    text_spill_written(b);
    return true;
}

void text_deinit(struct text_builder *b)
{
    mem_free(b->offsets);
    text_spill_deinit(b);
    *b = (struct text_builder){0};
}

struct str_column text_column(const struct text_builder *b)
{
    return (struct str_column){b->n ? b->offsets : no_offsets, b->bytes ? b->bytes : ""};
}

struct str text_at(const struct text_builder *b, size_t i)
{
    struct str_column c = text_column(b);
    return column_at(&c, i);
}

size_t text_bytes(const struct text_builder *b)
{
    return b->n ? (size_t)b->offsets[b->n] : 0;
}
