/* test_gbdt_rank.c: `medley gbdt rank` as a black box (the program is in $MEDLEY): JSON whose
 * values add up, players in order, features of nobody, sampling, usage errors. */
#include "tests/tap.h"

#include "base/json.h"
#include "base/npy.h"
#include "tests/gbdt_help.h"

#include <sys/wait.h>

#define SEED 20261124u
enum { N = 900, HELD = 600, F = 9 };
#define DATA "-f x.npy -y y.npy --valid-features v.npy --valid-labels vy.npy --rounds 8 "

static char folder[64], data[65536], talk[4096];

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

/* `medley gbdt rank ARGUMENTS` in the folder; its exit status. */
static int run(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && '%s' gbdt rank %s >stdout 2>stderr </dev/null",
             folder, getenv("MEDLEY"), arguments);
    int status = system(command);
    slurp("stdout", data, sizeof data);
    slurp("stderr", talk, sizeof talk);
    for (char *p = talk; (p = strchr(p, '\n'));)
        *p = ' ';
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_files(const struct shop *s)
{
    static const struct {
        const char *x, *y;
        size_t first, n;
    } parts[] = {{"x.npy", "y.npy", 0, N}, {"v.npy", "vy.npy", N, HELD}};
    char path[160];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i].x);
        npy_write(path, NPY_F32, parts[i].n, F, s->x + parts[i].first * F, NULL);
        snprintf(path, sizeof path, "%s/%s", folder, parts[i].y);
        npy_write(path, NPY_U8, parts[i].n, 0, s->y + parts[i].first, NULL);
    }
}

static double field(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

/* Values add up and come in order; the largest standard error. */
static double check_metric(const json *metric, const char *name, double sign)
{
    double sum = 0, last = INFINITY, error = 0;
    bool ordered = true;
    const json *players = json_get(metric, "players");
    for (const json *p = json_first(players); p; p = json_next(p)) {
        double v = field(p, "value");
        ordered = ordered && sign * v <= last;
        last = sign * v;
        sum += v;
        error = fmax(error, field(p, "standard_error"));
    }
    ok(fabs(sum - (field(metric, "all") - field(metric, "none"))) < 1e-9 && sum != 0,
       "%s: %zu values add up to %g", name, json_count(players), sum);
    ok(ordered, "best first");
    return error;
}

static json *ranked(const char *arguments)
{
    json *root = NULL;
    int status = run(arguments);
    ok(status == 0 && json_parse(str_of(data), "stdout", &root, NULL) == MEDLEY_OK, "%s: %d %s",
       arguments, status, talk);
    return root;
}

static void test_json(void)
{
    json *root = ranked(DATA "--players a=0-2,b=3-5,c=6-8 --json --metric log_loss");
    const json *metrics = json_get(root, "metrics"), *loss = json_get(metrics, "log_loss");
    const json *first = json_first(json_get(loss, "players"));
    bool exact = false;
    ok(field(root, "rows") == N && field(root, "held_out_rows") == HELD, "rows of both tables");
    ok(field(root, "refits") == 7 && json_as_bool(json_get(root, "exact"), &exact) && exact,
       "seven refits, exact");
    ok(check_metric(loss, "log-loss", -1) == 0, "exact values have no error");
    ok(field(first, "alone") < field(loss, "none") &&
           field(first, "all_but_it") > field(loss, "all"),
       "the best player alone beats nobody, and is missed");
    json_free(root);
    root = ranked(DATA "--players a=0-2,b=3-5 --json");
    metrics = json_get(root, "metrics");
    ok(check_metric(json_get(metrics, "macro_f1"), "macro-F1", 1) == 0 &&
           field(root, "refits") == 4,
       "with features of nobody even the empty coalition is refitted");
    json_free(root);
}

static void test_sampled(void)
{
    json *root = ranked(DATA "--players a=0,b=1,c=2,d=3-5,e=6-8 --exact 4 --refits 40 --json");
    bool exact = true;
    ok(json_as_bool(json_get(root, "exact"), &exact) && !exact, "more players than --exact");
    ok(check_metric(json_get(json_get(root, "metrics"), "macro_f1"), "macro-F1", 1) > 0,
       "sampled values have a standard error");
    json_free(root);
}

static void test_text(void)
{
    ok(run(DATA "--players a=0-2,b=3-5,c=6-8") == 0 && strstr(data, "macro_f1") &&
           strstr(data, "\na ") && strstr(data, "(none)") && strstr(data, "(all)"),
       "a table for people");
}

static void test_refusals(void)
{
    ok(run("-f x.npy -y y.npy --players a=0") == 2 && strstr(talk, "--valid-features"),
       "held-out rows are needed: %s", talk);
    ok(run(DATA) == 2 && strstr(talk, "--players"), "players are needed");
    ok(run(DATA "--players a=0 --metric auc") == 2 && strstr(talk, "auc"), "unknown metric: %s",
       talk);
    ok(run(DATA "--players a=0-99") == 1 && talk[0], "no such feature: %s", talk);
    ok(run(DATA "--players a=0 --exact 30") == 2, "too many to play all: %s", talk);
    ok(run("-f x.npy -y y.npy --valid-features x.npy --valid-labels vy.npy --players a=0") ==
               1 &&
           talk[0],
       "labels that do not fit: %s", talk);
}

int main(void)
{
    if (!getenv("MEDLEY")) {
        skip("MEDLEY names no program");
        return tap_done();
    }
    snprintf(folder, sizeof folder, "%s", tap_folder());
    struct shop s = shop_new(N + HELD, 3, 3, SEED);
    write_files(&s);
    test_json();
    test_sampled();
    test_text();
    test_refusals();
    shop_free(&s);
    return tap_done();
}
