/* label_value.c: see label_value.h. */
#include "cache/label_value.h"

#include <string.h>
#include <xxhash.h>

enum { VERSION = 1, HEADER = 28, SUM = 8 };

static void put(struct strbuf *out, const void *bytes, size_t n)
{
    sb_add(out, bytes, n);
}

void label_value_write(struct strbuf *out, const struct label_key *key,
                       const medley_result *value, size_t n_classes, int64_t stored_ms)
{
    size_t start = out->n;
    const uint8_t small[8] = {VERSION, (uint8_t)n_classes, value->label, value->known_product,
                              value->stages};
    const uint32_t numbers[3] = {value->models_used, (uint32_t)key->shared.n,
                                 (uint32_t)key->own.n};
    put(out, small, sizeof small);
    put(out, numbers, sizeof numbers);
    put(out, &stored_ms, sizeof stored_ms);
    put(out, value->probabilities, n_classes * sizeof(float));
    put(out, value->margins, n_classes * sizeof(float));
    put(out, key->shared.s, key->shared.n);
    put(out, key->own.s, key->own.n);
    if (out->failed)
        return;
    uint64_t sum = XXH3_64bits(out->s + start, out->n - start);
    put(out, &sum, sizeof sum);
}

static bool is_part(const char *at, struct str part)
{
    return part.n == 0 || memcmp(at, part.s, part.n) == 0;
}

enum label_found label_value_read(struct str bytes, const struct label_key *key,
                                  size_t n_classes, medley_result *out, int64_t *stored_ms)
{
    uint32_t numbers[3];
    uint64_t sum;
    size_t floats = n_classes * sizeof(float);
    const size_t least = HEADER + 2 * floats + SUM;
    if (bytes.n < least)
        return LABEL_DAMAGED;
    const uint8_t *small = (const uint8_t *)bytes.s;
    memcpy(numbers, bytes.s + 8, sizeof numbers);
    memcpy(&sum, bytes.s + bytes.n - SUM, sizeof sum);
    if (small[0] != VERSION || small[1] != n_classes || small[2] >= n_classes || small[3] > 1 ||
        (uint64_t)numbers[1] + numbers[2] != bytes.n - least ||
        XXH3_64bits(bytes.s, bytes.n - SUM) != sum)
        return LABEL_DAMAGED;
    const char *probabilities = bytes.s + HEADER,
               *own = probabilities + 2 * floats + numbers[1];
    if (numbers[1] != key->shared.n || numbers[2] != key->own.n ||
        !is_part(probabilities + 2 * floats, key->shared) || !is_part(own, key->own))
        return LABEL_OTHER_KEY;
    *out = (medley_result){.label = small[2],
                           .known_product = small[3],
                           .stages = small[4],
                           .models_used = numbers[0]};
    memcpy(stored_ms, bytes.s + 20, sizeof *stored_ms);
    memcpy(out->probabilities, probabilities, floats);
    memcpy(out->margins, probabilities + floats, floats);
    return LABEL_FOUND;
}
