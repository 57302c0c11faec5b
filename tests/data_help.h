/* data_help.h: small files for the tests of the data room. */
#ifndef TESTS_DATA_HELP_H
#define TESTS_DATA_HELP_H

#include "tests/tap.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* FOLDER/NAME in one of eight static buffers, reused in turn. */
__attribute__((unused)) static const char *at(const char *folder, const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

__attribute__((unused)) static const char *put_bytes(const char *folder, const char *name,
                                                     const char *text, size_t n)
{
    const char *path = at(folder, name);
    medley_error err;
    if (file_write(path, text, n, &err) != MEDLEY_OK) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return path;
}

__attribute__((unused)) static const char *put(const char *folder, const char *name,
                                               const char *text)
{
    return put_bytes(folder, name, text, strlen(text));
}

/* Whether the message is FOLDER/WANTED. */
__attribute__((unused)) static bool says(const medley_error *err, const char *folder,
                                         const char *wanted)
{
    char text[1200];
    snprintf(text, sizeof text, "%s/%s", folder, wanted);
    if (strcmp(err->message, text) == 0)
        return true;
    printf("#    got: %s\n# wanted: %s\n", err->message, text);
    return false;
}

#endif
