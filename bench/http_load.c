/* http_load.c: a closed-loop load generator: so many connections, one request in flight on
 * each, bodies from a file, drawn evenly, in order or by Zipf's law. One thread and epoll, so
 * that on a machine of two cores the server has at least one for itself. Prints one JSON
 * object: requests, failures, answered pairs, seconds, requests a second, percentiles of
 * latency in microseconds, bytes of a body. A closed loop does not see what a queue would do to
 * clients that do not wait; compare servers at equal connections.
 *
 *   http_load --port 8080 --path /v1/classify --bodies lists.jsonl --connections 16 --seconds 5
 *
 * --requests N instead of --seconds; --warm N first, unmeasured; --order even|sequence|zipf;
 * --close-after N: a connection is closed and made anew after N requests. */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, BUFFER = 4 << 20 };

struct connection {
    int fd;
    char *in;    /* [BUFFER] */
    size_t have; /* bytes of the answer so far */
    size_t need; /* of head and body; 0: not known yet */
    size_t body, sent;
    double began;
    unsigned served;
};

enum order { EVEN, SEQUENCE, ZIPF };

struct load {
    int port, connections;
    const char *path, *bodies_file;
    enum order order;
    double seconds;
    size_t requests, warm, close_after;
    uint64_t seed;
    /* requests ready to be sent, head and body */
    struct str *bodies;
    size_t n_bodies;
    double *cumulative; /* zipf: [n_bodies] */
    struct rng rng;
    size_t next;
    /* what was measured */
    float *latency; /* [capacity], microseconds */
    size_t done, capacity, failures, answer_bytes;
};

static void die(const char *what)
{
    fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_bodies(struct load *l)
{
    FILE *f = fopen(l->bodies_file, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    if (!f)
        die(l->bodies_file);
    while ((n = getline(&line, &room, f)) > 0) {
        struct strbuf b;
        sb_init(&b);
        if (line[n - 1] == '\n')
            n--;
        sb_addf(&b,
                "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                "application/json\r\nContent-Length: "
                "%zd\r\n\r\n",
                l->path, n);
        sb_add(&b, line, (size_t)n);
        if (l->n_bodies % 1024 == 0)
            l->bodies = realloc(l->bodies, (l->n_bodies + 1024) * sizeof *l->bodies);
        if (!l->bodies || b.failed)
            die("bodies");
        l->bodies[l->n_bodies++] = sb_str(&b);
    }
    free(line);
    fclose(f);
    if (!l->n_bodies)
        die("no bodies");
    l->cumulative = malloc(l->n_bodies * sizeof *l->cumulative);
    double sum = 0;
    for (size_t i = 0; i < l->n_bodies; i++)
        l->cumulative[i] = sum += 1 / (double)(i + 1);
}

static size_t draw(struct load *l)
{
    if (l->order == SEQUENCE)
        return l->next++ % l->n_bodies;
    if (l->order == EVEN)
        return rng_below(&l->rng, (uint32_t)l->n_bodies);
    double u =
        (double)rng_below(&l->rng, UINT32_MAX) / 4294967295.0 * l->cumulative[l->n_bodies - 1];
    size_t low = 0, high = l->n_bodies - 1;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (l->cumulative[mid] < u)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void dial(const struct load *l, struct connection *c, int epoll)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd,
                  &(struct epoll_event){.events = EPOLLIN, .data.ptr = c}) != 0)
        die("epoll");
    c->served = 0;
}

/* Bodies are some kilobytes: the socket takes them at once, or this waits. */
static void ask(struct load *l, struct connection *c)
{
    c->body = draw(l);
    c->have = c->need = 0;
    c->began = clock_seconds();
    struct str b = l->bodies[c->body];
    for (c->sent = 0; c->sent < b.n;) {
        ssize_t n = send(c->fd, b.s + c->sent, b.n - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            die("send");
        c->sent += n > 0 ? (size_t)n : 0;
    }
}

/* Sets c->need once the head is there. */
static void read_head(struct connection *c)
{
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end)
        return;
    *end = 0; /* of the last header line; the body begins after it */
    char *length = strcasestr(c->in, "content-length:");
    if (!length)
        die("an answer without Content-Length");
    c->need = (size_t)(end + 4 - c->in) + strtoul(length + 15, NULL, 10);
    if (c->need > BUFFER)
        die("an answer too long");
}

/* True when the answer is complete. */
static bool receive(struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, BUFFER - c->have, 0);
    if (n < 0 && errno == EINTR)
        return false;
    if (n <= 0)
        die("the server closed the connection");
    c->have += (size_t)n;
    if (!c->need)
        read_head(c);
    return c->need && c->have >= c->need;
}

static void note(struct load *l, const struct connection *c, double now)
{
    if (l->done == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 1 << 20;
        l->latency = realloc(l->latency, l->capacity * sizeof *l->latency);
        if (!l->latency)
            die("latencies");
    }
    l->latency[l->done++] = (float)((now - c->began) * 1e6);
    l->failures += strncmp(c->in, "HTTP/1.1 200", 12) != 0;
    l->answer_bytes += c->need;
}

static void run(struct load *l, struct connection *all, int epoll, size_t requests,
                double seconds)
{
    struct epoll_event events[64];
    size_t begun = 0, ended = 0;
    double start = clock_seconds();
    for (int i = 0; i < l->connections && begun < requests; i++, begun++)
        ask(l, &all[i]);
    while (ended < begun) {
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c))
                continue;
            double now = clock_seconds();
            note(l, c, now);
            ended++;
            if (l->close_after && ++c->served == l->close_after) {
                close(c->fd);
                dial(l, c, epoll);
            }
            if (begun < requests && now - start < seconds)
                begun++, ask(l, c);
        }
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct load *l, double p)
{
    return l->done ? (double)l->latency[(size_t)(p * (double)(l->done - 1))] : NAN;
}

static void take(struct load *l, const char *key, const char *value)
{
    if (strcmp(key, "--port") == 0)
        l->port = atoi(value);
    else if (strcmp(key, "--path") == 0)
        l->path = value;
    else if (strcmp(key, "--bodies") == 0)
        l->bodies_file = value;
    else if (strcmp(key, "--connections") == 0)
        l->connections = atoi(value);
    else if (strcmp(key, "--seconds") == 0)
        l->seconds = strtod(value, NULL);
    else if (strcmp(key, "--requests") == 0)
        l->requests = strtoul(value, NULL, 10);
    else if (strcmp(key, "--warm") == 0)
        l->warm = strtoul(value, NULL, 10);
    else if (strcmp(key, "--close-after") == 0)
        l->close_after = strtoul(value, NULL, 10);
    else if (strcmp(key, "--seed") == 0)
        l->seed = strtoul(value, NULL, 10);
    else if (strcmp(key, "--order") == 0)
        l->order = strcmp(value, "zipf") == 0       ? ZIPF
                   : strcmp(value, "sequence") == 0 ? SEQUENCE
                                                    : EVEN;
    else {
        fprintf(stderr, "http_load: what is %s?\n", key);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct connection all[MAX_CONNECTIONS];
    struct load l = {.path = "/v1/classify",
                     .connections = 8,
                     .seconds = 1e9,
                     .requests = SIZE_MAX,
                     .seed = 1};
    for (int i = 1; i + 1 < argc; i += 2)
        take(&l, argv[i], argv[i + 1]);
    if (!l.port || !l.bodies_file || l.connections < 1 || l.connections > MAX_CONNECTIONS) {
        fprintf(
            stderr,
            "http_load: --port and --bodies are needed; see the top of bench/http_load.c\n");
        return 2;
    }
    rng_init(&l.rng, l.seed, 0);
    read_bodies(&l);
    int epoll = epoll_create1(0);
    for (int i = 0; i < l.connections; i++) {
        if (!(all[i].in = malloc(BUFFER + 1)))
            die("buffers");
        dial(&l, &all[i], epoll);
    }
    if (l.warm) {
        run(&l, all, epoll, l.warm, 1e9);
        l.done = l.failures = l.answer_bytes = 0;
    }
    double start = clock_seconds();
    run(&l, all, epoll, l.requests, l.seconds);
    double seconds = clock_seconds() - start;
    qsort(l.latency, l.done, sizeof *l.latency, compare);
    printf("{\"requests\": %zu, \"failures\": %zu, \"seconds\": %.3f, \"per_s\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": "
           "%.1f, \"p999_us\": %.1f, \"answer_bytes\": %.1f}\n",
           l.done, l.failures, seconds, (double)l.done / seconds, percentile(&l, .5),
           percentile(&l, .99), percentile(&l, .999),
           l.done ? (double)l.answer_bytes / (double)l.done : 0);
    return l.failures ? 3 : 0;
}
