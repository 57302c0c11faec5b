/* arena.c: bump allocation out of blocks that double. A reset that finds several blocks
 * releases them and makes the next block as large as all of them together, so that batches of a
 * kind settle on one block which is then kept. Proof: tests/test_base.c. */
#include "base/arena.h"

#include "base/memory.h"

#include <stdint.h>
#include <string.h>

#define ALIGNMENT 64
#define DEFAULT_BLOCK ((size_t)64 << 10)
#define LARGEST_DOUBLING                                                \
    ((size_t)64 << 20) /* blocks above this are only as large as needed \
                        */

/* Followed by `size` bytes at the next multiple of ALIGNMENT. */
struct arena_block {
    struct arena_block *next; /* older */
    size_t size, used;        /* bytes; used is a multiple of ALIGNMENT */
    size_t asked;             /* bytes handed out, for arena_used */
};

static char *block_bytes(struct arena_block *b)
{
    _Static_assert(sizeof(struct arena_block) <= ALIGNMENT, "the header fits one unit");
    return (char *)b + ALIGNMENT;
}

void arena_init(struct arena *a, size_t block_size)
{
    a->blocks = NULL;
    a->block_size = block_size ? block_size : DEFAULT_BLOCK;
}

void arena_deinit(struct arena *a)
{
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    a->blocks = NULL;
}

void arena_reset(struct arena *a)
{
    if (a->blocks && !a->blocks->next) {
        a->blocks->used = a->blocks->asked = 0;
        return;
    }
    size_t total = 0; /* cannot overflow: the blocks exist */
    for (struct arena_block *b = a->blocks; b; b = b->next)
        total += b->size;
    arena_deinit(a);
    if (total > a->block_size)
        a->block_size = total;
}

static struct arena_block *add_block(struct arena *a, size_t need)
{
    size_t size = a->block_size ? a->block_size : DEFAULT_BLOCK;
    if (a->blocks && a->blocks->size <= LARGEST_DOUBLING / 2 && size < a->blocks->size * 2)
        size = a->blocks->size * 2;
    if (size < need)
        size = need;
    if (size > PTRDIFF_MAX - 2 * ALIGNMENT)
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_block *b = mem_alloc64(1, ALIGNMENT + size);
    if (!b)
        return NULL;
    mem_advise(b, ALIGNMENT + size);
    *b = (struct arena_block){.next = a->blocks, .size = size};
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - 2 * ALIGNMENT)
        return NULL;
    size_t rounded = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < rounded)
        b = add_block(a, rounded);
    if (!b)
        return NULL;
    void *p = block_bytes(b) + b->used;
    b->used += rounded;
    b->asked += bytes;
    return p;
}

void *arena_zalloc(struct arena *a, size_t count, size_t size)
{
    void *p = arena_alloc(a, count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? arena_alloc(a, n + 1, 1) : NULL;
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

size_t arena_used(const struct arena *a)
{
    size_t used = 0;
    for (const struct arena_block *b = a->blocks; b; b = b->next)
        used += b->asked;
    return used;
}
