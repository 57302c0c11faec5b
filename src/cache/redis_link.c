/* redis_link.c: sockets with a deadline, for the Redis tier; see redis_link.h. */
#include "cache/redis_link.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 16384
#define MOST_UNREAD ((size_t)4 << 20) /* a server that sends more is not one */

/* ---- places ------------------------------------------------------------------------------ */

static medley_status parse_path(const char *text, struct redis_place *p, medley_error *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(text) >= sizeof at.sun_path)
        return fail(err, MEDLEY_EINVAL, "'%.200s': too long for the path of a socket", text);
    memcpy(at.sun_path, text, strlen(text));
    memcpy(&p->address, &at, sizeof at);
    p->length = sizeof at;
    p->family = AF_UNIX;
    p->path = mem_strdup(text);
    return p->path ? MEDLEY_OK : fail_memory(err, "an address");
}

static medley_status refuse_place(const char *text, medley_error *err)
{
    return fail(err, MEDLEY_EINVAL,
                "'%.200s': expected host:port, host:port/database or the /path of a socket",
                text);
}

static medley_status parse_host(const char *text, struct redis_place *p, medley_error *err)
{
    uint64_t number;
    const char *slash = strrchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    const char *colon = memrchr(text, ':', n);
    if (!colon || colon == text)
        return refuse_place(text, err);
    struct str host = {text, (size_t)(colon - text)};
    struct str port = {colon + 1, n - host.n - 1};
    if (host.n > 2 && host.s[0] == '[' && host.s[host.n - 1] == ']')
        host = (struct str){host.s + 1, host.n - 2};
    else if (memchr(host.s, ':', host.n))
        return refuse_place(text, err);
    if (!str_to_u64(port, &number) || number < 1 || number > 65535)
        return refuse_place(text, err);
    if (slash && (!str_to_u64(str_of(slash + 1), &number) || number > 10000))
        return refuse_place(text, err);
    p->database = slash ? (unsigned)number : 0;
    p->host = mem_strndup(host.s, host.n);
    p->port = mem_strndup(port.s, port.n);
    return p->host && p->port ? MEDLEY_OK : fail_memory(err, "an address");
}

medley_status redis_place_parse(const char *text, struct redis_place *out, medley_error *err)
{
    struct redis_place p = {.family = AF_UNSPEC};
    medley_status st = *text == '/' ? parse_path(text, &p, err) : parse_host(text, &p, err);
    if (st)
        redis_place_deinit(&p);
    else
        *out = p;
    return st;
}

void redis_place_deinit(struct redis_place *p)
{
    mem_free(p->host);
    mem_free(p->port);
    mem_free(p->path);
    *p = (struct redis_place){0};
}

/* ---- waiting ----------------------------------------------------------------------------- */

static medley_status wait_for(int fd, short what, double deadline, medley_error *err)
{
    for (;;) {
        double left = deadline - clock_seconds();
        struct pollfd p = {.fd = fd, .events = what};
        /* Rounded up: a wait of 0 ms that is not over yet would spin. */
        int n = left <= 0 ? 0 : poll(&p, 1, (int)(left * 1e3) + 1);
        if (n > 0)
            return MEDLEY_OK;
        if (n == 0)
            return fail(err, MEDLEY_EIO, "redis did not answer in time");
        if (errno != EINTR)
            return fail(err, MEDLEY_EIO, "redis: %s", strerror(errno));
    }
}

medley_status redis_link_send(struct redis_link *l, struct str bytes, double deadline,
                              medley_error *err)
{
    while (bytes.n > 0) {
        ssize_t n = send(l->fd, bytes.s, bytes.n, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes = (struct str){bytes.s + n, bytes.n - (size_t)n};
        } else if (errno == EAGAIN || errno == EINTR) {
            medley_status st = wait_for(l->fd, POLLOUT, deadline, err);
            if (st)
                return st;
        } else {
            return fail(err, MEDLEY_EIO, "redis: %s", strerror(errno));
        }
    }
    return MEDLEY_OK;
}

static medley_status receive(struct redis_link *l, double deadline, medley_error *err)
{
    if (l->used) { /* what was read makes room */
        memmove(l->in.s, l->in.s + l->used, l->in.n - l->used);
        l->in.n -= l->used;
        l->used = 0;
    }
    if (l->in.n > MOST_UNREAD)
        return fail(err, MEDLEY_EFORMAT, "redis sent what is no reply");
    for (;;) {
        char part[READ_BYTES];
        ssize_t n = recv(l->fd, part, sizeof part, 0);
        if (n > 0) {
            sb_add(&l->in, part, (size_t)n);
            return l->in.failed ? fail_memory(err, "a reply of redis") : MEDLEY_OK;
        }
        if (n == 0)
            return fail(err, MEDLEY_EIO, "redis hung up");
        if (errno != EAGAIN && errno != EINTR)
            return fail(err, MEDLEY_EIO, "redis: %s", strerror(errno));
        medley_status st = wait_for(l->fd, POLLIN, deadline, err);
        if (st)
            return st;
    }
}

medley_status redis_link_reply(struct redis_link *l, double deadline, struct resp *out,
                               medley_error *err)
{
    for (;;) {
        struct str unread = {l->in.s + l->used, l->in.n - l->used};
        l->used += resp_read(unread, out);
        if (out->kind == RESP_BAD)
            return fail(err, MEDLEY_EFORMAT, "redis sent what is no reply");
        if (out->kind != RESP_MORE)
            return MEDLEY_OK;
        /* Also where bytes keep coming: a server that dribbles is cut off as well. */
        if (clock_seconds() > deadline)
            return fail(err, MEDLEY_EIO, "redis did not answer in time");
        medley_status st = receive(l, deadline, err);
        if (st)
            return st;
    }
}

/* ---- connecting -------------------------------------------------------------------------- */

static medley_status connect_to(const struct sockaddr *at, socklen_t length, double deadline,
                                int *out, medley_error *err)
{
    int on = 1, e = 0;
    socklen_t n = sizeof e;
    medley_status st = MEDLEY_OK;
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, MEDLEY_EIO, "redis: %s", strerror(errno));
    if (connect(fd, at, length) != 0) {
        e = errno;
        if (e == EINPROGRESS && !(st = wait_for(fd, POLLOUT, deadline, err)) &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
            e = errno;
    }
    if (!st && e)
        st = fail(err, MEDLEY_EIO, "cannot connect to redis: %s", strerror(e));
    if (st) {
        close(fd);
        return st;
    }
    if (at->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *out = fd;
    return MEDLEY_OK;
}

static medley_status look_up_and_connect(struct redis_place *p, double deadline, int *out,
                                         medley_error *err)
{
    struct addrinfo *found = NULL;
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int e = getaddrinfo(p->host, p->port, &wanted, &found);
    if (e)
        return fail(err, MEDLEY_EIO, "cannot find redis at '%s': %s", p->host, gai_strerror(e));
    medley_status st = fail(err, MEDLEY_EIO, "redis at '%s' has no address", p->host);
    for (const struct addrinfo *a = found; a && st; a = a->ai_next) {
        st = connect_to(a->ai_addr, a->ai_addrlen, deadline, out, err);
        if (!st) {
            memcpy(&p->address, a->ai_addr, a->ai_addrlen);
            p->length = a->ai_addrlen;
        }
    }
    freeaddrinfo(found);
    return st;
}

/* One command whose answer is a line. */
static medley_status greet(struct redis_link *l, const char *command, const char *argument,
                           double deadline, medley_error *err)
{
    struct strbuf bytes;
    struct resp reply;
    sb_init(&bytes);
    resp_command(&bytes, 2);
    resp_argument(&bytes, str_of(command));
    resp_argument(&bytes, str_of(argument));
    medley_status st = bytes.failed ? fail_memory(err, "a command")
                                    : redis_link_send(l, sb_str(&bytes), deadline, err);
    sb_deinit(&bytes);
    if (!st)
        st = redis_link_reply(l, deadline, &reply, err);
    if (!st && reply.kind != RESP_LINE)
        st = fail(err, MEDLEY_EIO, "redis refuses %s: %.*s", command, (int)reply.text.n,
                  reply.text.n ? reply.text.s : "");
    return st;
}

medley_status redis_link_open(struct redis_place *p, const char *password, double deadline,
                              struct redis_link **out, medley_error *err)
{
    struct redis_link *l = mem_zalloc(1, sizeof *l);
    char number[16];
    if (!l)
        return fail_memory(err, "a connection to redis");
    l->fd = -1;
    sb_init(&l->in);
    medley_status st =
        p->length ? connect_to((struct sockaddr *)&p->address, p->length, deadline, &l->fd, err)
                  : look_up_and_connect(p, deadline, &l->fd, err);
    if (!st && password)
        st = greet(l, "AUTH", password, deadline, err);
    snprintf(number, sizeof number, "%u", p->database);
    if (!st && p->database)
        st = greet(l, "SELECT", number, deadline, err);
    if (st)
        redis_link_close(l);
    else
        *out = l;
    return st;
}

void redis_link_close(struct redis_link *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    sb_deinit(&l->in);
    mem_free(l);
}
