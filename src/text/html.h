/* html.h: what product texts have of HTML: entities and tags. Private to src/text. */
#ifndef TEXT_HTML_H
#define TEXT_HTML_H

#include "base/str.h"

/* Appends text with its character references decoded, also those encoded twice ("&amp;quot;").
 * Only with their semicolon, so that "R&D" and "a&b" stay. */
void html_decode_entities(struct str text, struct strbuf *out);

/* Appends text without its tags, comments, scripts and styles. Tags that break the line (br,
 * li, p,
 * ...) become '\n', others (b, span, ...) nothing. Only known tag names count, so that "<3" and
 * "5 < 6" stay. */
void html_remove_tags(struct str text, struct strbuf *out);

#endif
