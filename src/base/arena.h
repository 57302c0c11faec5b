/* arena.h: many small things with one death. Not thread-safe: one arena, one thread. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *blocks; /* newest first; the first block is kept by arena_reset */
    size_t block_size;          /* bytes asked of malloc at a time */
};

void arena_init(struct arena *a, size_t block_size); /* 0: 64 KiB. Allocates nothing yet */
void arena_deinit(struct arena *a);
void arena_reset(struct arena *a); /* forgets everything, keeps the memory for the next batch */
void *arena_alloc(struct arena *a, size_t count,
                  size_t size); /* aligned to 64; NULL when full */
void *arena_zalloc(struct arena *a, size_t count, size_t size); /* the same, zeroed */
char *arena_strndup(struct arena *a, const char *s, size_t n);
size_t arena_used(const struct arena *a); /* bytes handed out since the last reset */

#endif
