/* error.h: writing a medley_error. Messages: lower case, problem first, subject in quotes, with
 * file, row and field; no full stop. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "medley/status.h"

#include <stdarg.h>

/* Fills *err (which may be NULL) and returns `status`, so that `return fail(...)` reads well.
 */
medley_status fail(medley_error *err, medley_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
medley_status vfail(medley_error *err, medley_status status, const char *format, va_list args);

/* MEDLEY_ENOMEM with a message that names what was being allocated. */
medley_status fail_memory(medley_error *err, const char *what);

/* Puts "context: " before the message of an error that a callee wrote; returns err->code, or
 * `status` when err is NULL. */
medley_status fail_within(medley_error *err, medley_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
