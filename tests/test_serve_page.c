/* test_serve_page.c: the dashboard as it is served: its parts, its policy, how they are packed
 * and kept. In a browser: make web-check. */
#include "tests/serve_help.h"

#include <zlib.h>

/* Everything that the page asks for is there. */
static void test_references(uint16_t port, const char *page)
{
    static const char *const marks[] = {" href=\"", " src=\""};
    unsigned n = 0;
    for (size_t m = 0; m < 2; m++) {
        for (const char *at = page; (at = strstr(at, marks[m])); n++) {
            char path[128] = "/";
            at += strlen(marks[m]);
            if (*at == '#')
                continue;
            snprintf(path + 1, sizeof path - 1, "%.*s", (int)strcspn(at, "\""), at);
            struct reply r = ask(port, "GET", path, "", NULL);
            ok(r.status == 200, "the page asks for %s, which is there", path);
            reply_free(&r);
        }
    }
    ok(n > 8, "it asks for something");
}

static bool unpacks_to(const struct reply *packed, const struct reply *plain)
{
    static char text[1 << 20];
    z_stream z = {.next_in = (Bytef *)packed->body.s,
                  .avail_in = (uInt)packed->body.n,
                  .next_out = (Bytef *)text,
                  .avail_out = sizeof text};
    bool good = inflateInit2(&z, 15 + 16) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END &&
                z.total_out == plain->body.n && memcmp(text, plain->body.s, plain->body.n) == 0;
    inflateEnd(&z);
    return good;
}

static void test_page_forms(uint16_t port)
{
    struct reply plain = ask(port, "GET", "/page.js?v=1", "", NULL);
    struct reply r = ask(port, "GET", "/page.js", "Accept-Encoding: br, gzip;q=0.5\r\n", NULL);
    ok(has_header(&r, "Content-Encoding: gzip") && has_header(&r, "Vary: Accept-Encoding") &&
           r.body.n < plain.body.n / 2 && unpacks_to(&r, &plain),
       "packed for who takes it: %zu of %zu bytes", r.body.n, plain.body.n);
    reply_free(&r);
    r = ask(port, "GET", "/page.js", "Accept-Encoding: gzip;q=0, x-gzip\r\n", NULL);
    ok(!has_header(&r, "Content-Encoding") && r.body.n == plain.body.n, "not for who does not");
    const char *tag = strstr(head_of(&r), "ETag: ");
    char headers[128];
    snprintf(headers, sizeof headers, "If-None-Match: \"x\", W/%.*s\r\n",
             tag ? (int)strcspn(tag + 6, "\r") : 0, tag ? tag + 6 : "");
    reply_free(&r);
    r = ask(port, "GET", "/page.js", headers, NULL);
    ok(r.status == 304 && r.body.n == 0 && has_header(&r, "ETag: "), "304 for who has it");
    reply_free(&r);
    r = ask(port, "GET", "/page.css", headers, NULL);
    ok(r.status == 200 && has_header(&r, "Cache-Control: no-cache"), "not for another file");
    reply_free(&r);
    r = ask(port, "HEAD", "/", "Accept-Encoding: gzip\r\n", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Encoding: gzip"), "HEAD /");
    reply_free(&r);
    reply_free(&plain);
}

static void test_page(uint16_t port)
{
    struct reply r = ask(port, "GET", "/", "", NULL);
    ok(r.status == 200 && strstr(body_of(&r), "<form") && strstr(body_of(&r), "<nav"),
       "GET / is the dashboard");
    ok(has_header(&r, "Content-Security-Policy: default-src 'none'; script-src 'self';") &&
           has_header(&r, "require-trusted-types-for 'script'") && !has_header(&r, "unsafe-") &&
           !has_header(&r, "data:"),
       "with a strict policy");
    ok(!strstr(body_of(&r), "<style") && !strstr(body_of(&r), "style=") &&
           !strstr(body_of(&r), "onclick") && !strstr(body_of(&r), "http:") &&
           !strstr(body_of(&r), "https:") && !strstr(body_of(&r), "<script>"),
       "that it keeps: nothing inline, nothing from elsewhere");
    test_references(port, body_of(&r));
    reply_free(&r);
    r = ask(port, "GET", "/page.js?v=1", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Type: text/javascript"), "GET /page.js");
    ok(!strstr(body_of(&r), "innerHTML") && !strstr(body_of(&r), "outerHTML") &&
           !strstr(body_of(&r), "insertAdjacentHTML") &&
           !strstr(body_of(&r), "document.write") && !strstr(body_of(&r), "eval("),
       "texts enter the page as text");
    ok(!strstr(body_of(&r), "https:") && !strstr(body_of(&r), "import "), "it is whole");
    reply_free(&r);
    r = ask(port, "GET", "/page.css", "", NULL);
    ok(r.status == 200 && has_header(&r, "Content-Type: text/css"), "GET /page.css");
    ok(!strstr(body_of(&r), "url(") && !strstr(body_of(&r), "@import"), "whole, too");
    reply_free(&r);
    r = ask(port, "GET", "/v1/ensemble", "", NULL);
    is_text(at(&r, "bundle"), fake.id, "GET /v1/ensemble");
    is_text(at(&r, "ranking"), "null", "which this engine tells nothing of");
    reply_free(&r);
    test_page_forms(port);
}

int main(void)
{
    struct server *s = start((struct server_options){.threads = 1});
    test_page(server_port(s));
    ok(server_stop(s, 5), "stops");
    return tap_done();
}
