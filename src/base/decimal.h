/* decimal.h: numbers as decimal text, under any locale. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

enum { DECIMAL_ROOM = 64 }; /* bytes that always suffice, with the end */

/* The fewest digits, 15 to 17, that read back as v; as %.*g writes them. v is finite. Returns
 * the length. */
size_t decimal_double(double v, char out[DECIMAL_ROOM]);
/* The fewest, 6 to 9, that read back as v when rounded to float. */
size_t decimal_float(float v, char out[DECIMAL_ROOM]);
size_t decimal_i64(int64_t v, char out[DECIMAL_ROOM]);

#endif
