/* fuzz_yaml.c: medley.yaml comes from people and scripts: whatever is in it, loading ends in a
 * configuration or in a message. */
#include "base/memory.h"
#include "ensemble/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct config c;
    medley_error err = {0};
    snprintf(path, sizeof path, "/dev/shm/medley-fuzz-yaml-%ld", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    fwrite(data, 1, size, f);
    fclose(f);
    if (config_load(path, &c, &err) == MEDLEY_OK) {
        if (c.n_models == 0 || !c.data.examples || !c.budget.metric)
            abort();
        config_free(&c);
    } else if (!err.message[0]) {
        abort();
    }
    unlink(path);
    return 0;
}
