/* resp.h: the protocol of Redis (RESP2): commands to bytes, bytes to replies.
 *
 * Ours instead of hiredis: replies come from a server that many can write to, so that counts
 * and lengths must not decide what is allocated, and a list's time limit covers the whole
 * reply, not each read of it. Proof: tests/test_redis.c, fuzz/fuzz_resp.c. */
#ifndef CACHE_RESP_H
#define CACHE_RESP_H

#include "base/str.h"

#define RESP_MAX_LINE 512      /* bytes of a line without its end */
#define RESP_MAX_BULK 65536    /* bytes of a text */
#define RESP_MAX_ARRAY 4000000 /* items; nothing is allocated for them */

enum resp_kind {
    RESP_MORE, /* what is there is the beginning of a reply */
    RESP_BAD,  /* no reply that we would have */
    RESP_LINE,
    RESP_ERROR,
    RESP_NUMBER,
    RESP_TEXT,
    RESP_NIL,
    RESP_ARRAY, /* `number` replies follow */
};

struct resp {
    enum resp_kind kind;
    int64_t number;
    struct str text; /* of RESP_LINE, _ERROR, _TEXT: borrowed from the bytes */
};

/* The reply, or the head of an array, at the beginning of `from`; bytes used, 0 when there is
 * MORE to come or it is BAD. */
size_t resp_read(struct str from, struct resp *out);

/* A command is its number of arguments, its name included, and each of them. */
void resp_command(struct strbuf *out, size_t arguments);
void resp_argument(struct strbuf *out, struct str argument);

#endif
