/* html.c: see html.h. Two passes, because tags often come encoded ("&lt;br&gt;"). */
#include "text/html.h"

#include <string.h>
#include <strings.h>

/* ---- entities ---- */

/* Names of U+00A0..U+00FF, in order. */
static const char *const latin1[96] = {
    "nbsp",   "iexcl",  "cent",   "pound",  "curren", "yen",    "brvbar", "sect",   "uml",
    "copy",   "ordf",   "laquo",  "not",    "shy",    "reg",    "macr",   "deg",    "plusmn",
    "sup2",   "sup3",   "acute",  "micro",  "para",   "middot", "cedil",  "sup1",   "ordm",
    "raquo",  "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",  "Atilde",
    "Auml",   "Aring",  "AElig",  "Ccedil", "Egrave", "Eacute", "Ecirc",  "Euml",   "Igrave",
    "Iacute", "Icirc",  "Iuml",   "ETH",    "Ntilde", "Ograve", "Oacute", "Ocirc",  "Otilde",
    "Ouml",   "times",  "Oslash", "Ugrave", "Uacute", "Ucirc",  "Uuml",   "Yacute", "THORN",
    "szlig",  "agrave", "aacute", "acirc",  "atilde", "auml",   "aring",  "aelig",  "ccedil",
    "egrave", "eacute", "ecirc",  "euml",   "igrave", "iacute", "icirc",  "iuml",   "eth",
    "ntilde", "ograve", "oacute", "ocirc",  "otilde", "ouml",   "divide", "oslash", "ugrave",
    "uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml",
};

static const struct {
    const char *name;
    uint32_t codepoint;
} named[] = {
    {"amp", '&'},       {"lt", '<'},        {"gt", '>'},       {"quot", '"'},
    {"apos", '\''},     {"ndash", 0x2013},  {"mdash", 0x2014}, {"lsquo", 0x2018},
    {"rsquo", 0x2019},  {"sbquo", 0x201A},  {"ldquo", 0x201C}, {"rdquo", 0x201D},
    {"bdquo", 0x201E},  {"dagger", 0x2020}, {"bull", 0x2022},  {"hellip", 0x2026},
    {"permil", 0x2030}, {"prime", 0x2032},  {"Prime", 0x2033}, {"lsaquo", 0x2039},
    {"rsaquo", 0x203A}, {"frasl", 0x2044},  {"euro", 0x20AC},  {"trade", 0x2122},
    {"larr", 0x2190},   {"uarr", 0x2191},   {"rarr", 0x2192},  {"darr", 0x2193},
    {"minus", 0x2212},  {"infin", 0x221E},  {"asymp", 0x2248}, {"ne", 0x2260},
    {"le", 0x2264},     {"ge", 0x2265},     {"loz", 0x25CA},   {"star", 0x2606},
    {"starf", 0x2605},  {"hearts", 0x2665}, {"check", 0x2713}, {"ensp", 0x2002},
    {"emsp", 0x2003},   {"thinsp", 0x2009}, {"zwnj", 0x200C},  {"zwj", 0x200D},
    {"OElig", 0x152},   {"oelig", 0x153},   {"Scaron", 0x160}, {"scaron", 0x161},
    {"Yuml", 0x178},    {"fnof", 0x192},    {"circ", 0x2C6},   {"tilde", 0x2DC},
    {"alpha", 0x3B1},   {"beta", 0x3B2},    {"mu", 0x3BC},     {"Omega", 0x3A9},
};

/* Numeric references 128..159 mean these: pages were written in Windows-1252 (HTML standard,
 * 13.2.5.80). 0: none. */
static const uint16_t windows[32] = {
    0x20AC, 0,      0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
    0x2039, 0x152,  0,      0x17D,  0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0,      0x17E,  0x178,
};

static bool find_name(struct str name, uint32_t *codepoint)
{
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (str_is(name, named[i].name)) {
            *codepoint = named[i].codepoint;
            return true;
        }
    for (uint32_t i = 0; i < 96; i++)
        if (str_is(name, latin1[i])) {
            *codepoint = 0xA0 + i;
            return true;
        }
    return false;
}

static int digit_value(char c, bool hex)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (hex && c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return hex && c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_number(struct str digits, uint32_t *codepoint)
{
    bool hex = digits.n > 0 && (digits.s[0] == 'x' || digits.s[0] == 'X');
    uint32_t v = 0;
    if (digits.n == hex || digits.n > 8)
        return false;
    for (size_t i = hex; i < digits.n; i++) {
        int d = digit_value(digits.s[i], hex);
        if (d < 0)
            return false;
        v = v * (hex ? 16 : 10) + (uint32_t)d; /* at most 8 digits: fits */
    }
    if (v >= 0x80 && v < 0xA0 && windows[v - 0x80])
        v = windows[v - 0x80];
    if (v == 0 || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        v = 0xFFFD;
    *codepoint = v;
    return true;
}

/* What follows an ampersand: bytes of the reference, semicolon included; 0 when it is none. */
static size_t reference_at(struct str after, uint32_t *codepoint)
{
    size_t most = after.n < 10 ? after.n : 10;
    const char *semicolon = most ? memchr(after.s, ';', most) : NULL;
    if (!semicolon)
        return 0;
    struct str name = {after.s, (size_t)(semicolon - after.s)};
    bool found = name.n > 0 && name.s[0] == '#'
                     ? read_number((struct str){name.s + 1, name.n - 1}, codepoint)
                     : find_name(name, codepoint);
    return found ? name.n + 1 : 0;
}

void html_decode_entities(struct str text, struct strbuf *out)
{
    size_t i = 0;
    while (i < text.n) {
        const char *amp = memchr(text.s + i, '&', text.n - i);
        size_t plain = amp ? (size_t)(amp - text.s) : text.n;
        sb_add(out, text.s + i, plain - i);
        i = plain;
        if (!amp)
            break;
        uint32_t c = '&';
        size_t used = 0, more = 1;
        i++;
        while (c == '&' && more > 0) { /* "&amp;amp;lt;" unrolls to "<" */
            more = reference_at((struct str){text.s + i + used, text.n - i - used}, &c);
            used += more;
        }
        char utf8[4];
        sb_add(out, utf8, utf8_encode(c, utf8));
        i += used;
    }
}

/* ---- tags ---- */

static const char *const inline_tags[] = {
    "a",    "abbr", "b", "big", "cite",  "code", "del",    "em",  "font", "i", "ins",
    "mark", "o:p",  "q", "s",   "small", "span", "strong", "sub", "sup",  "u", NULL};
static const char *const breaking_tags[] = {
    "article", "aside",   "blockquote", "body",       "br",     "button", "center", "dd",
    "div",     "dl",      "dt",         "figcaption", "figure", "footer", "form",   "h1",
    "h2",      "h3",      "h4",         "h5",         "h6",     "head",   "header", "hr",
    "html",    "iframe",  "img",        "input",      "label",  "li",     "link",   "main",
    "meta",    "nav",     "object",     "ol",         "option", "p",      "param",  "pre",
    "script",  "section", "select",     "source",     "style",  "svg",    "table",  "tbody",
    "td",      "tfoot",   "th",         "thead",      "title",  "tr",     "ul",     "video",
    NULL};

static bool listed(const char *const *list, struct str name)
{
    for (; *list; list++)
        if (strlen(*list) == name.n && strncasecmp(*list, name.s, name.n) == 0)
            return true;
    return false;
}

#define LONGEST_TAG 4096 /* bytes; a '<' without its '>' in that distance is text */

/* Bytes of the tag that starts at text.s[0] == '<', and its name; 0 when it is none. */
static size_t tag_at(struct str text, struct str *name)
{
    size_t i = 1, most = text.n < LONGEST_TAG ? text.n : LONGEST_TAG;
    char quote = 0;
    if (i < most && text.s[i] == '/')
        i++;
    size_t start = i;
    while (i < most && strchr("<>/ \t\r\n", text.s[i]) == NULL)
        i++;
    *name = (struct str){text.s + start, i - start};
    if (!listed(inline_tags, *name) && !listed(breaking_tags, *name))
        return 0;
    for (; i < most; i++) {
        char c = text.s[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '>')
            return i + 1;
        else if (c == '<')
            return 0;
        else if ((c == '"' || c == '\'') && text.s[i - 1] == '=')
            quote = c;
    }
    return 0;
}

/* The offset after `end` in text from `from` on, or the end of the text. */
static size_t skip_past(struct str text, size_t from, const char *end)
{
    size_t n = strlen(end);
    for (size_t i = from; i + n <= text.n; i++)
        if (strncasecmp(text.s + i, end, n) == 0)
            return i + n;
    return text.n;
}

/* What starts at text.s[i] == '<': returns the offset past it, and in *put what stands for it.
 */
static size_t skip_markup(struct str text, size_t i, char *put)
{
    struct str rest = {text.s + i, text.n - i}, name;
    *put = '\n';
    if (rest.n >= 4 && memcmp(rest.s, "<!--", 4) == 0)
        return skip_past(text, i + 4, "-->");
    if (rest.n >= 9 && strncasecmp(rest.s, "<!doctype", 9) == 0)
        return skip_past(text, i + 9, ">");
    size_t n = tag_at(rest, &name);
    if (n == 0) {
        *put = '<';
        return i + 1;
    }
    bool opening = rest.s[1] != '/';
    if (opening && name.n == 6 && strncasecmp(name.s, "script", 6) == 0)
        return skip_past(text, i + n, "</script>");
    if (opening && name.n == 5 && strncasecmp(name.s, "style", 5) == 0)
        return skip_past(text, i + n, "</style>");
    if (listed(inline_tags, name))
        *put = 0;
    return i + n;
}

void html_remove_tags(struct str text, struct strbuf *out)
{
    size_t i = 0;
    while (i < text.n) {
        const char *open = memchr(text.s + i, '<', text.n - i);
        size_t plain = open ? (size_t)(open - text.s) : text.n;
        char put = 0;
        sb_add(out, text.s + i, plain - i);
        if (!open)
            break;
        i = skip_markup(text, plain, &put);
        if (put)
            sb_addc(out, put);
    }
}
