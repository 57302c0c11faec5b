/* memory_file.h: bytes under a path, for parsers that map files; nothing touches the disk. */
#ifndef FUZZ_MEMORY_FILE_H
#define FUZZ_MEMORY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Returns the descriptor, to close after use; path[32] is filled. */
static inline int memory_file(const uint8_t *data, size_t n, char path[32])
{
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || (n && write(fd, data, n) != (ssize_t)n))
        abort();
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
