/* text_spill.c: the bytes of a long column of strings in a nameless file, mapped into memory,
 * so that an import of gigabytes of product texts keeps only what it is writing. Pages that
 * are full are given back to the system, which reads them again when they are asked for.
 * Whatever the disk refuses, the column goes on in memory. Tested by test_text_builder.c. */
#include "data/text_builder.h"

#include "base/memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP = 64 << 20, GIVE_BACK = 16 << 20 };

/* Room on the disk for `bytes`: a full disk shows here, not as SIGBUS. */
static bool make_room(int fd, size_t from, size_t bytes)
{
    return bytes <= INT64_MAX && posix_fallocate(fd, (off_t)from, (off_t)(bytes - from)) == 0;
}

static bool begin_spill(struct text_builder *b, size_t bytes)
{
    int fd = open(b->spill, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    void *map = make_room(fd, 0, bytes)
                    ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    if (map == MAP_FAILED) {
        close(fd);
        return false;
    }
    if (text_bytes(b))
        memcpy(map, b->bytes, text_bytes(b));
    mem_free(b->bytes);
    b->bytes = map;
    b->bytes_capacity = bytes;
    b->spilled = true;
    b->fd = fd;
    b->given_back = 0;
    return true;
}

static void end_spill(struct text_builder *b)
{
    munmap(b->bytes, b->bytes_capacity);
    close(b->fd);
    b->spilled = false;
}

/* Back into memory. */
static bool unspill(struct text_builder *b, size_t bytes)
{
    char *copy = mem_alloc(bytes, 1);
    if (!copy)
        return false;
    memcpy(copy, b->bytes, text_bytes(b));
    end_spill(b);
    b->bytes = copy;
    b->bytes_capacity = bytes;
    b->spill = NULL;
    return true;
}

static bool grow_spill(struct text_builder *b, size_t bytes)
{
    if (!make_room(b->fd, b->bytes_capacity, bytes))
        return unspill(b, bytes);
    void *map = mremap(b->bytes, b->bytes_capacity, bytes, MREMAP_MAYMOVE);
    if (map == MAP_FAILED)
        return unspill(b, bytes);
    b->bytes = map;
    b->bytes_capacity = bytes;
    return true;
}

bool text_spill_reserve(struct text_builder *b, size_t bytes)
{
    if (bytes <= b->bytes_capacity)
        return true;
    if (bytes > SIZE_MAX - STEP)
        return false;
    size_t whole = (bytes + STEP - 1) / STEP * STEP;
    if (b->spilled)
        return grow_spill(b, whole);
    if (b->spill && bytes > TEXT_SPILL_AT && begin_spill(b, whole))
        return true;
    return mem_reserve(&b->bytes, &b->bytes_capacity, bytes, 1);
}

void text_spill_written(struct text_builder *b)
{
    size_t used = text_bytes(b);
    if (!b->spilled || used - b->given_back < GIVE_BACK)
        return;
    size_t end = used / GIVE_BACK * GIVE_BACK;
    (void)madvise(b->bytes + b->given_back, end - b->given_back, MADV_DONTNEED);
    b->given_back = end;
}

void text_spill_deinit(struct text_builder *b)
{
    if (b->spilled)
        end_spill(b);
    else
        mem_free(b->bytes);
}
