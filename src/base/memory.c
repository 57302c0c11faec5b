/* memory.c: malloc with an overflow check and a switch that makes the n-th allocation fail.
 * Proof: tests/test_base.c, and every test that counts mem_fail_after up. */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Successful allocations left before the one that fails; SIZE_MAX: off, the only state outside
 * tests, which then costs one relaxed load. */
static atomic_size_t allowed = SIZE_MAX;

void mem_fail_after(size_t countdown)
{
    atomic_store(&allowed, countdown);
}

enum {
    LARGE = 32 << 20
}; /* bytes: past any cache, so that faulting costs no more than zeroing */

static bool must_fail(void)
{
    size_t left = atomic_load_explicit(&allowed, memory_order_relaxed);
    while (left != SIZE_MAX) {
        size_t next = left ? left - 1 : SIZE_MAX; /* fails once, then is off */
        if (atomic_compare_exchange_weak(&allowed, &left, next))
            return left == 0;
    }
    return false;
}

/* Bytes of count*size, at least 1 so that NULL always means failure. */
static bool total_bytes(size_t count, size_t size, size_t *bytes)
{
    if (__builtin_mul_overflow(count, size, bytes) || *bytes > PTRDIFF_MAX)
        return false;
    if (*bytes == 0)
        *bytes = 1;
    return true;
}

void *mem_alloc(size_t count, size_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) && !must_fail() ? malloc(bytes) : NULL;
}

void *mem_zalloc(size_t count, size_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) && !must_fail() ? calloc(1, bytes) : NULL;
}

void *mem_alloc64(size_t count, size_t size)
{
    size_t bytes;
    if (!total_bytes(count, size, &bytes) || bytes > PTRDIFF_MAX - 63 || must_fail())
        return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

void *mem_resize(void *old, size_t count, size_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) && !must_fail() ? realloc(old, bytes) : NULL;
}

/* The whole pages of a range: their number of bytes, and the first. */
static size_t whole_pages(char *p, size_t bytes, char **first)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = (page - (uintptr_t)p % page) % page;
    *first = p + skip;
    return bytes > skip ? (bytes - skip) / page * page : 0;
}

void mem_give_back(void *p, size_t bytes)
{
    char *begin = p, *first = NULL;
    size_t n = whole_pages(begin, bytes, &first);
    if (n && madvise(first, n, MADV_DONTNEED) == 0) {
        memset(begin, 0, (size_t)(first - begin));
        memset(first + n, 0, bytes - n - (size_t)(first - begin));
    } else if (bytes) {
        memset(begin, 0, bytes);
    }
}

void mem_zero(void *p, size_t bytes)
{
    if (bytes >= LARGE)
        mem_give_back(p, bytes);
    else if (bytes)
        memset(p, 0, bytes);
}

void mem_advise(void *p, size_t bytes)
{
    char *first = NULL;
    size_t n = whole_pages(p, bytes, &first);
    if (bytes >= LARGE)
        (void)madvise(first, n,
                      MADV_HUGEPAGE); /* advice: nothing is lost where it is refused */
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_alloc(n + 1, 1) : NULL;
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

bool mem_reserve(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return true;
    size_t target = *capacity < SIZE_MAX / 2 ? *capacity * 2 : need;
    if (target < need)
        target = need;
    if (target < 16)
        target = 16;
    void *old;
    memcpy(&old, array, sizeof old); /* the caller's T * need not have void *'s type */
    void *grown = mem_resize(old, target, size);
    if (!grown)
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = target;
    return true;
}
