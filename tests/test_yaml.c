/* test_yaml.c: the YAML door: nodes, lines, hashes, bindings, and memory that runs out. */
#include "base/memory.h"
#include "base/yaml.h"
#include "tests/tap.h"

static char path[128];

static medley_status load(const char *text, struct yaml_document **d, medley_error *err)
{
    if (file_write(path, text, strlen(text), NULL))
        return MEDLEY_EIO;
    return yaml_load(path, d, err);
}

static struct hash128 hash_of(const char *text)
{
    struct yaml_document *d = NULL;
    struct hash128 h = {0, 0};
    if (load(text, &d, NULL) == MEDLEY_OK)
        h = yaml_hash(yaml_root(d), h);
    yaml_free(d);
    return h;
}

static bool same(struct hash128 a, struct hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

static void test_nodes(void)
{
    struct yaml_document *d = NULL;
    medley_error err = {0};
    ok(load("a: 1\nb:\n  - x\n  - {c: \"y z\"}\n", &d, &err) == MEDLEY_OK, "loads %s",
       err.message);
    const struct yaml_node *b = yaml_get(yaml_root(d), "b");
    ok(b && b->kind == YAML_SEQUENCE && b->count == 2 && b->line == 3,
       "a sequence and its line");
    is_text(yaml_get(b->items[1], "c")->text, "y z", "quotes fall away");
    ok(!yaml_get(yaml_root(d), "z") && !yaml_get(b, "a"), "what is absent is NULL");
    yaml_free(d);
    ok(load("", &d, &err) == MEDLEY_OK && !yaml_root(d), "an empty file has no root");
    yaml_free(d);
}

static void test_hash(void)
{
    struct hash128 h = hash_of("a: [1, 2]\nb: x\n");
    ok(same(h, hash_of("# a remark\na:\n  - 1\n  - '2'\nb: \"x\"\n")),
       "layout does not matter");
    ok(!same(h, hash_of("a: [1, 3]\nb: x\n")), "values do");
    ok(!same(h, hash_of("a: [1, 2]\nc: x\n")), "keys do");
    ok(!same(hash_of("a: [b, c]"), hash_of("a: [[b, c]]")), "nesting does");
}

static void test_refusals(void)
{
    static const char *const bad[] = {"a: [1\n",      "a: &x 1\nb: *x\n", "a: 1\na: 2\n",
                                      "? [k]\n: v\n", "a: \"\xff\"\n",    "\ta: 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct yaml_document *d = NULL;
        medley_error err = {0};
        ok(load(bad[i], &d, &err) == MEDLEY_EFORMAT && strstr(err.message, path), "%s",
           err.message);
    }
    char deep[200] = "a: ";
    memset(deep + 3, '[', 60);
    memset(deep + 63, ']', 60);
    struct yaml_document *d = NULL;
    medley_error err = {0};
    ok(load(deep, &d, &err) == MEDLEY_EFORMAT && strstr(err.message, "deeper than"), "%s",
       err.message);
}

static void test_bytes(void)
{
    uint64_t v = 0;
    ok(yaml_parse_bytes("65536", &v) && v == 65536, "plain bytes");
    ok(yaml_parse_bytes("2G", &v) && v == (uint64_t)2 << 30, "2G");
    ok(yaml_parse_bytes("1.5MiB", &v) && v == 1572864, "1.5MiB");
    ok(!yaml_parse_bytes("2X", &v) && !yaml_parse_bytes("", &v) &&
           !yaml_parse_bytes("-1", &v) && !yaml_parse_bytes("99999999T", &v),
       "nonsense is refused");
}

static void test_memory(void)
{
    static const char text[] = "a: [1, 2, {b: c}]\nd: text\n";
    size_t failures = 0;
    bool done = file_write(path, text, sizeof text - 1, NULL) != MEDLEY_OK;
    for (size_t n = 0; !done && n < 1000; n++) {
        struct yaml_document *d = NULL;
        medley_error err = {0};
        mem_fail_after(n);
        medley_status st = yaml_load(path, &d, &err);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        failures += st == MEDLEY_ENOMEM;
        if (st != MEDLEY_OK && st != MEDLEY_ENOMEM)
            break;
        yaml_free(d);
    }
    ok(done && failures >= 3, "every failing allocation is reported (%zu of them)", failures);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/medley.yaml", tap_folder());
    test_nodes();
    test_hash();
    test_refusals();
    test_bytes();
    test_memory();
    return tap_done();
}
