/* banned.h: functions that no file of the library or the programs may call; the Makefile
 * includes it before everything else. Instead: snprintf or strbuf, str_to_i64, str_to_double,
 * struct str; a struct rng for random numbers. The system headers come first: they declare the
 * names. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll atof rand srand

#endif
