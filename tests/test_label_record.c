/* test_label_record.c: labels as bytes: what is written comes back; cut short, flipped or
 * belonging to another key it does not. */
#include "cache/label_record.h"
#include "tests/tap.h"

#include "base/rng.h"

#define K 4

static const struct label_key key = {{7, 9}, STR("shared part"), STR("own")};

static medley_result result_of(void)
{
    medley_result r = {
        .label = 2, .known_product = true, .stages = 3, .models_used = 0x80000001};
    for (size_t k = 0; k < K; k++) {
        r.probabilities[k] = 0.25f;
        r.margins[k] = (float)k - 1.5f;
    }
    return r;
}

static void test_round_trip(void)
{
    char bytes[LABEL_RECORD_MAX];
    medley_result in = result_of(), out = {0};
    struct label label = {.result = &in, .stored_ms = 1700000000123}, back = {.result = &out};
    size_t n = label_record_write(bytes, &key, &label, K);
    ok(n == 32 + 8 * K + 14 + 4, "%zu bytes", n);
    ok(label_record_read(bytes, n, &key, K, &back) == RECORD_GOOD, "good");
    ok(memcmp(&in, &out, sizeof in) == 0 && back.stored_ms == 1700000000123, "all is back");
    ok(label_record_time(bytes, n) == 1700000000123, "so is the time alone");
    ok(label_record_time(bytes, 31) == INT64_MIN &&
           label_record_time(bytes, n - 1) == INT64_MIN,
       "unless there is too little");
    struct label_key other = key;
    other.own = STR("owm");
    ok(label_record_read(bytes, n, &other, K, &back) == RECORD_OF_OTHER,
       "another key with the same hash is told apart");
    other = (struct label_key){key.hash, STR("shared parto"), STR("wn")};
    ok(label_record_read(bytes, n, &other, K, &back) == RECORD_OF_OTHER,
       "also where only the border between its parts differs");
    ok(label_record_read(bytes, n, &key, K + 1, &back) == RECORD_DAMAGED, "other classes");
}

static void test_damage(void)
{
    char bytes[LABEL_RECORD_MAX], copy[LABEL_RECORD_MAX];
    medley_result in = result_of(), out = {.label = 77};
    struct label label = {.result = &in, .stored_ms = 5}, back = {.result = &out};
    size_t n = label_record_write(bytes, &key, &label, K), accepted = 0;
    for (size_t cut = 0; cut < n; cut++)
        accepted += label_record_read(bytes, cut, &key, K, &back) != RECORD_DAMAGED;
    ok(accepted == 0, "cut short at any byte: damaged");
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(copy, bytes, n);
        copy[bit / 8] ^= (char)(1 << bit % 8);
        accepted += label_record_read(copy, n, &key, K, &back) != RECORD_DAMAGED;
    }
    ok(accepted == 0, "any bit flipped: damaged");
    ok(out.label == 77, "and nothing is written out");
    in.probabilities[1] = NAN;
    n = label_record_write(bytes, &key, &label, K);
    ok(label_record_read(bytes, n, &key, K, &back) == RECORD_DAMAGED, "no number: damaged");
    in = result_of();
    in.label = K;
    n = label_record_write(bytes, &key, &label, K);
    ok(label_record_read(bytes, n, &key, K, &back) == RECORD_DAMAGED, "no class: damaged");
    static char large[LABEL_RECORD_MAX];
    struct label_key longest = {key.hash, {large, sizeof large}, STR("x")};
    ok(label_record_write(bytes, &longest, &label, K) == 0, "a key too long is not written");
    struct rng rng;
    rng_init(&rng, 4, 0);
    for (size_t i = 0; i < 20000; i++) {
        size_t m = rng_below(&rng, 200);
        for (size_t b = 0; b < m; b++)
            copy[b] = (char)rng_u64(&rng);
        copy[0] = 1, copy[1] = K;
        accepted += label_record_read(copy, m, &key, K, &back) == RECORD_GOOD;
    }
    ok(accepted == 0, "noise is never a label");
}

int main(void)
{
    test_round_trip();
    test_damage();
    return tap_done();
}
