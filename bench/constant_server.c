/* constant_server.c: the least a server on libmicrohttpd can do: it reads the body and answers
 * the same bytes. What `medley serve` is compared with; flags, threads and headers are those of
 * src/serve/server.c.
 *
 *   constant_server BYTES [THREADS]     prints its port, runs until its standard input ends */
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *bytes;
static size_t n_bytes;

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_n, void **state)
{
    (void)context, (void)url, (void)method, (void)version, (void)upload;
    if (!*state) {
        *state = &bytes;
        return MHD_YES;
    }
    if (*upload_n) {
        *upload_n = 0;
        return MHD_YES;
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n_bytes, bytes, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "X-Request-Id", "0123456789abcdef");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    enum MHD_Result st = MHD_queue_response(connection, 200, r);
    MHD_destroy_response(r);
    return st;
}

int main(int argc, char **argv)
{
    n_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
    bytes = malloc(n_bytes + 1);
    if (!bytes)
        return 1;
    memset(bytes, 'x', n_bytes);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC,
                         0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &at,
                         MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_END);
    if (!d) {
        fprintf(stderr, "constant_server: cannot listen\n");
        return 1;
    }
    printf("%d\n", MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    MHD_stop_daemon(d);
    free(bytes);
    return 0;
}
