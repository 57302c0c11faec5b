/* label_record.c: writing and reading labels as bytes; label_record.h has the layout. */
#include "cache/label_record.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define VERSION 1
#define HEAD 32
#define STORED_AT 24
#define KNOWN_PRODUCT 1

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are copied as they are");

static uint32_t checksum(const void *bytes, size_t n)
{
    return (uint32_t)hash_bytes(bytes, n, (struct hash128){0x6d6c, VERSION}).low;
}

static size_t record_bytes(size_t n_classes, size_t key_bytes)
{
    return HEAD + 2 * n_classes * sizeof(float) + key_bytes + sizeof(uint32_t);
}

static char *put(char *to, const void *from, size_t n)
{
    if (n)
        memcpy(to, from, n);
    return to + n;
}

size_t label_record_write(void *out, const struct label_key *key, const struct label *label,
                          size_t n_classes)
{
    const medley_result *r = label->result;
    if (key->shared.n > LABEL_RECORD_MAX || key->own.n > LABEL_RECORD_MAX ||
        record_bytes(n_classes, key->shared.n + key->own.n) > LABEL_RECORD_MAX)
        return 0;
    const uint8_t bytes[8] = {VERSION, (uint8_t)n_classes, r->label, r->stages,
                              r->known_product ? KNOWN_PRODUCT : 0};
    const uint32_t numbers[4] = {r->models_used, (uint32_t)key->shared.n, (uint32_t)key->own.n,
                                 0};
    char *to = put(out, bytes, sizeof bytes);
    to = put(to, numbers, sizeof numbers);
    to = put(to, &label->stored_ms, sizeof label->stored_ms);
    to = put(to, r->probabilities, n_classes * sizeof(float));
    to = put(to, r->margins, n_classes * sizeof(float));
    to = put(to, key->shared.s, key->shared.n);
    to = put(to, key->own.s, key->own.n);
    uint32_t sum = checksum(out, (size_t)(to - (char *)out));
    to = put(to, &sum, sizeof sum);
    return (size_t)(to - (char *)out);
}

static bool is_whole(const char *bytes, size_t n, size_t n_classes, uint32_t numbers[4])
{
    uint32_t sum;
    if (n < record_bytes(n_classes, 0) || n > LABEL_RECORD_MAX || bytes[0] != VERSION ||
        (uint8_t)bytes[1] != n_classes || (uint8_t)bytes[2] >= n_classes)
        return false;
    memcpy(numbers, bytes + 8, 4 * sizeof *numbers);
    if (numbers[1] > n || numbers[2] > n ||
        record_bytes(n_classes, (size_t)numbers[1] + numbers[2]) != n)
        return false;
    memcpy(&sum, bytes + n - sizeof sum, sizeof sum);
    return sum == checksum(bytes, n - sizeof sum);
}

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static bool is_part(struct str part, const char *bytes, size_t n)
{
    return part.n == n && (n == 0 || memcmp(part.s, bytes, n) == 0);
}

enum record_kind label_record_read(const void *bytes, size_t n, const struct label_key *key,
                                   size_t n_classes, struct label *out)
{
    const char *s = bytes;
    uint32_t numbers[4];
    float values[2 * MEDLEY_MAX_CLASSES];
    size_t value_bytes = n_classes * sizeof(float);
    if (!is_whole(s, n, n_classes, numbers))
        return RECORD_DAMAGED;
    memcpy(values, s + HEAD, 2 * value_bytes);
    if (!all_finite(values, 2 * n_classes))
        return RECORD_DAMAGED;
    const char *shared = s + HEAD + 2 * value_bytes;
    if (!is_part(key->shared, shared, numbers[1]) ||
        !is_part(key->own, shared + numbers[1], numbers[2]))
        return RECORD_OF_OTHER;
    *out->result = (medley_result){.label = (uint8_t)s[2],
                                   .stages = (uint8_t)s[3],
                                   .known_product = s[4] & KNOWN_PRODUCT,
                                   .models_used = numbers[0]};
    memcpy(out->result->probabilities, values, value_bytes);
    memcpy(out->result->margins, values + n_classes, value_bytes);
    memcpy(&out->stored_ms, s + STORED_AT, sizeof out->stored_ms);
    return RECORD_GOOD;
}

int64_t label_record_time(const void *bytes, size_t n)
{
    int64_t stored = INT64_MIN;
    uint32_t numbers[4];
    if (n >= HEAD && is_whole(bytes, n, ((const uint8_t *)bytes)[1], numbers))
        memcpy(&stored, (const char *)bytes + STORED_AT, sizeof stored);
    return stored;
}
