/* test_base_json.c: what the JSON door takes and refuses, where it says the fault lies, what it
 * writes, and that failed allocations are told as such. */
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tests/tap.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "f:1: unexpected end"},
        {"{\n\"a\": 1,\n}", "f:3: expected a string in double quotes"},
        {"[1 2]", "f:1: expected ',' or ']'"},
        {"{\"a\" 1}", "f:1: expected ':' after a key"},
        {"[1]\n\n x", "f:3: more text after the value"},
        {"[01]", "f:1: expected ',' or ']'"},
        {"[1.]", "f:1: expected a digit after the point"},
        {"[-]", "f:1: expected a digit"},
        {"[1e+]", "f:1: expected a digit in the exponent"},
        {"[1e999]", "f:1: a number is out of range"},
        {"[+1]", "f:1: expected a value"},
        {"[NaN]", "f:1: expected a value"},
        {"[nul]", "f:1: expected a value"},
        {"[\"a\nb\"]", "f:1: control character in a string"},
        {"\"\\x41\"", "f:1: unknown escape in a string"},
        {"\"\\u00g0\"", "f:1: expected four hexadecimal digits after \\u"},
        {"\"\\u0000\"", "f:1: a string holds \\u0000"},
        {"\"\\ud800\"", "f:1: a high surrogate stands alone"},
        {"\"\\ud800\\u0041\"", "f:1: a high surrogate stands alone"},
        {"\"\\udc00\"", "f:1: a low surrogate stands alone"},
        {"\"abc", "f:1: a string does not end"},
        {"\"abc\\", "f:1: unknown escape in a string"},
        {"[\"\n", "f:1: control character in a string"},
        {"\n\"\xC3(\"", "f:2: invalid UTF-8"},
        {"[1,\v2]", "f:1: expected a value"},
        {"{'a':1}", "f:1: expected a string in double quotes"},
        {"0.1234567890123456789012345678901234567890123456789012345678901234",
         "f:1: a number has more than 63 characters"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        medley_error err = {MEDLEY_OK, ""};
        json *v = NULL;
        medley_status st = json_parse(str_of(bad[i].text), "f", &v, &err);
        ok(st == MEDLEY_EFORMAT && !v, "refused: %zu", i);
        is_text(err.message, bad[i].message, "says why");
    }
    medley_error err;
    json *v = NULL;
    ok(json_parse((struct str){"[1]\0", 4}, "f", &v, &err) == MEDLEY_EFORMAT, "a zero byte");
    char deep[2000];
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    ok(json_parse((struct str){deep, 2000}, "f", &v, &err) == MEDLEY_EFORMAT, "%s",
       err.message);
    ok(json_parse((struct str){deep + 1000 - 256, 512}, "f", &v, &err) == MEDLEY_OK,
       "256 deep");
    json_free(v);
}

static void test_values(void)
{
    static const char text[] =
        "\xEF\xBB\xBF {\"s\": \"a\\u00e9\\ud83d\\udc5f\\n\\/\", \"n\": -12.5e1, \"i\": "
        "9007199254740992,"
        " \"big\": 9007199254740994, \"half\": 0.5, \"t\": true, \"f\": false, \"z\": null,\r\n"
        " \"list\": [1, [], {}, \"x\"], \"S\": 1}\t";
    json *v = NULL;
    medley_error err;
    const char *s = NULL;
    double d = 0;
    int64_t i = 0;
    bool b = false;
    ok(json_parse((struct str){text, sizeof text - 1}, "f", &v, &err) == MEDLEY_OK, "parsed");
    ok(json_as_text(json_get(v, "s"), &s), "a text");
    is_text(s, "a\xC3\xA9\xF0\x9F\x91\x9F\n/", "escapes");
    ok(json_as_double(json_get(v, "n"), &d) && d == -125, "a number");
    ok(json_as_i64(json_get(v, "n"), &i) && i == -125, "an integer with an exponent");
    ok(json_as_i64(json_get(v, "i"), &i) && i == INT64_C(1) << 53, "2^53");
    ok(!json_as_i64(json_get(v, "big"), &i) && !json_as_i64(json_get(v, "half"), &i),
       "not exactly an integer");
    ok(json_as_bool(json_get(v, "t"), &b) && b && json_as_bool(json_get(v, "f"), &b) && !b,
       "booleans");
    ok(!json_as_bool(json_get(v, "z"), &b) && !json_as_text(json_get(v, "n"), &s) &&
           !json_as_double(json_get(v, "s"), &d) && !json_as_i64(NULL, &i),
       "another kind is refused");
    ok(!json_get(v, "absent") && !json_get(json_get(v, "list"), "x") && !json_get(NULL, "x") &&
           json_as_i64(json_get(v, "S"), &i) && i == 1,
       "keys are told apart by case");
    const json *list = json_get(v, "list");
    static const enum json_kind kinds[] = {JSON_NUMBER, JSON_ARRAY, JSON_OBJECT, JSON_STRING};
    size_t at = 0, wrong = 0;
    for (const json *item = json_first(list); item; item = json_next(item))
        wrong += json_kind_of(item) != kinds[at++] || json_key(item) != NULL;
    ok(at == 4 && json_count(list) == 4 && wrong == 0, "iteration");
    is_text(json_key(json_first(v)), "s", "keys of members");
    ok(json_count(json_get(v, "s")) == 0 && json_kind_of(json_get(v, "z")) == JSON_NULL,
       "null");
    json_free(v);
    json_free(NULL);
}

static void write_sample(struct json_writer *w)
{
    jw_object(w);
    jw_key(w, "a\"b");
    jw_array(w);
    jw_i64(w, INT64_MIN);
    jw_double(w, 0.1);
    jw_double(w, NAN);
    jw_float(w, 0.1f);
    jw_bool(w, true);
    jw_null(w);
    jw_textz(w, NULL);
    jw_array(w);
    jw_array_end(w);
    jw_array_end(w);
    jw_key(w, "t");
    jw_text(w, STR("\x01\n\\ \xC3\xA9 \xFF</script>\x7F"));
    jw_object_end(w);
}

static void test_writing(void)
{
    struct strbuf b;
    struct json_writer w;
    sb_init(&b);
    jw_init(&w, &b, false);
    write_sample(&w);
    is_text(sb_str(&b).s,
            "{\"a\\\"b\":[-9223372036854775808,0.1,null,0.1,true,null,null,[]],"
            "\"t\":\"\\u0001\\n\\\\ \xC3\xA9 \xEF\xBF\xBD\\u003c/script>\x7F\"}",
            "compact");
    sb_clear(&b);
    jw_init(&w, &b, true);
    jw_object(&w);
    jw_key(&w, "a");
    jw_array(&w);
    jw_i64(&w, 1);
    jw_i64(&w, 2);
    jw_array_end(&w);
    jw_key(&w, "b");
    jw_object(&w);
    jw_object_end(&w);
    jw_object_end(&w);
    is_text(sb_str(&b).s, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}", "pretty");
    sb_deinit(&b);
}

/* Every double and float comes back equal, through text and parser, in any locale. */
static void test_numbers_round_trip(void)
{
    struct rng r;
    struct strbuf b;
    int wrong = 0, longer = 0;
    rng_init(&r, 5, 0);
    sb_init(&b);
    setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where it is installed */
    for (int k = 0; k < 20000; k++) {
        uint64_t bits = rng_u64(&r);
        uint32_t bits32 = (uint32_t)bits;
        double v, got = 0;
        float f, got_f = 0;
        memcpy(&v, &bits, sizeof v);
        memcpy(&f, &bits32, sizeof f);
        struct json_writer w;
        json *root = NULL;
        sb_clear(&b);
        jw_init(&w, &b, false);
        jw_array(&w);
        jw_double(&w, v);
        jw_float(&w, f);
        jw_double(&w, (double)(k - 10000) / 1000);
        jw_array_end(&w);
        if (json_parse(sb_str(&b), "f", &root, NULL)) {
            wrong++;
            continue;
        }
        const json *item = json_first(root);
        wrong += isfinite(v) && (!json_as_double(item, &got) || got != v);
        item = json_next(item);
        wrong += isfinite(f) && (!json_as_double(item, &got) || (got_f = (float)got) != f);
        item = json_next(item);
        wrong += !json_as_double(item, &got) || got != (double)(k - 10000) / 1000;
        json_free(root);
        sb_clear(&b);
        jw_init(&w, &b, false);
        jw_double(&w, (double)(k - 10000) / 1000);
        longer += b.n > 7; /* "-10.000" */
    }
    setlocale(LC_NUMERIC, "C");
    ok(wrong == 0, "20000 numbers come back equal (seed 5): %d differ", wrong);
    ok(longer == 0, "short numbers stay short");
    sb_deinit(&b);
}

static medley_status parse_within(const char *text, size_t values, size_t depth,
                                  medley_error *err)
{
    json *v = NULL;
    medley_status st =
        json_parse_within(str_of(text), "f", (struct json_limits){values, depth}, &v, err);
    json_free(v);
    return st;
}

static void test_limits(void)
{
    static const char text[] = "{\"a\": [1, {\"b\": null}],\n\"c\": \"x\"}";
    medley_error err = {MEDLEY_OK, ""};
    ok(parse_within(text, 6, 3, &err) == MEDLEY_OK, "six values, three deep");
    ok(parse_within(text, 5, 3, &err) == MEDLEY_EFORMAT, "one value too many");
    is_text(err.message, "f:2: more than 5 values", "says so");
    ok(parse_within(text, 6, 2, &err) == MEDLEY_EFORMAT, "one container too deep");
    is_text(err.message, "f:1: nested more than 2 deep", "says so");
}

/* Strings are searched eight bytes at a time: each escape and end at each place of them. */
static void test_places(void)
{
    static const struct {
        const char *written, *meant;
    } parts[] = {
        {"", ""},          {"\\\"", "\""},           {"\\\\", "\\"},          {"\\n", "\n"},
        {"\\u0001", "\1"}, {"\xC3\xA9", "\xC3\xA9"}, {"\x7F!#[]", "\x7F!#[]"}};
    size_t wrong = 0;
    for (size_t before = 0; before < 20; before++) {
        for (size_t after = 0; after < 20; after++) {
            for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
                char text[64], want[64];
                const char *got = "";
                json *v = NULL;
                static const char x[] = "xxxxxxxxxxxxxxxxxxxx";
                snprintf(text, sizeof text, "[\"%.*s%s%.*s\"]", (int)before, x,
                         parts[i].written, (int)after, x);
                snprintf(want, sizeof want, "%.*s%s%.*s", (int)before, x, parts[i].meant,
                         (int)after, x);
                wrong += json_parse(str_of(text), "f", &v, NULL) ||
                         !json_as_text(json_first(v), &got) || strcmp(got, want) != 0;
                json_free(v);
            }
        }
    }
    ok(wrong == 0, "%zu of 2800 strings are read wrongly", wrong);
}

static void test_faults(void)
{
    struct strbuf text;
    sb_init(&text);
    for (int i = 0; i < 2000; i++)
        sb_addz(&text, i ? ",1" : "[1");
    sb_addc(&text, ']');
    size_t failures = 0;
    medley_status st = MEDLEY_ENOMEM;
    while (st == MEDLEY_ENOMEM && failures < 100) {
        json *v = NULL;
        mem_fail_after(failures);
        st = json_parse(sb_str(&text), "f", &v, NULL);
        mem_fail_after(SIZE_MAX);
        failures += st == MEDLEY_ENOMEM;
        json_free(v);
    }
    sb_deinit(&text);
    ok(st == MEDLEY_OK && failures > 3, "%zu failed allocations are told as such", failures);
    failures = 0;
    for (;; failures++) {
        struct strbuf b;
        struct json_writer w;
        sb_init(&b);
        jw_init(&w, &b, true);
        mem_fail_after(failures);
        for (int i = 0; i < 10; i++)
            write_sample(&w);
        mem_fail_after(SIZE_MAX);
        bool failed = b.failed;
        sb_deinit(&b);
        if (!failed || failures > 50)
            break;
    }
    ok(failures >= 3 && failures <= 50, "%zu while writing", failures);
}

/* Text cut short or with a bit flipped is read or refused, never a crash (the sanitizers
 * watch). */
static void test_damage(void)
{
    struct rng r;
    struct strbuf b;
    struct json_writer w;
    size_t refused = 0;
    sb_init(&b);
    jw_init(&w, &b, true);
    write_sample(&w);
    for (size_t n = 0; n < b.n; n++) {
        json *v = NULL;
        refused += json_parse((struct str){b.s, n}, "f", &v, NULL) == MEDLEY_EFORMAT;
        json_free(v);
    }
    ok(refused == b.n, "every truncation is refused");
    rng_init(&r, 9, 0);
    for (int k = 0; k < 5000; k++) {
        size_t at = rng_below(&r, (uint32_t)b.n);
        char mask = (char)(1 << rng_below(&r, 8));
        json *v = NULL;
        b.s[at] ^= mask;
        medley_status st = json_parse(sb_str(&b), "f", &v, NULL);
        if (st != MEDLEY_OK && st != MEDLEY_EFORMAT)
            refused = 0;
        json_free(v);
        b.s[at] ^= mask;
    }
    ok(refused, "5000 flipped bits");
    sb_deinit(&b);
}

int main(void)
{
    test_refused();
    test_values();
    test_writing();
    test_numbers_round_trip();
    test_limits();
    test_places();
    test_faults();
    test_damage();
    return tap_done();
}
