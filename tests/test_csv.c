/* test_csv.c: the table reader: what it takes, and what it says of what it does not. */
#include "tests/data_help.h"

#include "base/rng.h"
#include "data/table_reader.h"

static const char *folder;

/* All rows as "[a|b][c|d]", each with "@line" when `lines`; or the error message. */
static char *read_all(const char *path, bool lines)
{
    static struct strbuf out;
    struct table *t;
    medley_error err;
    bool more;
    if (out.s)
        sb_clear(&out);
    else
        sb_init(&out);
    medley_status st = table_open(path, &t, &err);
    if (st == MEDLEY_OK) {
        while ((st = table_next(t, &more, &err)) == MEDLEY_OK && more) {
            sb_addc(&out, '[');
            for (size_t i = 0; i < table_columns(t); i++) {
                struct str f = table_field(t, i);
                sb_addf(&out, "%s%.*s", i ? "|" : "", (int)f.n, f.s);
            }
            sb_addc(&out, ']');
            if (lines)
                sb_addf(&out, "@%llu", (unsigned long long)table_line(t));
        }
        table_close(t);
    }
    if (st != MEDLEY_OK) {
        size_t n = strlen(folder) + 1;
        sb_clear(&out);
        sb_addz(&out, strncmp(err.message, folder, n - 1) == 0 ? err.message + n : err.message);
    }
    return out.s;
}

static char *csv(const char *text)
{
    return read_all(put(folder, "t.csv", text), true);
}

static void test_reading(void)
{
    is_text(csv("a,b\n1,2\n3,4\n"), "[1|2]@2[3|4]@3", "plain rows");
    is_text(csv("a,b\r\n1,2\r\n3,4"), "[1|2]@2[3|4]@3", "CRLF, and no line break at the end");
    is_text(csv("\xEF\xBB\xBF"
                "a,b\n1,2\n"),
            "[1|2]@2", "a byte order mark is skipped");
    is_text(csv("a,b\n\"x\ny\",2\n3,4\n"), "[x\ny|2]@2[3|4]@4",
            "quoted newlines count as lines");
    is_text(csv("a,b\n\"x\r\ny\",2\n"), "[x\r\ny|2]@2", "a quoted CRLF is kept");
    is_text(csv("a,b\n\"say \"\"hi\"\"\",\"\"\n"), "[say \"hi\"|]@2", "doubled quotes");
    is_text(csv("a,b\n\"1,5\",2\n"), "[1,5|2]@2", "a quoted delimiter");
    is_text(csv("a,b\n5\" pipe,2\n"), "[5\" pipe|2]@2", "a quote inside an unquoted field");
    is_text(csv("a,b\nx\ry,2\n"), "[x\ry|2]@2", "a lone CR is text");
    is_text(csv("a,b\n\n1,2\n\r\n3,4\n\n"), "[1|2]@3[3|4]@5", "blank lines are skipped");
    is_text(csv("a,b\n,\n"), "[|]@2", "empty fields");
    is_text(csv("a\n\"\"\nx\n"), "[]@2[x]@3", "a quoted empty field is a row");
    is_text(csv("a,b\n"), "", "a header without rows");
    is_text(csv(" a , b \n1,2"), "[1|2]@2", "spaces around names");
    is_text(read_all(put(folder, "t.tsv", "a\tb\n1,5\t\"x\ty\"\n"), true), "[1,5|x\ty]@2",
            "TSV");
    is_text(read_all(put(folder, "T.CSV", "a\n1\n"), true), "[1]@2", "the ending in capitals");
}

static void test_errors(void)
{
    is_text(csv("a,b\n1,2\n1,2,3\n"), "t.csv:3: 3 fields where the header has 2",
            "too many fields");
    is_text(csv("a,b\n1\n"), "t.csv:2: 1 field where the header has 2", "too few fields");
    is_text(csv("a,b\n1,2\n3,\"x\n\n\ny"),
            "t.csv:3: the quote of field 2, opened in line 3, is never closed",
            "an unterminated quote");
    is_text(csv("a,b\n\"x\"y,2\n"), "t.csv:2: text after the closing quote of field 1",
            "text after a quote");
    is_text(csv("a,b\n\"x\"\ry,2\n"), "t.csv:2: text after the closing quote of field 1",
            "a lone CR after a quote");
    is_text(csv("a,b,a\n1,2,3\n"), "t.csv:1: two columns are called 'a'", "duplicate names");
    ok(strstr(csv(""), "t.csv' is empty; expected a header line"), "an empty file");
    is_text(csv("a,b\n1,\"\xC3\x28\"\n"), "t.csv:2: invalid UTF-8 at byte 1 of column 'b'",
            "invalid UTF-8");
    is_text(csv("a,b\n1,2\n\"x\n\n\",ok\xED\xA0\x80\n"),
            "t.csv:3: invalid UTF-8 at byte 3 of column 'b'",
            "a surrogate, by the row's first line");
    is_text(read_all(put_bytes(folder, "t.csv", "a,b\n1,x\0y\n", 10), true),
            "t.csv:2: NUL byte in column 'b'", "a NUL byte");
    ok(strstr(read_all(put_bytes(folder, "t.csv",
                                 "\xFF\xFE"
                                 "a\0",
                                 4),
                       true),
              "is UTF-16; save it as UTF-8"),
       "UTF-16");
    ok(strstr(read_all(at(folder, "none.csv"), true), "none.csv': No such file"),
       "no such file");
    ok(strstr(read_all(at(folder, "t.xlsx"), true),
              "does not end in .csv, .tsv, .jsonl or .parquet"),
       "an unknown ending");
}

static void test_required(void)
{
    struct table *t;
    medley_error err;
    size_t column = 99;
    put(folder, "t.csv", "query,product,label\nx,y,z\n");
    ok(table_open(at(folder, "t.csv"), &t, &err) == MEDLEY_OK, "opens");
    ok(table_require(t, "product", &column, &err) == MEDLEY_OK && column == 1,
       "a column by name");
    ok(table_find(t, "Query") == TABLE_NO_COLUMN, "names are case-sensitive");
    ok(table_require(t, "product_id", &column, &err) == MEDLEY_EFORMAT && column == 1 &&
           says(&err, folder, "t.csv: no column 'product_id' (found: query, product, label)"),
       "a missing column lists what was found");
    bool more;
    ok(table_next(t, &more, &err) == MEDLEY_OK && table_field(t, TABLE_NO_COLUMN).n == 0,
       "a column that is absent is empty");
    table_close(t);
}

/* The columns a, b.c and list, of which a is required. */
static char *jsonl(const char *text)
{
    static struct strbuf out;
    struct table *t;
    medley_error err;
    bool more;
    size_t a;
    put(folder, "t.jsonl", text);
    if (out.s)
        sb_clear(&out);
    else
        sb_init(&out);
    if (table_open(at(folder, "t.jsonl"), &t, &err) != MEDLEY_OK)
        return NULL;
    table_require(t, "a", &a, NULL);
    size_t bc = table_find(t, "b.c"), list = table_find(t, "list");
    medley_status st;
    while ((st = table_next(t, &more, &err)) == MEDLEY_OK && more) {
        struct str x = table_field(t, a), y = table_field(t, bc), z = table_field(t, list);
        sb_addf(&out, "[%.*s|%.*s|%.*s]@%llu", (int)x.n, x.s, (int)y.n, y.s, (int)z.n, z.s,
                (unsigned long long)table_line(t));
    }
    table_close(t);
    if (st != MEDLEY_OK) {
        sb_clear(&out);
        sb_addz(&out, err.message + strlen(folder) + 1);
    }
    return out.s;
}

static void test_jsonl(void)
{
    is_text(jsonl("{\"a\":\"x\",\"b\":{\"c\":\"y\"},\"list\":[\"p\",2]}\n\n{\"a\":7}"),
            "[x|y|p\n2]@1[7||]@3", "objects, paths, arrays, numbers");
    is_text(jsonl("{\"a\":1.5}\r\n{\"a\":9007199254740991}\n{\"a\":true,\"b\":null}\n"),
            "[1.5||]@1[9007199254740991||]@2[true||]@3", "numbers keep their text");
    is_text(jsonl("{\"a\":\"\\u00e9\\n\",\"b.c\":\"direct\"}"), "[\xC3\xA9\n|direct|]@1",
            "escapes");
    is_text(jsonl("{\"a\":1,\"b\":{\"c\":{}},\"list\":[[1]]}"), "[1||]@1",
            "optional values of odd shapes are empty");
    is_text(jsonl("{\"a\":1}\n{\"b\":2,\"z\":3}\n"), "t.jsonl:2: no key 'a' (found: b, z)",
            "a missing required key");
    is_text(jsonl("{\"a\":{}}\n"), "t.jsonl:1: 'a' is not a text or a number",
            "an odd required value");
    is_text(jsonl("{\"a\":1,\"a\":2}\n"), "t.jsonl:1: the key 'a' comes twice",
            "a repeated key");
    is_text(jsonl("{\"a\":1}\n[1]\n"), "t.jsonl:2: expected a JSON object", "no object");
    is_text(jsonl("{\"a\":1}\n{\"a\":\xFF}\n"),
            "t.jsonl:2: invalid UTF-8 at byte 6 of the line", "invalid UTF-8");
    ok(strncmp(jsonl("{\"a\":1}\n\n{\"a\":\n"), "t.jsonl:3: ", 11) == 0 &&
           !strstr(jsonl("{\"a\":1}\n\n{\"a\":\n"), "json:"),
       "broken JSON names file and line");
}

static void add_field(struct strbuf *file, struct strbuf *wanted, struct rng *r)
{
    static const char *const parts[] = {"a", "\"", ",",  "\n", "\r\n", "\xE6\x97\xA5",
                                        " ", "\t", "x y"};
    sb_addc(file, '"');
    for (uint32_t k = rng_below(r, 6); k > 0; k--) {
        const char *part = parts[rng_below(r, 9)];
        sb_addz(file, part);
        if (*part == '"')
            sb_addc(file, '"');
        sb_addz(wanted, part);
    }
    sb_addc(file, '"');
}

/* Enough rows that fields, quotes and line breaks fall on every kind of block border. */
static void test_round_trip(void)
{
    uint64_t seed = 20240517;
    struct strbuf file, wanted;
    struct rng r;
    printf("# seed %llu\n", (unsigned long long)seed);
    rng_init(&r, seed, 0);
    sb_init(&file);
    sb_init(&wanted);
    sb_addz(&file, "a,b\n");
    for (int row = 0; row < 60000; row++) {
        sb_addc(&wanted, '[');
        add_field(&file, &wanted, &r);
        sb_addc(&file, ',');
        sb_addc(&wanted, '|');
        add_field(&file, &wanted, &r);
        sb_addz(&file, row % 3 ? "\n" : "\r\n");
        sb_addc(&wanted, ']');
    }
    char *got = read_all(put_bytes(folder, "big.csv", file.s, file.n), false);
    ok(strcmp(got, wanted.s) == 0, "random rows over many blocks (%zu bytes)", file.n);
    sb_deinit(&file);
    sb_deinit(&wanted);
}

int main(void)
{
    folder = tap_folder();
    test_reading();
    test_errors();
    test_required();
    test_jsonl();
    test_round_trip();
    return tap_done();
}
