/* terminal.c: the progress sink of the command line. On a terminal one line is redrawn in
 * place, at most ten times a second; elsewhere (a log file, CI) a plain line appears about
 * every ten seconds and at the end of each task. base/progress.c calls it under its lock, one
 * call at a time. */
#include "cli/terminal.h"

#include "base/cpu.h"
#include "base/progress.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_TASKS 8
#define REDRAW 0.1 /* seconds */
#define LINES 10.0
#define BAR 24 /* cells */

/* A task under way, known by its name. */
struct task {
    char name[64]; /* empty: free */
    char unit[24];
    double started, shown; /* clock_seconds */
    uint64_t first; /* done when it was first seen: resumed work does not raise the rate */
    uint64_t done, total;
};

static struct task tasks[MAX_TASKS];
static bool is_terminal, line_drawn;

static struct task *task_named(const char *name)
{
    struct task *oldest = &tasks[0];
    for (struct task *t = tasks; t < tasks + MAX_TASKS; t++) {
        if (t->name[0] && strncmp(t->name, name, sizeof t->name - 1) == 0)
            return t;
        if (t->started < oldest->started)
            oldest = t;
    }
    memset(oldest, 0, sizeof *oldest); /* the ninth at once replaces the oldest */
    return oldest;
}

static void wipe(void)
{
    if (line_drawn)
        fputs("\r\033[K", stderr);
    line_drawn = false;
}

void terminal_clear(void)
{
    wipe();
    fflush(stderr);
}

static void format_duration(double seconds, char *out, size_t n)
{
    if (seconds < 0 || seconds > 360000) {
        snprintf(out, n, "?");
        return;
    }
    unsigned s = (unsigned)(seconds + 0.5);
    if (s < 60)
        snprintf(out, n, "%us", s);
    else if (s < 3600)
        snprintf(out, n, "%um%02us", s / 60, s % 60);
    else
        snprintf(out, n, "%uh%02um", s / 3600, s / 60 % 60);
}

static void format_rate(double rate, char *out, size_t n)
{
    if (rate >= 1e6)
        snprintf(out, n, "%.1fM", rate / 1e6);
    else if (rate >= 1e4)
        snprintf(out, n, "%.0fk", rate / 1e3);
    else
        snprintf(out, n, rate >= 100 ? "%.0f" : "%.1f", rate);
}

/* "task  37% [=====>    ] 370/1000 pairs, 41.2/s, 15s left" without the bar outside terminals.
 */
static void format_task(const struct task *t, double now, char *out, size_t n)
{
    char rate_text[32], time_text[32], bar[BAR + 1] = "";
    double elapsed = now - t->started;
    double rate = elapsed > 0 ? (double)(t->done - t->first) / elapsed : 0;
    format_rate(rate, rate_text, sizeof rate_text);
    if (t->total == 0) {
        snprintf(out, n, "%s: %" PRIu64 " %s, %s/s", t->name, t->done, t->unit, rate_text);
        return;
    }
    double part = (double)t->done / (double)t->total;
    if (is_terminal) {
        int filled = (int)(part * BAR);
        for (int i = 0; i < BAR; i++)
            bar[i] = i < filled ? '=' : ' ';
    }
    format_duration(rate > 0 ? (double)(t->total - t->done) / rate : -1, time_text,
                    sizeof time_text);
    const char *open = is_terminal ? "[" : "", *close = is_terminal ? "] " : "";
    snprintf(out, n, "%s: %3u%% %s%s%s%" PRIu64 "/%" PRIu64 " %s, %s/s, %s left", t->name,
             (unsigned)(part * 100), open, bar, close, t->done, t->total, t->unit, rate_text,
             time_text);
}

/* A line longer than the terminal would wrap and could not be redrawn in place. */
static void draw(const char *text)
{
    struct winsize size;
    int width =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
    fprintf(stderr, "\r%.*s\033[K", width - 1, text);
    fflush(stderr);
    line_drawn = true;
}

static void on_step(void *context, const char *name, uint64_t done, uint64_t total,
                    const char *unit)
{
    (void)context;
    struct task *t = task_named(name);
    double now = clock_seconds();
    if (!t->name[0]) {
        snprintf(t->name, sizeof t->name, "%s", name);
        snprintf(t->unit, sizeof t->unit, "%s", unit ? unit : "steps");
        t->started = now;
        t->first = done;
        t->shown = is_terminal ? 0 : now;
    }
    t->total = total;
    t->done = total && done > total ? total : done;
    if (t->done < t->first) /* the caller began anew */
        t->first = t->done, t->started = now;
    if (now - t->shown < (is_terminal ? REDRAW : LINES))
        return;
    char text[256];
    format_task(t, now, text, sizeof text);
    t->shown = now;
    if (is_terminal)
        draw(text);
    else
        fprintf(stderr, "%s\n", text);
}

static void on_end(void *context, const char *name)
{
    (void)context;
    struct task *t = task_named(name);
    if (!t->name[0])
        return; /* never stepped: nothing worth a line */
    char rate[32], duration[32];
    double elapsed = clock_seconds() - t->started;
    format_rate(elapsed > 0 ? (double)(t->done - t->first) / elapsed : 0, rate, sizeof rate);
    format_duration(elapsed, duration, sizeof duration);
    wipe();
    fprintf(stderr, "%s: done, %" PRIu64 " %s in %s (%s/s)\n", t->name, t->done, t->unit,
            duration, rate);
    memset(t, 0, sizeof *t);
}

static void on_note(void *context, const char *message)
{
    (void)context;
    wipe();
    fprintf(stderr, "%s\n", message);
}

void terminal_install(void)
{
    static const struct progress_sink sink = {on_step, on_end, on_note, NULL};
    is_terminal = isatty(STDERR_FILENO);
    progress_install(&sink);
}
