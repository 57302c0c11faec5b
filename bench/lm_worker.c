/* lm_worker.c: inference of a saved language model on token ids, for bench/peers/lm.py.
 *
 *     lm_worker FOLDER INPUTS PRECISION OUT
 *
 * INPUTS: int32 n, offsets[n + 1], ids, types (of all tokens). For each line on stdin, all
 * texts are predicted once: "all" as one call, "each" one text a call; a line of JSON with the
 * seconds goes to stdout. At the end the probabilities [n, K] are in OUT, float32. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "lm/cross_encoder_model.h"

#include <stdio.h>
#include <string.h>

/* A view of texts first .. first + n of the inputs. */
static struct lm_inputs texts(const int32_t *file, size_t first, size_t n)
{
    struct lm_inputs in = {.n = n};
    size_t all = (size_t)file[0], tokens = (size_t)file[1 + all];
    in.offsets = (uint32_t *)(uintptr_t)(file + 1) + first;
    in.ids = (int32_t *)(uintptr_t)(file + 2 + all);
    in.types = in.ids + tokens;
    in.n_tokens = in.offsets[n];
    return in;
}

static medley_status run(const struct cross_encoder *m, const int32_t *file, bool each,
                         float *out, medley_error *err)
{
    size_t n = (size_t)file[0], k = cross_encoder_classes(m);
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < n && !st; i += each ? 1 : n) {
        struct lm_inputs in = texts(file, i, each ? 1 : n);
        st = lm_predict_inputs(m, &in, out + i * k, err);
    }
    return st;
}

static int complain(const medley_error *err)
{
    fprintf(stderr, "lm_worker: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    struct cross_encoder *m = NULL;
    struct mapping file;
    medley_error err;
    char line[16];
    int precision = 0;
    if (argc != 5)
        return 2;
    while (precision < PRECISION_COUNT && strcmp(precision_names[precision], argv[3]) != 0)
        precision++;
    if (cross_encoder_load(argv[1], &m, &err) ||
        cross_encoder_set_precision(m, (enum precision)precision, &err) ||
        mapping_open(argv[2], &file, &err))
        return complain(&err);
    const int32_t *inputs = (const int32_t *)(const void *)file.data;
    size_t size = (size_t)inputs[0] * cross_encoder_classes(m);
    float *out = mem_alloc(size, sizeof *out);
    while (out && fgets(line, sizeof line, stdin)) {
        double start = clock_seconds();
        if (run(m, inputs, strcmp(line, "each\n") == 0, out, &err))
            return complain(&err);
        printf("{\"seconds\": %.9f, \"bytes\": %zu}\n", clock_seconds() - start,
               cross_encoder_memory(m));
        fflush(stdout);
    }
    if (!out || file_write(argv[4], out, size * sizeof *out, &err))
        return complain(&err);
    mem_free(out);
    mapping_close(&file);
    cross_encoder_free(m);
    return 0;
}
