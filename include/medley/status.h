/* status.h: how every Medley call reports success and failure.
 *
 * A fallible function returns a medley_status and takes a `medley_error *` last. The error may be
 * NULL; outputs are written only on MEDLEY_OK. There is no global or thread-local last error. */
#ifndef MEDLEY_STATUS_H
#define MEDLEY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MEDLEY_API __attribute__((visibility("default")))
#else
#define MEDLEY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, text): one line per status code. */
#define MEDLEY_STATUS_LIST(X)                                                                      \
    X(OK, "success")                                                                               \
    X(EINVAL, "invalid argument")                                                                  \
    X(EIO, "input/output error")                                                                   \
    X(EFORMAT, "malformed or contradictory data")                                                  \
    X(ENOMEM, "out of memory")                                                                     \
    X(ENOTFOUND, "not found")                                                                      \
    X(EUNSUPPORTED, "not supported")                                                               \
    X(ESTALE, "a stage that this one needs is missing or out of date")                             \
    X(EINSAMPLE, "in-sample predictions refused")                                                  \
    X(EINTERRUPTED, "interrupted")

typedef enum medley_status {
#define MEDLEY_STATUS_ENUM(name, text) MEDLEY_##name,
    MEDLEY_STATUS_LIST(MEDLEY_STATUS_ENUM)
#undef MEDLEY_STATUS_ENUM
} medley_status;

/* What went wrong, for a person: file, line and field where there are any. Always terminated. */
typedef struct medley_error {
    medley_status code;
    char message[1024];
} medley_error;

/* The text of a code, a static string; "unknown status" for a number that is none. Thread-safe. */
MEDLEY_API const char *medley_status_text(medley_status status);

/* The library version, "major.minor.patch", a static string. Thread-safe. */
MEDLEY_API const char *medley_version(void);

#ifdef __cplusplus
}
#endif
#endif
