/* fuzz_link_store.c: any file of precomputed embeddings is refused, or is what link_store.c
 * relies on. The checksums are made right first, or nothing would come past them. */
#include "base/memory.h"
#include "gnn/link_store_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct link_store_header h;
    struct link_store *s = NULL;
    uint8_t *copy = mem_alloc64(n + 1, 1);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    if (n >= sizeof h) {
        memcpy(&h, copy, sizeof h);
        h.file_bytes = n;
        h.payload = link_store_hash(copy + sizeof h, n - sizeof h);
        h.header = link_store_hash_header(&h);
        memcpy(copy, &h, sizeof h);
    }
    if (link_store_parse((struct mapping){copy, n}, "fuzz", &s, NULL) == MEDLEY_OK) {
        struct link_store_size size = link_store_size(s);
        if (size.bytes != n || size.queries > n || size.products > n || size.pairs > n)
            abort();
    }
    link_store_close(s);
    mem_free(copy);
    return 0;
}
