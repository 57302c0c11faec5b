/* memory.h: the allocator every room uses, so that sizes are multiplied with an overflow check
 * and tests can make the n-th allocation fail. Everything here is released with mem_free
 * (free). */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t count,
                size_t size); /* NULL on overflow or out of memory; count*size may be 0 */
void *mem_zalloc(size_t count, size_t size);  /* the same, zeroed */
void *mem_alloc64(size_t count, size_t size); /* aligned to 64 bytes, size rounded up to 64 */
void *mem_resize(void *old, size_t count, size_t size); /* realloc; old stays valid on NULL */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void mem_free(void *p);

/* Zeroes. Of 32 MB and more the pages go back to the system until they are written again, which
 * costs no more than zeroing what no cache holds; mem_give_back does so whatever the size. p
 * from mem_alloc or mem_alloc64. */
void mem_zero(void *p, size_t bytes);
void mem_give_back(void *p, size_t bytes);
/* Asks for huge pages for 32 MB and more: rows read in random order then miss the TLB less. */
void mem_advise(void *p, size_t bytes);

/* Grows *array so that it holds at least `need` elements; *capacity is in elements. Returns
 * false and changes nothing when out of memory. `array` is the address of the pointer. */
bool mem_reserve(void *array, size_t *capacity, size_t need, size_t size);

/* Tests only: the allocation after `countdown` successful ones fails, once; SIZE_MAX switches
 * off. */
void mem_fail_after(size_t countdown);

#endif
