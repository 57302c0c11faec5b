/* redis_link.h: one connection to a Redis server; every operation ends by a deadline
 * (clock_seconds), however the server dribbles. Not thread-safe. Proof: tests/test_redis.c. */
#ifndef CACHE_REDIS_LINK_H
#define CACHE_REDIS_LINK_H

#include "cache/resp.h"
#include "medley/status.h"

#include <sys/socket.h>

/* Where it is: text taken apart, and what name service made of it. */
struct redis_place {
    char *host, *port; /* owned; host NULL: a socket at `path` */
    char *path;
    unsigned database;
    struct sockaddr_storage address; /* length 0: not known yet */
    socklen_t length;
    int family;
};

/* "host:port[/database]", "[v6]:port[/database]", "/path" of a socket. Errors: EINVAL, ENOMEM.
 */
medley_status redis_place_parse(const char *text, struct redis_place *out, medley_error *err);
void redis_place_deinit(struct redis_place *p);

struct redis_link {
    struct redis_link *next; /* of those that are idle */
    int fd;
    struct strbuf in;
    size_t used; /* of `in` */
};

/* Connects, says the password (NULL: none) and selects the database. Without an address it asks
 * name service, which may take its time, tries all that it says and remembers the one that
 * works. */
medley_status redis_link_open(struct redis_place *p, const char *password, double deadline,
                              struct redis_link **out, medley_error *err);
void redis_link_close(struct redis_link *l); /* accepts NULL */
medley_status redis_link_send(struct redis_link *l, struct str bytes, double deadline,
                              medley_error *err);
/* The next reply; its text is borrowed until the next call. EFORMAT: no reply. An error that
 * the server reports is a reply. */
medley_status redis_link_reply(struct redis_link *l, double deadline, struct resp *out,
                               medley_error *err);

#endif
