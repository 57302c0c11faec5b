/* server.c: starting and stopping; server.h says what. */
#include "serve/server_private.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HTTP_THREADS 2
#define SPARE_CONNECTIONS \
    64                 /* above those served: who gets one is told that there are too many */
#define OTHER_FILES 64 /* descriptors kept for files */
#define BACKLOG 511
#define MAX_CHANGES 4   /* of bundles that may wait */
#define MAX_SHADOWED 16 /* requests that wait for the shadow */
#define LAST_WAIT 0.5   /* seconds for an interrupted classification to return */

static void set_defaults(struct server_options *o)
{
    o->host = o->host ? o->host : "127.0.0.1";
    o->threads = o->threads ? o->threads : pool_threads();
    o->max_queue = o->max_queue ? o->max_queue : 128;
    o->max_body = o->max_body ? o->max_body : (size_t)4 << 20;
    o->cache_entries = o->cache_entries ? o->cache_entries : 100000;
    o->cache_bytes = o->cache_bytes ? o->cache_bytes : (size_t)64 << 20;
    o->max_connections = o->max_connections ? o->max_connections : 1000;
    o->idle_seconds = o->idle_seconds ? o->idle_seconds : 30;
    o->body_seconds = o->body_seconds ? o->body_seconds : 30;
    o->open = o->open ? o->open : engine_open_bundle;
}

/* ---- listening --------------------------------------------------------------------------- */

static int listen_on(const struct addrinfo *at)
{
    int on = 1;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* not refused after a restart */
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static void set_url(struct server *s)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(s->listen_fd, (struct sockaddr *)&address, &n) != 0 ||
        getnameinfo((struct sockaddr *)&address, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    bool six = address.ss_family == AF_INET6;
    uint64_t number = 0;
    if (str_to_u64(str_of(port), &number))
        s->port = (uint16_t)number;
    snprintf(s->url, sizeof s->url, "http://%s%.250s%s:%s", six ? "[" : "", host,
             six ? "]" : "", port);
}

/* The first of the host's addresses that can be had. */
static medley_status open_socket(struct server *s, medley_error *err)
{
    const char *host = s->options.host;
    char port[8];
    struct addrinfo *found = NULL;
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    snprintf(port, sizeof port, "%u", s->options.port);
    int e = getaddrinfo(host, port, &wanted, &found);
    if (e)
        return fail(err, MEDLEY_EINVAL, "cannot find the address of host '%s': %s", host,
                    gai_strerror(e));
    for (const struct addrinfo *a = found; a && s->listen_fd < 0; a = a->ai_next)
        s->listen_fd = listen_on(a);
    int problem = errno;
    freeaddrinfo(found);
    if (s->listen_fd < 0)
        return fail(err, MEDLEY_EIO, "cannot listen on %s port %u: %s", host, s->options.port,
                    strerror(problem));
    set_url(s);
    return MEDLEY_OK;
}

/* As many as were asked for, if so many files may be open. */
static unsigned connections_possible(unsigned wanted)
{
    struct rlimit files;
    rlim_t others = OTHER_FILES + SPARE_CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY ||
        files.rlim_cur >= wanted + others)
        return wanted;
    return files.rlim_cur > 2 * others ? (unsigned)(files.rlim_cur - others) : OTHER_FILES;
}

static void note_connection(void *server, struct MHD_Connection *connection, void **peer,
                            enum MHD_ConnectionNotificationCode what)
{
    struct server *s = server;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (what == MHD_CONNECTION_NOTIFY_STARTED && info)
        *peer = peer_open(&s->connections, info->connect_fd);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer_close(*peer);
        *peer = NULL;
    }
}

/* Its threads inherit a mask without signals: these are for the host's own threads. */
static medley_status start_daemon(struct server *s, medley_error *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL,
        request_access, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_THREAD_POOL_SIZE,
        HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, s->max_connections + SPARE_CONNECTIONS,
        MHD_OPTION_NOTIFY_CONNECTION, note_connection, s, MHD_OPTION_CONNECTION_TIMEOUT,
        s->options.idle_seconds, MHD_OPTION_NOTIFY_COMPLETED, request_completed, s,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    int e = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return s->daemon ? MEDLEY_OK
                     : fail(err, MEDLEY_EIO, "cannot start the HTTP threads: %s", strerror(e));
}

static medley_status make_cache(struct server *s, medley_error *err)
{
    const struct server_options *so = &s->options;
    struct label_cache_options o = {.folder = so->cache_folder,
                                    .disk_bytes = so->cache_disk_bytes,
                                    .admit_all = so->cache_admit_all,
                                    .redis = so->redis,
                                    .redis_password = so->redis_password,
                                    .redis_timeout_ms = so->redis_timeout_ms,
                                    .warn = so->warn,
                                    .warn_context = so->log_context,
                                    .entries = s->options.cache_entries,
                                    .bytes = s->options.cache_bytes,
                                    .ttl_ms = (int64_t)(s->options.cache_ttl * 1e3),
                                    .n_classes = s->deployments.active->engine.n_classes};
    if (s->options.no_cache)
        return MEDLEY_OK;
    medley_status st = label_cache_open(&o, &s->cache, err);
    if (!st)
        server_tidy_cache(s);
    return st;
}

static void server_free(struct server *s)
{
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    connections_stop(&s->connections);
    jobs_free(s->jobs);
    jobs_free(s->admin_jobs);
    jobs_free(s->shadow_jobs);
    label_cache_close(s->cache);
    product_texts_close(s->texts);
    flights_deinit(&s->flights);
    deployments_deinit(&s->deployments);
    recent_deinit(&s->recent);
    shadow_changes_deinit(&s->shadow_changes);
    pthread_mutex_destroy(&s->change_lock);
    mem_free(s);
}

medley_status server_start(const struct engine *engine, const struct server_options *options,
                           struct server **out, medley_error *err)
{
    struct server *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, "the server");
    s->options = *options;
    s->listen_fd = -1;
    s->started = clock_seconds();
    set_defaults(&s->options);
    s->max_connections = connections_possible(s->options.max_connections);
    if (getrandom(&s->id_seed, sizeof s->id_seed, GRND_NONBLOCK) != sizeof s->id_seed)
        s->id_seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
    pthread_mutex_init(&s->change_lock, NULL);
    recent_init(&s->recent);
    shadow_changes_init(&s->shadow_changes);
    flights_init(&s->flights);
    medley_status st = deployments_init(&s->deployments, engine, err);
    if (!st)
        st = make_cache(s, err);
    if (!st && s->options.products_folder)
        st = product_texts_open(s->options.products_folder, s->options.warn,
                                s->options.log_context, &s->texts, err);
    if (!st)
        st = jobs_start(s->options.threads, s->options.max_queue, &s->jobs, err);
    if (!st)
        st = jobs_start(1, MAX_CHANGES, &s->admin_jobs, err);
    if (!st)
        st = jobs_start(1, MAX_SHADOWED, &s->shadow_jobs, err);
    if (!st)
        st = connections_start(&s->connections, s->options.idle_seconds,
                               s->options.body_seconds, err);
    if (!st)
        st = open_socket(s, err);
    if (!st)
        st = start_daemon(s, err);
    if (st)
        server_free(s);
    else
        *out = s;
    return st;
}

uint16_t server_port(const struct server *s)
{
    return s->port;
}

const char *server_url(const struct server *s)
{
    return s->url;
}

/* ---- stopping ---------------------------------------------------------------------------- */

/* Until the counter is 0 or the time has come. Polling, because it happens once in a life. */
static bool wait_for_none(const atomic_uint_least64_t *counter, double until)
{
    while (atomic_load(counter) > 0) {
        if (clock_seconds() > until)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return true;
}

bool server_stop(struct server *s, double seconds)
{
    atomic_store(&s->draining, true);
    /* From here on clients are refused. The descriptor stays ours until the HTTP threads have
     * ended, so that none of them meets another file under its number. */
    if (MHD_quiesce_daemon(s->daemon) == MHD_INVALID_SOCKET)
        s->listen_fd = -1; /* MHD_stop_daemon will close it */
    else
        shutdown(s->listen_fd, SHUT_RDWR);
    if (!wait_for_none(&s->in_flight, clock_seconds() + seconds)) {
        atomic_store(&s->hurrying, true);
        interrupt_request();
        if (!wait_for_none(&s->classifying, clock_seconds() + LAST_WAIT))
            return false;
        wait_for_none(&s->in_flight, clock_seconds() + LAST_WAIT / 4); /* the last answers */
    }
    jobs_stop(s->jobs); /* a suspended connection must not meet MHD_stop_daemon */
    jobs_stop(s->admin_jobs);
    server_free(s);
    return true;
}
