/* failing_page.h: a disk that does not take the last page of LMDB's transactions while
 * last_page_fails is set: pwrite as LMDB calls it, too. */
#ifndef TESTS_FAILING_PAGE_H
#define TESTS_FAILING_PAGE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_bool last_page_fails;

/* Of the file the first two pages say which the others are. */
__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void *bytes, size_t n,
                                                      off_t at)
{
    if (atomic_load(&last_page_fails) && at < 2 * sysconf(_SC_PAGESIZE)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, n, at);
}

#endif
