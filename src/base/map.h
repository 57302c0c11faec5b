/* map.h: byte string -> dense uint32 id (0, 1, 2, ... in order of insertion), by open
 * addressing over XXH3. Keys are copied. Not thread-safe for writing; concurrent map_find is
 * fine. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

#define MAP_NONE UINT32_MAX

struct map; /* opaque */

struct map *map_new(size_t expected); /* NULL when out of memory */
void map_free(struct map *m);
uint32_t map_add(struct map *m, struct str key, bool *added); /* MAP_NONE when out of memory */
uint32_t map_find(const struct map *m, struct str key);       /* MAP_NONE when absent */
struct str map_key(const struct map *m, uint32_t id);         /* borrowed */
size_t map_count(const struct map *m);

#endif
