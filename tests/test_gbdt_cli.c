/* test_gbdt_cli.c: `medley gbdt` as a black box (the program is in $MEDLEY): training,
 * predicting, explaining, formats, exit codes. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/npy.h"
#include "medley/shapley.h"
#include "tests/gbdt_help.h"

#include <sys/wait.h>

#define SEED 20240608u
enum { N = 300, F = 6, K = 3 };

static char folder[64];
static char talk[4096];  /* standard error of the last run */
static char data[65536]; /* standard output of the last run */

static void slurp(const char *name, char *out, size_t room)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(out, 1, room - 1, f) : 0;
    out[n] = 0;
    if (f)
        fclose(f);
}

/* `medley gbdt ARGUMENTS` in the folder; returns its exit status. */
static int run(const char *arguments)
{
    char command[2048];
    snprintf(command, sizeof command, "cd %s && '%s' gbdt %s >stdout 2>stderr </dev/null",
             folder, getenv("MEDLEY"), arguments);
    int status = system(command);
    slurp("stdout", data, sizeof data);
    slurp("stderr", talk, sizeof talk);
    for (char *p = talk; (p = strchr(p, '\n'));)
        *p = ' '; /* it goes into test names */
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *in_folder(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_files(const struct shop *s)
{
    static const char *const classes = "ESC";
    float weights[N];
    int64_t labels[N];
    for (size_t i = 0; i < N; i++) {
        weights[i] = s->weights[i];
        labels[i] = s->y[i];
    }
    npy_write(in_folder("x.npy"), NPY_F32, N, F, s->x, NULL);
    npy_write(in_folder("y.npy"), NPY_I64, N, 0, labels, NULL);
    npy_write(in_folder("w.npy"), NPY_F32, N, 0, weights, NULL);
    FILE *csv = fopen(in_folder("x.csv"), "w");
    fprintf(csv, "a,b,\"c,c\",label,d,e,f\n");
    for (size_t i = 0; i < N; i++)
        for (size_t f = 0; f < F; f++) {
            if (s->x[i * F + f] == s->x[i * F + f])
                fprintf(csv, "%.9g", (double)s->x[i * F + f]);
            if (f == 2)
                fprintf(csv, ",%c", classes[s->y[i]]);
            fputc(f + 1 < F ? ',' : '\n', csv);
        }
    fclose(csv);
}

static void test_train_and_predict(const struct shop *s)
{
    float *p = malloc(N * K * sizeof *p), got[N * K];
    medley_gbdt *m = NULL;
    struct npy a;
    ok(run("train --features x.npy --labels y.npy --rounds 20 --min-data 5 -o model.txt") == 0,
       "trains from .npy: %s", talk);
    ok(strstr(talk, "20 rounds on 300 rows, 6 features, 3 classes") && !data[0],
       "says what it did on stderr, nothing on stdout");
    medley_gbdt_load(in_folder("model.txt"), &m, NULL);
    medley_gbdt_predict(m, s->x, N, p, NULL);
    ok(run("predict -m model.txt -f x.npy -o p.npy") == 0, "predicts");
    ok(npy_open(in_folder("p.npy"), &a, NULL) == MEDLEY_OK && a.rows == N && a.cols == K,
       "rows x classes");
    npy_to_float(&a, got);
    ok(memcmp(p, got, sizeof got) == 0, "with the bits of the library");
    npy_close(&a);
    ok(run("predict -m model.txt -f x.npy -o -") == 0 &&
           strncmp(data, "p_0,p_1,p_2\n", 12) == 0,
       "CSV to stdout");
    float first = strtof(data + 12, NULL);
    ok(first == p[0], "with all digits");
    ok(run("predict -m model.txt -f x.npy --margins -o m.csv") == 0, "margins to .csv");
    slurp("m.csv", data, sizeof data);
    ok(strncmp(data, "margin_0,", 9) == 0, "with a header");
    ok(run("train --features x.csv --label label --classes E,S,C --rounds 20 --min-data 5 "
           "-o csv.txt") == 0,
       "trains from .csv: %s", talk);
    ok(run("predict -m csv.txt -f x.csv -o q.npy") == 0, "predicts by column names: %s", talk);
    npy_open(in_folder("q.npy"), &a, NULL);
    npy_to_float(&a, got);
    ok(memcmp(p, got, sizeof got) == 0, "the same model as from .npy");
    npy_close(&a);
    medley_gbdt_free(m);
    free(p);
}

/* The same bytes whatever the CPU can do and however many threads there are. */
static void test_same_model_everywhere(void)
{
    static const char *const kernels[] = {"ref", "avx2", "avx512"};
    char *wanted = NULL, *got = NULL;
    size_t n = 0, k = 0;
    for (int vector = 0; vector < 2; vector++)
        for (int i = 0; i < 3; i++) {
            char arguments[200];
            snprintf(
                arguments, sizeof arguments,
                "train -f x.npy -y y.npy --rounds 30 --row-fraction 0.9 -t %d %s -o same.txt",
                i + 1, vector ? "--vector" : "");
            setenv("MEDLEY_KERNELS", kernels[i], 1);
            ok(run(arguments) == 0 &&
                   file_read(in_folder("same.txt"), 1 << 24, &got, &k, NULL) == MEDLEY_OK,
               "trains with %d threads and kernels up to %s", i + 1, kernels[i]);
            if (i > 0)
                ok(n == k && memcmp(wanted, got, n) == 0, "the same model");
            mem_free(wanted);
            wanted = got;
            n = k;
        }
    mem_free(wanted);
    unsetenv("MEDLEY_KERNELS");
}

static void test_options(void)
{
    ok(run("train -f x.npy -y y.npy --weights w.npy --class-weights 1,2,0.5 --leaves 7 "
           "--max-depth 3 --min-data 5 --min-hessian 0.01 --min-gain 0.1 --lambda 1 --bins 63 "
           "--rounds 200 --learning-rate 0.3 --early-stopping 5 --valid-features x.npy "
           "--valid-labels y.npy --row-fraction 0.8 --feature-fraction 0.7 --seed 9 "
           "--players bert=0-2 --mask-rate 0.1 --threads 2 --vector --json -o o.txt") == 0,
       "every option at once: %s", talk);
    json *j = NULL;
    double rounds = 0;
    ok(json_parse(str_of(data), "stdout", &j, NULL) == MEDLEY_OK &&
           json_as_double(json_get(j, "rounds"), &rounds) && rounds >= 1 && rounds < 200,
       "--json prints %.0f rounds, stopped early", rounds);
    json_free(j);
}

static void test_explain(const struct shop *s)
{
    static const uint32_t players[F] = {0, 0, 0, 1, 2, 2};
    float *values = malloc(N * 3 * K * sizeof *values), *got = malloc(N * 3 * K * sizeof *got);
    medley_gbdt *m = NULL;
    medley_explainer *e = NULL;
    struct npy a;
    json *j = NULL;
    const char *name = NULL;
    double mean = 0, wanted = 0;
    ok(run("explain -m model.txt -f x.npy --by player --players bert=0-2,sage=3 -o v.npy "
           "--json") == 0,
       "explains players: %s", talk);
    medley_gbdt_load(in_folder("model.txt"), &m, NULL);
    medley_explainer_new(m, players, 3, &e, NULL);
    medley_explainer_values(e, s->x, N, values, NULL);
    npy_open(in_folder("v.npy"), &a, NULL);
    ok(a.rows == N && a.cols == 3 * K, "rows x (players * classes)");
    npy_to_float(&a, got);
    npy_close(&a);
    ok(memcmp(values, got, N * 3 * K * sizeof *got) == 0, "with the bits of the library");
    ok(json_parse(str_of(data), "stdout", &j, NULL) == MEDLEY_OK, "--json is JSON");
    const json *third = json_next(json_next(json_first(json_get(j, "players"))));
    json_as_text(json_get(third, "name"), &name);
    is_text(name, "other", "features that nobody claims are 'other'");
    json_as_double(json_next(json_first(json_get(third, "mean_abs"))), &mean);
    for (size_t i = 0; i < N; i++)
        wanted += fabs(values[(i * 3 + 2) * K + 1]) / N;
    ok(fabs(mean - wanted) < 1e-12, "mean |value| of class 1: %g", mean);
    ok(run("explain -m csv.txt -f x.csv -o -") == 0 &&
           strncmp(data, "a:0,a:1,a:2,b:0,b:1,b:2,\"c,c:0\",", 32) == 0,
       "by feature, as CSV with names");
    json_free(j);
    medley_explainer_free(e);
    medley_gbdt_free(m);
    free(values);
    free(got);
}

static void test_interactions(const struct shop *s)
{
    static const uint32_t players[F] = {0, 0, 0, 1, 1, 1};
    enum { P = 2, ROW = P * P * K };
    float *values = malloc(N * ROW * sizeof *values), *got = malloc(N * ROW * sizeof *got);
    medley_gbdt *m = NULL;
    medley_explainer *e = NULL;
    struct npy a = {0};
    json *j = NULL;
    double mean = -1, wanted = 0;
    ok(run("explain -m model.txt -f x.npy --by player --players bert=0-2,sage=3-5 "
           "--interactions -o v.npy --json") == 0,
       "explains pairs: %s", talk);
    medley_gbdt_load(in_folder("model.txt"), &m, NULL);
    medley_explainer_new(m, players, P, &e, NULL);
    medley_explainer_interactions(e, s->x, N, values, NULL);
    npy_open(in_folder("v.npy"), &a, NULL);
    ok(a.rows == N && a.cols == ROW, "rows x (players * players * classes)");
    if (a.rows == N && a.cols == ROW)
        npy_to_float(&a, got);
    npy_close(&a);
    ok(memcmp(values, got, N * ROW * sizeof *got) == 0, "with the bits of the library");
    ok(json_parse(str_of(data), "stdout", &j, NULL) == MEDLEY_OK &&
           json_count(json_get(j, "pairs")) == 3,
       "--json prints each pair once");
    const json *second = json_next(json_first(json_get(j, "pairs")));
    json_as_double(json_first(json_get(second, "mean_abs")), &mean);
    for (size_t i = 0; i < N; i++)
        wanted += fabs((double)values[i * ROW + K]) / N;
    ok(fabs(mean - wanted) < 1e-12, "mean |interaction| of class 0: %g", mean);
    ok(run("explain -m model.txt -f x.npy --by player --players bert=0-2,sage=3-5 "
           "--interactions -o -") == 0 &&
           strncmp(data, "bert*bert:0,bert*bert:1,bert*bert:2,bert*sage:0,", 48) == 0,
       "as CSV with names of pairs");
    json_free(j);
    medley_explainer_free(e);
    medley_gbdt_free(m);
    free(values);
    free(got);
}

/* A model through every format; the program predicts from each file as from the first. */
static void test_convert(void)
{
    char command[256];
    struct npy a = {0}, b = {0};
    float first[N * K], other[N * K];
    run("predict -m model.txt -f x.npy --margins -o first.npy");
    npy_open(in_folder("first.npy"), &a, NULL);
    npy_to_float(&a, first);
    npy_close(&a);
    const char *from = "model.txt";
    char to[64];
    for (int i = 0; medley_gbdt_format_name((enum medley_model_format)i); i++) {
        const char *format = medley_gbdt_format_name((enum medley_model_format)i);
        snprintf(to, sizeof to, "converted.%s", format);
        snprintf(command, sizeof command, "convert %s %s --to %s", from, to, format);
        ok(run(command) == 0, "converts to %s: %s", format, talk);
        snprintf(command, sizeof command, "predict -m %s -f x.npy --margins -o other.npy", to);
        run(command);
        npy_open(in_folder("other.npy"), &b, NULL);
        npy_to_float(&b, other);
        npy_close(&b);
        double most = 0;
        for (size_t j = 0; j < N * K; j++)
            most = fmax(most, fabs((double)first[j] - (double)other[j]));
        ok(most < 1e-6, "and predicts the same, within %.1e", most);
        from = i == 2 ? "converted.xgboost-json" : "model.txt";
    }
    ok(run("convert model.txt out.txt --to onnx") == 2 && strstr(talk, "xgboost-ubj"), "%s",
       talk);
    ok(run("convert model.txt --to medley") == 2 && run("convert model.txt out.txt") == 2 &&
           run("convert a b c --to medley") == 2,
       "IN, OUT and --to are needed");
    ok(run("convert y.npy out.txt --to medley") == 1 && strstr(talk, "not a model file"), "%s",
       talk);
}

static void test_help(void)
{
    ok(run("--help") == 0 && strstr(data, "train") && strstr(data, "explain"), "--help");
    ok(run("") == 2 && strstr(talk, "Usage:"), "no sub-verb: help and 2");
    static const char *const verbs[] = {"train --help", "predict --help", "explain --help",
                                        "convert --help"};
    for (int i = 0; i < 4; i++)
        ok(run(verbs[i]) == 0 && strstr(data, "Examples:"), "%s has examples", verbs[i]);
}

static void test_wrong_usage(void)
{
    static const char *const wrong[] = {
        "fit",
        "train",
        "train -f x.npy -o m.txt",
        "train -f x.npy -y y.npy --label label -o m.txt",
        "train -f x.npy -y y.npy -o m.txt extra",
        "train -f x.npy -y y.npy -o m.txt --rounds 0",
        "train -f x.npy -y y.npy -o m.txt --rounds 5x",
        "train -f x.npy -y y.npy -o m.txt --leaves 256",
        "train -f x.npy -y y.npy -o m.txt --learning-rate nan",
        "train -f x.npy -y y.npy -o m.txt --early-stopping 3",
        "train -f x.npy -y y.npy -o m.txt --players a=0-1",
        "train -f x.npy -y y.npy -o m.txt --valid-features x.npy",
        "train -f x.npy -y y.npy -o m.txt --classes A,B",
        "train -f x.npy -y y.npy -o m.txt --bogus",
        "predict -m model.txt -f x.npy",
        "predict -m model.txt -f x.npy -o out.bin",
        "explain -m model.txt -f x.npy",
        "explain -m model.txt -f x.npy --by model -o -",
        "explain -m model.txt -f x.npy --by player -o -",
        "explain -m model.txt -f x.npy --players a=0 -o -",
        "explain -m model.txt -f x.npy --json -o -",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int status = run(wrong[i]);
        ok(status == 2 && talk[0] && !data[0], "%s: %d, %s", wrong[i], status, talk);
    }
}

static void test_failures(void)
{
    static const struct {
        const char *arguments, *message;
    } bad[] = {
        {"train -f none.npy -y y.npy -o m.txt", "none.npy"},
        {"train -f x.npy -y x.npy -o m.txt", "x.npy: shape (300, 6)"},
        {"train -f x.npy -y bad.npy -o m.txt", "row 2: -1 is not a class"},
        {"train -f x.npy -y y.npy -o none/m.txt", "none/m.txt"},
        {"train -f x.npy --label label -o m.txt", "--labels"},
        {"train -f x.csv --label none -o m.txt", "none"},
        {"train -f x.csv --label label -o m.txt", "x.csv:2"},
        {"train -f x.csv --label label --classes E,S -o m.txt", "unknown class 'C'"},
        {"train -f bad.csv --label y -o m.txt", "bad.csv:3: column 'a': 'x' is not a number"},
        {"train -f empty.csv --label y -o m.txt", "no rows"},
        {"train -f x.npy -y y.npy -o m.txt --class-weights 1,2", "3 weights"},
        {"train -f x.npy -y y.npy -o m.txt --class-weights 1,2,3,4", "more than 3"},
        {"train -f x.npy -y y.npy -o m.txt --mask-rate 0.1 --players a=0-9", "'0-9'"},
        {"predict -m y.npy -f x.npy -o -", "not a model file"},
        {"predict -m model.txt -f y.npy -o -", "1 features, but the model has 6"},
        {"predict -m csv.txt -f bad.csv -o -", "bad.csv"},
        {"explain -m model.txt -f x.npy --by player --players a=0,a=1 -o -", "twice"},
        {"explain -m model.txt -f x.npy --by player --players a=0-2,b=2 -o -", "feature 2"},
        {"explain -m model.txt -f x.npy --by player --players a -o -", "'a'"},
        {"explain -m model.txt -f x.npy --by player --players a=2-1 -o -", "'2-1'"},
    };
    static const int64_t labels[N] = {0, 1, -1};
    npy_write(in_folder("bad.npy"), NPY_I64, N, 0, labels, NULL);
    file_write(in_folder("bad.csv"), "a,y\n1,0\nx,1\n", 13, NULL);
    file_write(in_folder("empty.csv"), "a,y\n", 4, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int status = run(bad[i].arguments);
        ok(status == 1 && strstr(talk, bad[i].message), "%s: %d, %s", bad[i].arguments, status,
           talk);
    }
    ok(!file_exists(in_folder("m.txt")), "no failed run left a model");
}

int main(void)
{
    if (!getenv("MEDLEY")) {
        skip("$MEDLEY does not name the program");
        return tap_done();
    }
    snprintf(folder, sizeof folder, "%s", tap_folder());
    struct shop s = shop_new(N, F / K, K, SEED);
    write_files(&s);
    test_train_and_predict(&s);
    test_same_model_everywhere();
    test_options();
    test_explain(&s);
    test_interactions(&s);
    test_convert();
    test_help();
    test_wrong_usage();
    test_failures();
    shop_free(&s);
    return tap_done();
}
