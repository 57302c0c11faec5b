/* sub_verbs.c: verbs that are made of sub-verbs (gbdt, lm, gnn): help, description, which one.
 */
#include "cli/describe.h"

#include <stdio.h>
#include <string.h>

static int print_help(FILE *out, const char *verb, const char *doc, const struct verb *list)
{
    fprintf(out, "Usage: medley %s SUBVERB [OPTION...]\n%s\n\n", verb, doc);
    for (const struct verb *v = list; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->summary);
    fprintf(out, "\nEach of them:  medley %s SUBVERB --help\n", verb);
    return out == stdout ? 0 : 2;
}

int cli_sub_verbs(const char *verb, const char *doc, const struct verb *list, int argc,
                  char **argv)
{
    static char name[64];
    char expected[256] = "";
    if (argc < 2)
        return print_help(stderr, verb, doc, list);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0)
        return print_help(stdout, verb, doc, list);
    if (describe_asked(argc, argv))
        return describe_verbs(argv[0], doc, list);
    for (const struct verb *v = list; v->name; v++) {
        if (strcmp(argv[1], v->name) == 0) {
            snprintf(name, sizeof name, "medley %s %s", verb, v->name);
            argv[1] = name;
            return v->run(argc - 1, argv + 1);
        }
        size_t n = strlen(expected);
        snprintf(expected + n, sizeof expected - n, "%s%s",
                 v == list   ? ""
                 : v[1].name ? ", "
                             : " or ",
                 v->name);
    }
    return cli_usage(verb, "unknown sub-verb '%s' (expected %s)", argv[1], expected);
}
