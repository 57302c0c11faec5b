/* test_base_terminal.c: the progress display of the command line, on a file and on a terminal
 * of our own (a pseudo terminal). The display is part of the program, not of the library: it is
 * included. */
#include "cli/terminal.c"
#include "tests/tap.h"

#include <fcntl.h>
#include <poll.h>

/* Runs `work` with stderr sent to `fd`, which stays open. */
static void with_stderr(int fd, void (*work)(void))
{
    int kept = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    terminal_install();
    work();
    terminal_clear();
    progress_install(NULL);
    dup2(kept, STDERR_FILENO);
    close(kept);
}

static void two_tasks(void)
{
    for (uint64_t i = 0; i <= 1000; i++) {
        progress_step("train bert", i, 1000, "pairs");
        progress_step("read", i, 0, "rows");
    }
    progress_note("a note");
    progress_end("train bert");
    progress_end("read");
    progress_end("never begun");
}

static void slow_task(void)
{
    for (uint64_t i = 0; i < 3; i++) {
        progress_step("import", i, 4, "rows");
        usleep(120000);
    }
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void test_plain_lines(void)
{
    char text[4096] = "", path[] = "/tmp/medley-terminal-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    with_stderr(fd, two_tasks);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    ok(n > 0 && count(text, "\n") == 3 && !strchr(text, '\r'),
       "a file gets one line per event");
    ok(strstr(text, "a note\ntrain bert: done, 1000 pairs in ") &&
           strstr(text, "read: done, 1000 rows"),
       "tasks are told apart by name: %zu lines", count(text, "\n"));
    close(fd);
}

/* The kernel hands a terminal's text over in its own time: all there is once it is quiet. */
static size_t read_until_quiet(int fd, char *text, size_t room)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    size_t n = 0;
    while (n < room && poll(&ready, 1, 500) == 1) {
        ssize_t got = read(fd, text + n, room - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

static void test_terminal(void)
{
    char text[4096] = "";
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) {
        skip("no pseudo terminals here");
        return;
    }
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_row = 24, .ws_col = 60};
    ioctl(slave, TIOCSWINSZ, &size);
    with_stderr(slave, slow_task);
    size_t n = read_until_quiet(master, text, sizeof text - 1);
    ok(n > 0 && count(text, "\rimport:") == 3, "the line is redrawn in place");
    ok(strstr(text, "import:  50% [============            ] 2/4 rows") != NULL, "with a bar");
    ok(count(text, "\n") == 0 && strstr(text, "\r\033[K"), "and wiped in the end");
    size_t longest = 0;
    for (char *part = text, *next; (next = strchr(part + 1, '\r')); part = next)
        longest = (size_t)(next - part) > longest ? (size_t)(next - part) : longest;
    ok(longest <= 60 + 3, "never wider than the terminal (%zu bytes)", longest);
    close(slave);
    close(master);
}

static void test_durations(void)
{
    char text[32];
    format_duration(59.2, text, sizeof text);
    is_text(text, "59s", "seconds");
    format_duration(61, text, sizeof text);
    is_text(text, "1m01s", "minutes");
    format_duration(3 * 3600 + 5 * 60, text, sizeof text);
    is_text(text, "3h05m", "hours");
    format_duration(-1, text, sizeof text);
    is_text(text, "?", "unknown");
    format_rate(41.23, text, sizeof text);
    is_text(text, "41.2", "rate");
    format_rate(2.5e6, text, sizeof text);
    is_text(text, "2.5M", "large rate");
}

int main(void)
{
    test_plain_lines();
    test_terminal();
    test_durations();
    return tap_done();
}
