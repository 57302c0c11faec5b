/* fuzz_tensor_index.c: any model.safetensors.index.json is refused, or lists shards that hold
 * every parameter of the encoder; with two real shards beside it. */
#include "base/memory.h"
#include "fuzz/memory_file.h"
#include "lm/encoder.h"
#include "nn/params.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DESCRIPTOR = 901, CLASSES = 2 }; /* what the index in the folder is a link to */

static const char config[] =
    "{\"model_type\": \"bert\", \"vocab_size\": 5, \"hidden_size\": 2, \"num_hidden_layers\": "
    "1,"
    " \"num_attention_heads\": 1, \"intermediate_size\": 2, \"max_position_embeddings\": 3}";

static struct {
    char folder[64];
    struct encoder encoder;
    struct params params;
} model;

static void put_shard(size_t part)
{
    char path[128];
    struct st_writer *w = st_writer_new();
    for (size_t i = part; i < model.params.count; i += 2) {
        const struct param *p = &model.params.items[i];
        uint64_t shape[3];
        int dims = param_shape(p, shape);
        st_writer_add(w, p->name, ST_F32, dims, shape, model.params.values + p->offset);
    }
    snprintf(path, sizeof path, "%s/%c", model.folder, part ? 'b' : 'a');
    if (st_writer_commit(w, path, NULL))
        abort();
    st_writer_free(w);
}

static void make_model(void)
{
    char path[128], target[32];
    strncpy(model.folder, "/tmp/medley-fuzz-XXXXXX", sizeof model.folder - 1);
    if (!mkdtemp(model.folder))
        abort();
    snprintf(path, sizeof path, "%s/config.json", model.folder);
    if (file_write(path, config, sizeof config - 1, NULL) ||
        encoder_config_load(model.folder, 0, &model.encoder, NULL) ||
        model.encoder.family->declare(&model.encoder, &model.params, CLASSES, NULL) ||
        params_allocate(&model.params, 1, NULL))
        abort();
    put_shard(0);
    put_shard(1);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", model.folder);
    snprintf(target, sizeof target, "/proc/self/fd/%d", DESCRIPTOR);
    if (symlink(target, path) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[32];
    if (!model.folder[0])
        make_model();
    int fd = memory_file(data, n, path);
    if (dup2(fd, DESCRIPTOR) != DESCRIPTOR)
        abort();
    /* What holds all parameters must also load. */
    if (encoder_check_params(&model.encoder, &model.params, model.folder, true, NULL) ==
            MEDLEY_OK &&
        encoder_load_params(&model.encoder, &model.params, model.folder, NULL) != MEDLEY_OK)
        abort();
    close(fd);
    close(DESCRIPTOR);
    return 0;
}
