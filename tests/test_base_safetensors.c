/* test_base_safetensors.c: round trips, files of the reference library, refusals, faults. */
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/safetensors.h"
#include "tests/tap.h"

#include <glob.h>

static char path[256];

/* Without the fsync of file_write, which thousands of damaged copies do not need. */
static void put(const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(data, 1, n, f);
        fclose(f);
    }
}

static medley_status write_sample(const char *to)
{
    static const float weights[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t ids[3] = {7, -8, 9};
    static const uint8_t bytes[3] = {1, 2, 3};
    struct st_writer *w = st_writer_new();
    if (!w)
        return MEDLEY_ENOMEM;
    st_writer_metadata(w, "format", "pt");
    st_writer_metadata(w, "note", "a \"quoted\" text");
    st_writer_add(w, "bytes", ST_U8, 1, (uint64_t[]){3}, bytes);
    st_writer_add(w, "layer.0.weight", ST_F32, 2, (uint64_t[]){2, 3}, weights);
    st_writer_add(w, "empty", ST_F64, 2, (uint64_t[]){0, 5}, NULL);
    st_writer_add(w, "scalar", ST_I64, 0, NULL, ids);
    st_writer_add(w, "ids", ST_I64, 1, (uint64_t[]){3}, ids);
    medley_status st = st_writer_commit(w, to, NULL);
    st_writer_free(w);
    return st;
}

static void test_round_trip(void)
{
    struct st_file *f = NULL;
    const struct st_entry *e = NULL;
    medley_error err;
    float values[6];
    ok(write_sample(path) == MEDLEY_OK && st_open(path, &f, &err) == MEDLEY_OK,
       "written, opened");
    ok(st_count(f) == 5, "all arrays are there");
    is_text(st_at(f, 1)->name, "layer.0.weight", "in file order");
    is_text(st_metadata(f, "note"), "a \"quoted\" text", "metadata");
    ok(!st_metadata(f, "absent") && !st_find(f, "absent") && !st_find(f, "__metadata__"),
       "absent");
    ok(st_require(f, "layer.0.weight", ST_F32, 2, (uint64_t[]){2, 3}, &e, &err) == MEDLEY_OK &&
           e->count == 6 && st_to_float(e, values) && values[5] == 6,
       "values");
    ok(st_require(f, "scalar", ST_I64, 0, NULL, &e, &err) == MEDLEY_OK && e->count == 1 &&
           e->bytes == 8 && !st_to_float(e, values),
       "a scalar; integers are not turned into floats");
    ok(st_require(f, "empty", ST_F64, -1, NULL, &e, &err) == MEDLEY_OK && e->count == 0,
       "empty");
    ok(((uintptr_t)st_at(f, 0)->data) % 64 == 0, "data start at a multiple of 64");
    e = NULL;
    ok(st_require(f, "ids", ST_F32, -1, NULL, &e, &err) == MEDLEY_EFORMAT && !e, "%s",
       err.message);
    ok(st_require(f, "ids", ST_I64, 1, (uint64_t[]){4}, &e, &err) == MEDLEY_EFORMAT, "%s",
       err.message);
    ok(strstr(err.message, "[3] (expected [4])") != NULL, "the message names both shapes");
    ok(st_require(f, "x", ST_I64, -1, NULL, &e, &err) == MEDLEY_EFORMAT, "%s", err.message);
    st_close(f);
    st_close(NULL);
}

/* Every half-precision pattern against the definition: sign, 5 bits of exponent, 10 of
 * mantissa. */
static void test_halves(void)
{
    int wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h;
        struct st_entry e = {.type = ST_F16, .count = 1, .data = &half, .bytes = 2};
        float got = 0;
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        double wanted = exponent == 31 ? (mantissa ? NAN : INFINITY)
                        : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                       : ldexp(mantissa, -24);
        wanted = h >> 15 ? -wanted : wanted;
        bool good = st_to_float(&e, &got);
        good =
            good && (isnan(wanted) ? isnan(got) : got == wanted && !signbit(got) == !(h >> 15));
        wrong += !good;
    }
    ok(wrong == 0, "all 65536 float16 values");
    const uint16_t bf[2] = {0x3F80, 0xC040};
    const double f64[2] = {0.5, -3};
    float out[2];
    struct st_entry e = {.type = ST_BF16, .count = 2, .data = bf, .bytes = 4};
    ok(st_to_float(&e, out) && out[0] == 1 && out[1] == -3, "bfloat16");
    e = (struct st_entry){.type = ST_F64, .count = 2, .data = f64, .bytes = 16};
    ok(st_to_float(&e, out) && out[0] == 0.5f && out[1] == -3, "float64");
}

/* A file with this header and n zero bytes of data. */
static medley_status open_with(const char *header, size_t n, medley_error *err)
{
    struct strbuf b;
    struct st_file *f = NULL;
    uint64_t length = strlen(header);
    sb_init(&b);
    sb_add(&b, (const char *)&length, 8);
    sb_add(&b, header, length);
    for (size_t i = 0; i < n; i++)
        sb_addc(&b, 0);
    put(b.s, b.n);
    sb_deinit(&b);
    medley_status st = st_open(path, &f, err);
    st_close(f);
    return st;
}

static void test_refused(void)
{
#define A(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        size_t n;
        medley_status status;
    } cases[] = {
        {"{" A("a", "F32", "[2]", "[0,8]") "}", 8, MEDLEY_OK},
        {"{" A("b", "U8", "[4]", "[4,8]") "," A("a", "U8", "[4]", "[0,4]") "}   ", 8,
         MEDLEY_OK},
        {"{}", 0, MEDLEY_OK},
        {"{" A("a", "F32", "[2]", "[0,8]") "}", 9, MEDLEY_EFORMAT},
        {"{" A("a", "F32", "[2]", "[0,8]") "}", 7, MEDLEY_EFORMAT},
        {"{" A("a", "F32", "[3]", "[0,8]") "}", 8, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[0,4]") "," A("b", "U8", "[4]", "[2,6]") "}", 8,
         MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[0,4]") "," A("b", "U8", "[3]", "[5,8]") "}", 8,
         MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[0,4]") "," A("a", "U8", "[4]", "[4,8]") "}", 8,
         MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[4,0]") "}", 8, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[0,4,8]") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "[0]") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4]", "{\"x\":0,\"y\":4}") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[-4]", "[0,4]") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[4.5]", "[0,4]") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "4", "[0,4]") "}", 4, MEDLEY_EFORMAT},
        {"{" A("a", "F64", "[4294967296,4294967296]", "[0,0]") "}", 0, MEDLEY_EFORMAT},
        {"{" A("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0, MEDLEY_EFORMAT},
        {"{" A("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, MEDLEY_EUNSUPPORTED},
        {"{" A("a", "F8_E4M3", "[4]", "[0,4]") "}", 4, MEDLEY_EUNSUPPORTED},
        {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, MEDLEY_EFORMAT},
        {"{\"a\":3}", 0, MEDLEY_EFORMAT},
        {"{\"__metadata__\":{\"a\":3}}", 0, MEDLEY_EFORMAT},
        {"{\"__metadata__\":[]}", 0, MEDLEY_EFORMAT},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, MEDLEY_EFORMAT},
        {"[]", 0, MEDLEY_EFORMAT},
        {"{", 0, MEDLEY_EFORMAT},
        {"", 0, MEDLEY_EFORMAT},
    };
#undef A
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        medley_error err = {MEDLEY_OK, ""};
        medley_status st = open_with(cases[i].header, cases[i].n, &err);
        ok(st == cases[i].status && (!st || strstr(err.message, path)), "header %zu: %s", i,
           err.message);
    }
    medley_error err;
    struct st_file *f = NULL;
    uint64_t huge = UINT64_MAX;
    file_write(path, &huge, 8, NULL);
    ok(st_open(path, &f, &err) == MEDLEY_EFORMAT && !f, "%s", err.message);
    file_write(path, "abc", 3, NULL);
    ok(st_open(path, &f, &err) == MEDLEY_EFORMAT && !f, "%s", err.message);
}

static void test_writer_refusals(void)
{
    static const uint64_t shape[1] = {1};
    static const uint8_t byte = 1;
    static const char *const names[] = {"a", "__metadata__", "\xFF"};
    medley_error err;
    for (size_t i = 0; i < 3; i++) {
        struct st_writer *w = st_writer_new();
        st_writer_add(w, "a", ST_U8, 1, shape, &byte);
        st_writer_add(w, names[i], ST_U8, 1, shape, &byte);
        ok(st_writer_commit(w, path, &err) == MEDLEY_EINVAL, "%s", err.message);
        st_writer_free(w);
    }
    struct st_writer *w = st_writer_new();
    st_writer_add(w, "a", ST_F64, 2, (uint64_t[]){UINT64_MAX / 2, 2}, &byte);
    ok(st_writer_commit(w, path, &err) == MEDLEY_EINVAL, "%s", err.message);
    st_writer_free(w);
    st_writer_free(NULL);
}

static void test_faults(void)
{
    size_t writing = 0, reading = 0;
    medley_status st = MEDLEY_ENOMEM;
    for (; st == MEDLEY_ENOMEM && writing < 200; writing++) {
        mem_fail_after(writing);
        st = write_sample(path);
        mem_fail_after(SIZE_MAX);
    }
    ok(st == MEDLEY_OK && writing > 10, "%zu failed allocations while writing", writing - 1);
    for (st = MEDLEY_ENOMEM; st == MEDLEY_ENOMEM && reading < 500; reading++) {
        struct st_file *f = NULL;
        mem_fail_after(reading);
        st = st_open(path, &f, NULL);
        mem_fail_after(SIZE_MAX);
        st_close(f);
    }
    ok(st == MEDLEY_OK && reading > 5, "%zu failed allocations while reading", reading - 1);
}

/* The compact header of the sample, every byte of which matters. */
static void test_damage(void)
{
    char *data = NULL;
    size_t n = 0, refused = 0, odd = 0;
    struct rng r;
    struct st_file *f = NULL;
    write_sample(path);
    file_read(path, 10000, &data, &n, NULL);
    for (size_t cut = 0; cut < n; cut++) {
        put(data, cut);
        refused += st_open(path, &f, NULL) == MEDLEY_EFORMAT;
    }
    ok(refused == n, "every truncation is refused");
    rng_init(&r, 11, 0);
    for (int k = 0; k < 3000; k++) {
        size_t at = rng_below(&r, (uint32_t)n);
        char mask = (char)(1 << rng_below(&r, 8));
        data[at] ^= mask;
        put(data, n);
        f = NULL;
        medley_status st = st_open(path, &f, NULL);
        odd += st != MEDLEY_OK && st != MEDLEY_EFORMAT && st != MEDLEY_EUNSUPPORTED;
        st_close(f);
        data[at] ^= mask;
    }
    ok(odd == 0, "3000 flipped bits are taken or refused (seed 11)");
    mem_free(data);
}

static void test_reference_files(void)
{
    glob_t found;
    if (glob("../shared/data/golden/*/*/*.safetensors", 0, NULL, &found) != 0) {
        skip("no golden files beside the repository");
        return;
    }
    size_t opened = 0, arrays = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        medley_error err;
        struct st_file *f = NULL;
        if (st_open(found.gl_pathv[i], &f, &err) == MEDLEY_OK) {
            opened++;
            arrays += st_count(f);
        } else {
            printf("# %s\n", err.message);
        }
        st_close(f);
    }
    ok(opened == found.gl_pathc && arrays > opened,
       "%zu files of the reference library, %zu arrays", opened, arrays);
    globfree(&found);
}

int main(void)
{
    const char *folder = tap_folder();
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    test_round_trip();
    test_halves();
    test_refused();
    test_writer_refusals();
    test_faults();
    test_damage();
    test_reference_files();
    remove_tree(folder, NULL);
    return tap_done();
}
