/* tap.h: the test harness: TAP on stdout, the exit status is the verdict, no tests is a
 * failure. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int tap_run, tap_failed;

__attribute__((format(printf, 4, 5), unused)) static int tap_check(int good, const char *file,
                                                                   int line, const char *format,
                                                                   ...)
{
    va_list args;
    va_start(args, format);
    printf("%sok %d - ", good ? "" : "not ", ++tap_run);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    if (!good) {
        tap_failed++;
        printf("# failed at %s:%d\n", file, line);
    }
    fflush(stdout);
    return good;
}

#define ok(condition, ...) tap_check(!!(condition), __FILE__, __LINE__, __VA_ARGS__)
#define is_text(got, wanted, ...)                                                             \
    do {                                                                                      \
        const char *tap_got = (got), *tap_wanted = (wanted);                                  \
        if (!tap_check(tap_got && strcmp(tap_got, tap_wanted) == 0, __FILE__, __LINE__,       \
                       __VA_ARGS__))                                                          \
            printf("#    got: %s\n# wanted: %s\n", tap_got ? tap_got : "(null)", tap_wanted); \
    } while (0)
/* For data that is not there (no ../shared): says so and counts as run. */
#define skip(...) (tap_check(1, __FILE__, __LINE__, __VA_ARGS__), printf("# skipped\n"))

__attribute__((unused)) static int tap_done(void)
{
    printf("1..%d\n", tap_run);
    return tap_run == 0 || tap_failed > 0;
}

enum { TAP_FOLDERS = 16 };
static char tap_folders[TAP_FOLDERS][64];
static size_t tap_n_folders;
static pid_t tap_owner; /* children of a test leave its folders alone */

__attribute__((unused)) static int tap_remove(const char *path, const struct stat *s, int kind,
                                              struct FTW *where)
{
    (void)s, (void)kind, (void)where;
    return remove(path);
}

__attribute__((unused)) static void tap_clean(void)
{
    for (size_t i = 0; tap_owner == getpid() && i < tap_n_folders; i++)
        nftw(tap_folders[i], tap_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* A fresh folder, removed at the end; the path is in static storage, until the next call. */
__attribute__((unused)) static const char *tap_folder(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/medley-test-XXXXXX");
    if (!mkdtemp(path)) {
        perror("mkdtemp");
        exit(1);
    }
    if (!tap_owner) {
        tap_owner = getpid();
        atexit(tap_clean);
    }
    if (tap_n_folders < TAP_FOLDERS)
        memcpy(tap_folders[tap_n_folders++], path, sizeof path);
    return path;
}

#endif
