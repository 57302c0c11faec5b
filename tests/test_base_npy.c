/* test_base_npy.c: .npy against numpy's own bytes, round trips, refusals, faults. */
#include "base/memory.h"
#include "base/npy.h"
#include "base/rng.h"
#include "tests/tap.h"

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

/* Writes a version 1.0 file with this dict and n bytes of data (a counter), and opens it. */
static medley_status open_with(const char *dict, size_t n, struct npy *a, medley_error *err)
{
    struct strbuf b;
    size_t length = strlen(dict);
    sb_init(&b);
    sb_add(&b, "\x93NUMPY\x01\x00", 8);
    sb_addc(&b, (char)(length & 0xFF));
    sb_addc(&b, (char)(length >> 8));
    sb_add(&b, dict, length);
    for (size_t i = 0; i < n; i++)
        sb_addc(&b, (char)i);
    put(b.s, b.n);
    sb_deinit(&b);
    return npy_open(path, a, err);
}

static void test_numpy_bytes(void)
{
    /* numpy.save(numpy.array([[1,2,3],[4,5,6]], '<f4')), numpy 2.4 */
    static const char head[] = "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (2, 3), }";
    float values[6] = {1, 2, 3, 4, 5, 6}, back[6];
    medley_error err;
    char *data = NULL;
    size_t n = 0;
    ok(npy_write(path, NPY_F32, 2, 3, values, &err) == MEDLEY_OK &&
           file_read(path, 1000, &data, &n, &err) == MEDLEY_OK,
       "written");
    ok(n == 152 && memcmp(data, head, sizeof head - 1) == 0 && data[127] == '\n' &&
           memcmp(data + 128, values, sizeof values) == 0,
       "the file is byte for byte what numpy.save makes");
    mem_free(data);
    struct npy a;
    ok(npy_open(path, &a, &err) == MEDLEY_OK && a.rows == 2 && a.cols == 3 && a.dims == 2 &&
           a.type == NPY_F32,
       "read back");
    npy_to_float(&a, back);
    ok(memcmp(values, back, sizeof back) == 0, "the same values");
    npy_close(&a);
    npy_close(&a);
}

static void test_types(void)
{
    const double f64[3] = {0.5, -2, 1e300};
    const int32_t i32[3] = {0, -5, 7};
    const int64_t i64[3] = {1, -(INT64_C(1) << 40), 3};
    const uint8_t u8[3] = {0, 1, 255};
    const struct {
        enum npy_type type;
        const void *data;
        float second;
    } cases[] = {
        {NPY_F64, f64, -2}, {NPY_I32, i32, -5}, {NPY_I64, i64, -0x1p40f}, {NPY_U8, u8, 1}};
    for (size_t i = 0; i < 4; i++) {
        struct npy a;
        float out[3] = {0};
        medley_error err;
        bool good = npy_write(path, cases[i].type, 3, 0, cases[i].data, &err) == MEDLEY_OK &&
                    npy_open(path, &a, &err) == MEDLEY_OK;
        ok(good && a.type == cases[i].type && a.dims == 1 && a.rows == 3 && a.cols == 1,
           "type %zu", i);
        if (!good)
            continue;
        npy_to_float(&a, out);
        ok(out[1] == cases[i].second, "as float");
        npy_close(&a);
    }
}

static void test_headers(void)
{
    static const char *const good[] = {
        "{'descr':'|b1','fortran_order':False,'shape':(6,)}",
        "{\"shape\": (2, 3), \"descr\": \"|u1\", \"fortran_order\": False}  \n",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (6,), }",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (6, 1), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2,), }",
    };
    static const struct {
        const char *dict;
        medley_status status;
    } bad[] = {
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", MEDLEY_EUNSUPPORTED},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", MEDLEY_EUNSUPPORTED},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", MEDLEY_EUNSUPPORTED},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (), }", MEDLEY_EUNSUPPORTED},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 3), }", MEDLEY_EUNSUPPORTED},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6), }", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-6,), }", MEDLEY_EFORMAT},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
         MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }",
         MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False}", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'shape': (6,)}", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}",
         MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': 0, 'shape': (6,)}", MEDLEY_EFORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6,)} x", MEDLEY_EFORMAT},
        {"{'descr': '|u1", MEDLEY_EFORMAT},
        {"", MEDLEY_EFORMAT},
    };
    struct npy a;
    medley_error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        medley_status st = open_with(good[i], 6, &a, &err);
        ok(st == MEDLEY_OK && a.rows * a.cols == 6 && memcmp(a.data, "\0\1\2", 3) == 0,
           "taken: %s", good[i]);
        if (st == MEDLEY_OK)
            npy_close(&a);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        medley_status st = open_with(bad[i].dict, 6, &a, &err);
        ok(st == bad[i].status && strstr(err.message, path), "refused: %s",
           st ? err.message : bad[i].dict);
    }
    ok(open_with("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3), }", 0, &a, &err) ==
               MEDLEY_OK &&
           a.rows == 0,
       "no rows");
    npy_close(&a);
}

static void test_damage(void)
{
    float values[12] = {0};
    char *data = NULL;
    size_t n = 0, refused = 0, odd = 0;
    struct npy a;
    npy_write(path, NPY_F32, 3, 4, values, NULL);
    file_read(path, 1000, &data, &n, NULL);
    for (size_t cut = 0; cut < n; cut++) {
        put(data, cut);
        refused += npy_open(path, &a, NULL) == MEDLEY_EFORMAT;
    }
    ok(refused == n, "every truncation is refused");
    for (size_t i = 0; i < 128 * 8; i++) {
        data[i / 8] ^= (char)(1 << i % 8);
        put(data, n);
        medley_status st = npy_open(path, &a, NULL);
        if (st == MEDLEY_OK)
            npy_close(&a);
        odd += st != MEDLEY_OK && st != MEDLEY_EFORMAT && st != MEDLEY_EUNSUPPORTED;
        data[i / 8] ^= (char)(1 << i % 8);
    }
    ok(odd == 0, "every flipped bit of the header is taken or refused");
    mem_free(data);
    size_t faults = 0;
    for (size_t k = 0; k < 20; k++) {
        mem_fail_after(k);
        faults += npy_write(path, NPY_F32, 3, 4, values, NULL) == MEDLEY_ENOMEM;
        mem_fail_after(SIZE_MAX);
    }
    ok(faults >= 4, "%zu failed allocations while writing", faults);
}

int main(void)
{
    const char *folder = tap_folder();
    snprintf(path, sizeof path, "%s/a.npy", folder);
    test_numpy_bytes();
    test_types();
    test_headers();
    test_damage();
    remove_tree(folder, NULL);
    return tap_done();
}
