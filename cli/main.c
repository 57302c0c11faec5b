/* main.c: `medley VERB ...`: finds the verb, installs progress and signal handling, runs it. */
#include "cli/describe.h"

#include "base/pool.h"
#include "base/str.h"
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_interrupt(int signal_number)
{
    interrupt_request();
    signal(signal_number, SIG_DFL); /* a second Ctrl-C ends at once */
}

static const char doc[] =
    "Interpretable ensembles for product search: is a product an exact match, a\n"
    "substitute, a complement of the query, or irrelevant?";

static void print_help(FILE *out)
{
    fprintf(out, "Usage: medley VERB [OPTION...]\n%s\n\nVerbs:\n", doc);
    for (const struct verb *v = verbs; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->summary);
    fprintf(out, "\nStart with:   medley init my-shop && medley run -C my-shop\n"
                 "Each verb:    medley VERB --help\n"
                 "Exit status:  0 done, 1 failed, 2 wrong usage\n");
}

int cli_fail(const medley_error *err)
{
    terminal_clear();
    fprintf(stderr, "medley: %s\n", err->message);
    return 1;
}

int cli_usage(const char *verb, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "medley %s: ", verb);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry 'medley %s --help'.\n", verb);
    va_end(args);
    return 2;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    if (describe_asked(argc, argv))
        exit(describe_argp(argv[0], argp));
    argp_err_exit_status = 2;
    error_t e = argp_parse(argp, argc, argv, 0, NULL, input);
    if (e) {
        fprintf(stderr, "%s: %s\n", argv[0], strerror(e));
        exit(2);
    }
}

unsigned long long cli_count(const char *option, const char *text, unsigned long long min,
                             unsigned long long max)
{
    uint64_t v;
    if (!str_to_u64(str_of(text), &v) || v < min || v > max) {
        fprintf(stderr, "medley: %s: '%s' is not a whole number from %llu to %llu\n", option,
                text, min, max);
        exit(2);
    }
    return v;
}

double cli_number(const char *option, const char *text, double min, double max)
{
    double v;
    if (!str_to_double(str_of(text), &v) || v < min || v > max) {
        fprintf(stderr, "medley: %s: '%s' is not a number from %g to %g\n", option, text, min,
                max);
        exit(2);
    }
    return v;
}

static int run(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("medley %s\n", medley_version());
        return 0;
    }
    if (describe_asked(argc, argv))
        return describe_verbs("medley", doc, verbs);
    for (const struct verb *v = verbs; v->name; v++) {
        if (strcmp(argv[1], v->name) != 0)
            continue;
        static char name[64];
        snprintf(name, sizeof name, "medley %s", v->name);
        argv[1] = name;
        terminal_install();
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
        signal(SIGPIPE, SIG_IGN);
        return v->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "medley: unknown verb '%s'\nTry 'medley --help'.\n", argv[1]);
    return 2;
}

/* What could not be written is a failure: a full disk, but not a reader that has seen enough.
 */
static int flushed(int status)
{
    bool lost = ferror(stdout);
    errno = 0;
    if (fflush(stdout) != 0 || lost) {
        if (errno != EPIPE)
            fprintf(stderr, "medley: cannot write to standard output: %s\n",
                    errno ? strerror(errno) : "write error");
        return status ? status : 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    return flushed(run(argc, argv));
}
