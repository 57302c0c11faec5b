/* page.h: the dashboard's files, as scripts/embed-web makes them of web/ (web/README.md). */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include <stddef.h>

struct page_file {
    const char *type; /* media type */
    const unsigned char *data;
    size_t n;
    const unsigned char *packed; /* the same with gzip */
    size_t n_packed;
    const char *tag, *packed_tag; /* ETag of each form, in its quotes */
};
extern const struct page_file page_html, page_css, page_js, page_icon;

#endif
