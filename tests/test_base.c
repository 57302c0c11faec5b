/* test_base.c: errors, memory, arena, text, UTF-8, random numbers, progress. */
#include "base/arena.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/tap.h"

#include <locale.h>

static void test_errors(void)
{
    medley_error err;
    medley_status st = fail(&err, MEDLEY_EFORMAT, "%s:%d: bad", "a.csv", 7);
    ok(st == MEDLEY_EFORMAT && err.code == st, "fail returns the status it stores");
    is_text(err.message, "a.csv:7: bad", "fail formats the message");
    ok(fail(NULL, MEDLEY_EIO, "x") == MEDLEY_EIO, "fail takes NULL");
    st = fail_within(&err, MEDLEY_EIO, "model '%s'", "m1");
    ok(st == MEDLEY_EFORMAT, "fail_within keeps the callee's code");
    is_text(err.message, "model 'm1': a.csv:7: bad", "fail_within puts the context in front");
    ok(fail_within(NULL, MEDLEY_EIO, "x") == MEDLEY_EIO, "fail_within without an error");
    ok(fail_memory(&err, "the index") == MEDLEY_ENOMEM, "fail_memory");
    is_text(err.message, "out of memory for the index", "fail_memory names what");

    char text[2000]; /* an 'x', then three-byte characters: the cut falls inside one */
    size_t n = 1;
    text[0] = 'x';
    for (; n + 3 < sizeof text; n += 3)
        memcpy(text + n, "\xE2\x82\xAC", 3);
    text[n] = 0;
    fail(&err, MEDLEY_EIO, "%s", text);
    ok(strlen(err.message) > 1000 && utf8_valid(str_of(err.message), NULL),
       "a long message is cut between characters");
    ok(strcmp(medley_status_text(MEDLEY_ESTALE), "") != 0, "every code has a text");
    is_text(medley_status_text((medley_status)999), "unknown status", "no such code");
    ok(strspn(medley_version(), "0123456789.") == strlen(medley_version()), "version %s",
       medley_version());
}

static void test_memory(void)
{
    volatile size_t half = SIZE_MAX / 2; /* the compiler must not see the overflow */
    ok(!mem_alloc(half, 3) && !mem_zalloc(half, 3) && !mem_alloc64(half, 3) &&
           !mem_resize(NULL, half, 3) && !mem_alloc64(half, 1),
       "an overflowing size is refused");
    void *p = mem_alloc(0, 8), *q = mem_alloc64(3, 5);
    ok(p && q && (uintptr_t)q % 64 == 0, "empty and aligned blocks");
    mem_free(p);
    mem_free(q);

    mem_fail_after(2);
    void *a = mem_alloc(1, 1), *b = mem_zalloc(1, 1), *c = mem_alloc(1, 1),
         *d = mem_alloc(1, 1);
    ok(a && b && !c && d, "mem_fail_after(2) fails the third, once");
    mem_free(a);
    mem_free(b);
    mem_free(d);

    int *values = NULL;
    size_t capacity = 0;
    bool good = true;
    for (size_t i = 0; i < 1000; i++) {
        good = good && mem_reserve(&values, &capacity, i + 1, sizeof *values);
        values[i] = (int)i;
    }
    mem_fail_after(0);
    ok(good && values[999] == 999 && !mem_reserve(&values, &capacity, 100000, sizeof *values) &&
           capacity < 100000 && values[500] == 500,
       "mem_reserve grows, and changes nothing when it fails");
    mem_fail_after(SIZE_MAX);
    mem_free(values);
}

/* Ranges within, of and past whole pages; the bytes around them stay. */
static void test_zeroing(void)
{
    const size_t sizes[] = {0, 1, 100, 4096, 5000, 3 << 20, (40 << 20) + 17};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i], wrong = 0;
        char *p = mem_alloc(n + 128, 1);
        for (int back = 0; back < 2; back++) {
            memset(p, 7, n + 128);
            (back ? mem_give_back : mem_zero)(p + 64, n);
            for (size_t k = 0; k < n + 128; k++)
                wrong += p[k] != (k < 64 || k >= 64 + n ? 7 : 0);
        }
        mem_advise(p, n + 128);
        ok(wrong == 0, "%zu bytes are zeroed, those around them not", n);
        mem_free(p);
    }
}

/* How much of this process stands in memory, in MiB. */
static double resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void test_give_back(void)
{
    size_t n = (size_t)64 << 20;
    char *p = mem_alloc(n, 1);
    memset(p, 7, n);
    double before = resident();
    mem_give_back(p, n);
    double after = resident();
    ok(before == 0 || before - after > 60, "64 MiB given back: %.0f MiB stood, %.0f stand",
       before, after);
    mem_free(p);
}

static void test_arena(void)
{
    struct arena a;
    arena_init(&a, 1000);
    bool aligned = true, kept = true;
    char *first[300];
    for (int i = 0; i < 300; i++) {
        first[i] = arena_alloc(&a, (size_t)i, 3);
        aligned = aligned && first[i] && (uintptr_t)first[i] % 64 == 0;
        memset(first[i], i & 0xFF, (size_t)i * 3);
    }
    for (int i = 1; i < 300; i++)
        kept = kept && first[i][0] == (char)i && first[i][i * 3 - 1] == (char)i;
    ok(aligned && kept, "arena blocks are aligned and apart");
    ok(arena_used(&a) == 3 * 299 * 300 / 2, "arena_used counts what was asked");
    arena_reset(&a);
    ok(arena_used(&a) == 0, "reset forgets");
    const char *z = arena_zalloc(&a, 100000, 1);
    ok(z && z[0] == 0 && z[99999] == 0, "a block larger than usual, zeroed");
    is_text(arena_strndup(&a, "query", 3), "que", "arena_strndup");
    ok(!arena_alloc(&a, SIZE_MAX / 2, 4) && !arena_alloc(&a, SIZE_MAX - 8, 1),
       "overflow refused");
    mem_fail_after(0);
    ok(!arena_alloc(&a, 10 << 20, 1), "out of memory gives NULL");
    mem_fail_after(SIZE_MAX);
    arena_deinit(&a);
}

static void test_integers(void)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+",
                                      "-",
                                      "--1",
                                      "1x",
                                      "0x1",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    int64_t i;
    uint64_t u;
    ok(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN, "smallest i64");
    ok(str_to_i64(STR("+9223372036854775807"), &i) && i == INT64_MAX, "largest i64");
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        ok(!str_to_i64(str_of(bad[k]), &i), "i64 refuses '%s'", bad[k]);
    ok(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX, "largest u64");
    ok(!str_to_u64(STR("18446744073709551616"), &u) && !str_to_u64(STR("-1"), &u) &&
           !str_to_u64(STR("+1"), &u),
       "u64 refuses overflow and signs");
}

/* Also under a locale with a decimal comma, where there is one. */
static void test_doubles(void)
{
    static const char *const bad[] = {"",    ".",  "e5", "1e",   "1e+",   "nan",  "inf", "0x10",
                                      "1,5", " 1", "1 ", "1..2", "1e999", "1e5x", "--1"};
    static const char *const good[] = {
        "0",
        "-0.0",
        "1.",
        ".5",
        "+3.25",
        "1e22",
        "1e23",
        "123456789012345678",
        "5e-324",
        "1e-400",
        "0.1",
        "1.7976931348623157e308",
        "9007199254740993",
        "0.000000000000000000000000000000000000000000001234567890123456789",
        "2.2250738585072011e-308",
        "179769313486231580793e287",
        "1e0000000022"};
    double v;
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        ok(!str_to_double(str_of(bad[k]), &v), "double refuses '%s'", bad[k]);
    for (size_t k = 0; k < sizeof good / sizeof good[0]; k++) {
        double wanted = strtod(good[k], NULL); /* the C locale: nobody called setlocale yet */
        ok(str_to_double(str_of(good[k]), &v) && v == wanted && signbit(v) == signbit(wanted),
           "double reads '%s'", good[k]);
    }
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        ok(str_to_double(STR("1.5e300"), &v) && v == 1.5e300, "locales change nothing");
    setlocale(LC_NUMERIC, "C");
}

/* Random decimal numbers: the fast path agrees with strtod. */
static void test_random_doubles(void)
{
    struct rng r;
    rng_init(&r, 20240611, 0);
    int wrong = 0;
    for (int k = 0; k < 200000; k++) {
        char text[64];
        double v = 0;
        unsigned long long digits = rng_u64(&r) >> rng_below(&r, 64);
        int n = snprintf(text, sizeof text, "%llu.%ue%d", digits, rng_below(&r, 1000),
                         (int)rng_below(&r, 60) - 30);
        bool read = str_to_double((struct str){text, (size_t)n}, &v);
        wrong += !read || v != strtod(text, NULL);
    }
    ok(wrong == 0, "200000 random decimals equal strtod (seed 20240611): %d differ", wrong);
}

static void test_text(void)
{
    ok(str_is(str_trim(STR(" \t\r\nred shoe\v\f ")), "red shoe"), "str_trim");
    ok(str_eq(str_of(NULL), STR("")) && !str_eq(STR("a"), STR("b")), "str_eq");
    struct strbuf b;
    sb_init(&b);
    is_text(sb_str(&b).s, "", "an empty buffer is terminated");
    for (int i = 0; i < 1000; i++)
        sb_addf(&b, "%d,", i);
    sb_addc(&b, '!');
    sb_addz(&b, "end");
    ok(b.n == 3894 && strcmp(b.s + b.n - 8, "999,!end") == 0, "appends arrive (%zu)", b.n);
    sb_clear(&b);
    is_text(sb_str(&b).s, "", "cleared");
    char *stolen = sb_steal(&b);
    is_text(stolen, "", "stealing the empty text gives an allocation");
    mem_free(stolen);
    for (size_t n = 0; n < 3; n++) {
        mem_fail_after(n);
        for (int i = 0; i < 100; i++)
            sb_add(&b, "0123456789", 10);
        mem_fail_after(SIZE_MAX);
        ok(b.failed && !sb_steal(&b) && !b.failed, "allocation %zu fails: the text is lost", n);
    }
    sb_deinit(&b);
}

static void test_utf8(void)
{
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xE2\x82",
                                      "\xFF",
                                      "\xE2\x28\xA1"};
    uint32_t c;
    size_t at;
    int wrong = 0;
    for (uint32_t k = 0; k <= 0x10FFFF; k++) {
        char out[4];
        if (k >= 0xD800 && k <= 0xDFFF)
            continue;
        size_t n = utf8_encode(k, out);
        wrong += utf8_decode((struct str){out, n}, &c) != n || c != k;
    }
    ok(wrong == 0, "every code point comes back");
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        ok(utf8_decode(str_of(bad[k]), &c) == 0 && !utf8_valid(str_of(bad[k]), NULL),
           "malformed sequence %zu", k);
    ok(!utf8_valid(STR("0123456789ab\xC3\xA9\xFFxyz"), &at) && at == 14, "place of the fault");
    ok(utf8_valid(STR("caf\xC3\xA9 \xF0\x9F\x91\x9F 0123456789"), NULL), "valid text");
}

static void test_rng(void)
{
    /* numpy 2.4: PCG64DXSM with this state and increment, random_raw(5) */
    struct rng r = {{0xfedcba9876543210, 0x0123456789abcdef},
                    {0x3333333344444445, 0x1111111122222222}};
    static const uint64_t wanted[] = {0xa5c2f45958c644a2, 0x29e73b5e0c1de9e6,
                                      0xeb64257ac270f13c, 0x8e7dab0ced0deb2a,
                                      0x70d020fa6d032684};
    int wrong = 0;
    for (int i = 0; i < 5; i++)
        wrong += rng_u64(&r) != wanted[i];
    ok(wrong == 0, "the sequence is numpy's PCG64DXSM");

    struct rng a, b, c;
    rng_init(&a, 1, 2);
    rng_init(&b, 1, 2);
    rng_init(&c, 1, 3);
    uint64_t x = rng_u64(&a);
    ok(x == rng_u64(&b) && x != rng_u64(&c), "a seed and stream give one sequence");

    /* 60000 throws of a die: chi square with 5 degrees exceeds 20.5 once in a thousand seeds */
    int count[6] = {0};
    for (int i = 0; i < 60000; i++)
        count[rng_below(&a, 6)]++;
    double chi = 0, sum = 0, squares = 0, low = 1, high = 0;
    for (int i = 0; i < 6; i++)
        chi += (count[i] - 1e4) * (count[i] - 1e4) / 1e4;
    ok(chi < 20.5, "rng_below is even: chi square %.2f", chi);
    for (int i = 0; i < 100000; i++) {
        double z = rng_normal(&a), u = rng_uniform(&a);
        sum += z;
        squares += z * z;
        low = u < low ? u : low;
        high = u > high ? u : high;
    }
    ok(fabs(sum / 1e5) < 0.013 && fabs(squares / 1e5 - 1) < 0.018,
       "rng_normal: mean %.4f, variance %.4f (4 sigma)", sum / 1e5, squares / 1e5);
    ok(low >= 0 && low < 1e-3 && high < 1 && high > 0.999, "rng_uniform fills [0, 1)");

    uint32_t values[100];
    for (uint32_t i = 0; i < 100; i++)
        values[i] = i;
    rng_shuffle_u32(&a, values, 100);
    bool moved = false, all = true;
    bool present[100] = {false};
    for (uint32_t i = 0; i < 100; i++) {
        moved = moved || values[i] != i;
        present[values[i]] = true;
    }
    for (int i = 0; i < 100; i++)
        all = all && present[i];
    ok(moved && all, "a shuffle is a permutation");
    ok(mix64(1, 2, 3) == mix64(1, 2, 3) && mix64(1, 2, 3) != mix64(1, 3, 2) &&
           mix64(0, 0, 0) != 0,
       "mix64 tells its arguments apart");
}

static int steps, ends;
static char last_note[64];

static void on_step(void *context, const char *task, uint64_t done, uint64_t total,
                    const char *unit)
{
    (void)context;
    steps +=
        strcmp(task, "train") == 0 && done == 3 && total == 9 && strcmp(unit, "pairs") == 0;
}

static void on_end(void *context, const char *task)
{
    (void)context;
    ends += strcmp(task, "train") == 0;
}

static void on_note(void *context, const char *message)
{
    snprintf(context, sizeof last_note, "%s", message);
}

static void test_progress(void)
{
    struct progress_sink sink = {on_step, on_end, on_note, last_note};
    progress_step("train", 3, 9, "pairs"); /* no sink yet */
    progress_install(&sink);
    progress_step("train", 3, 9, "pairs");
    progress_end("train");
    progress_note("%d rows", 7);
    progress_install(NULL);
    progress_note("lost");
    ok(steps == 1 && ends == 1, "the sink hears each call once");
    is_text(last_note, "7 rows", "notes are formatted, and stop with the sink");
}

static void test_cpu(void)
{
    ok(cpu_always() && cpu_name()[0], "running on %s", cpu_name());
    ok((!cpu_has_avx512() || cpu_has_avx2()) && (!cpu_has_vbmi() || cpu_has_avx512()),
       "larger instruction sets include the smaller");
    double before = clock_seconds();
    ok(clock_seconds() >= before, "the clock does not run backwards");
}

int main(void)
{
    test_errors();
    test_memory();
    test_zeroing();
    test_give_back();
    test_arena();
    test_integers();
    test_doubles();
    test_random_doubles();
    test_text();
    test_utf8();
    test_rng();
    test_progress();
    test_cpu();
    return tap_done();
}
