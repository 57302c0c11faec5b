/* test_gbdt_example.c: examples/gbdt.c, which uses public headers alone, does what it says. */
#include "tests/tap.h"

int example_main(int argc, char **argv);
#define main example_main
#include "examples/gbdt.c"
#undef main

int main(void)
{
    char folder[64], program[] = "gbdt", text[2048], path[128];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    char *argv[] = {program, folder, NULL};
    snprintf(path, sizeof path, "%s/stdout", folder);
    fflush(stdout);
    int terminal = dup(1);
    int status = freopen(path, "w", stdout) ? example_main(2, argv) : -1;
    fflush(stdout);
    dup2(terminal, 1);
    FILE *f = fopen(path, "r");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    int right = 0;
    float bert = 0, sage = 0, here = 0, there = -1;
    const char *b = strstr(text, "bert: "), *s = strstr(text, "sage: ");
    const char *last = strstr(text, "model.json: ");
    ok(status == 0 && b && s && last, "the example runs");
    if (!b || !s || !last)
        return tap_done();
    int read = sscanf(text, "right: %d of 1000", &right);
    ok(read == 1 && right > 650, "%d rows of 1000 are right", right);
    read = sscanf(b, "bert: %f", &bert) + sscanf(s, "sage: %f", &sage);
    ok(read == 2 && fabsf(bert) + fabsf(sage) > 0.1f, "players have values: %g, %g",
       (double)bert, (double)sage);
    read = sscanf(last, "model.json: %f, from XGBoost's file %f", &here, &there);
    ok(read == 2 && here == there, "the model came back: %g", (double)there);
    return tap_done();
}
