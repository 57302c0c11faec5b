/* page.c: the routes of the dashboard. Its files are part of the program: nothing is read from
 * disk and nothing comes from elsewhere. A browser may keep them, but asks each time whether
 * they are still the same (304), so that a new program never meets an old script.
 *
 * Proof: tests/test_serve.c; in a browser scripts/web-check. */
#include "serve/page.h"

#include "serve/server_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* One member of Accept-Encoding: gzip, and not with the weight 0. */
static bool is_gzip(struct str member)
{
    struct str name = str_trim(member);
    const char *weight = memchr(name.s, ';', name.n);
    double q = 1;
    if (weight) {
        const char *end = name.s + name.n;
        name = str_trim((struct str){name.s, (size_t)(weight - name.s)});
        struct str value = str_trim((struct str){weight + 1, (size_t)(end - weight - 1)});
        if (value.n > 2 && strncasecmp(value.s, "q=", 2) == 0)
            q = strspn(value.s + 2, "0.") < value.n - 2;
    }
    return q > 0 && name.n == 4 && strncasecmp(name.s, "gzip", 4) == 0;
}

static bool takes_gzip(const struct request *r)
{
    const char *list = header(r, "Accept-Encoding");
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (is_gzip((struct str){list, n}))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

/* Tags in their quotes are not part of each other, so looking for one in the list will do. */
static bool has_it(const struct request *r, const char *tag)
{
    const char *known = header(r, "If-None-Match");
    return known && (strcmp(known, "*") == 0 || strstr(known, tag));
}

static enum handled send_file(struct request *r, const struct page_file *f)
{
    r->packed = takes_gzip(r);
    r->tag = r->packed ? f->packed_tag : f->tag;
    if (has_it(r, r->tag)) {
        answer(r, 304, f->type);
        r->packed = false;
        return HANDLED;
    }
    r->fixed = r->packed ? (struct str){(const char *)f->packed, f->n_packed}
                         : (struct str){(const char *)f->data, f->n};
    answer(r, 200, f->type);
    return HANDLED;
}

enum handled handle_page(struct request *r)
{
    return send_file(r, &page_html);
}

enum handled handle_css(struct request *r)
{
    return send_file(r, &page_css);
}

enum handled handle_js(struct request *r)
{
    return send_file(r, &page_js);
}

enum handled handle_icon(struct request *r)
{
    return send_file(r, &page_icon);
}
