/* model_edit.c: see model_edit.h. Works on lines: a YAML writer would lose comments and layout.
 */
#include "ensemble/model_edit.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#include <unistd.h>

/* The file in lines, each with its newline. */
struct lines {
    char *text;
    struct str *items;
    size_t n;
};

static void lines_free(struct lines *l)
{
    mem_free(l->text);
    mem_free(l->items);
}

static medley_status lines_read(const char *path, struct lines *out, medley_error *err)
{
    struct lines l = {NULL, NULL, 0};
    size_t n = 0, capacity = 0;
    medley_status st = file_read(path, 1 << 22, &l.text, &n, err);
    for (const char *s = l.text; !st && s < l.text + n;) {
        const char *end = memchr(s, '\n', (size_t)(l.text + n - s));
        size_t length = end ? (size_t)(end - s) + 1 : (size_t)(l.text + n - s);
        if (!mem_reserve(&l.items, &capacity, l.n + 1, sizeof *l.items))
            st = fail_memory(err, path);
        else
            l.items[l.n++] = (struct str){s, length};
        s += length;
    }
    if (st)
        lines_free(&l);
    else
        *out = l;
    return st;
}

static bool begins(struct str line, const char *with)
{
    size_t n = strlen(with);
    return line.n >= n && memcmp(line.s, with, n) == 0;
}

static bool is_blank(struct str line)
{
    line = str_trim(line);
    return line.n == 0 || line.s[0] == '#';
}

static size_t indent_of(struct str line)
{
    size_t n = 0;
    while (n < line.n && line.s[n] == ' ')
        n++;
    return n;
}

/* Lines (begin, end) below the top-level `key`; SIZE_MAX when there is none. */
static size_t find_section(const struct lines *l, const char *key, size_t *end)
{
    size_t begin = 0;
    while (begin < l->n && !begins(l->items[begin], key))
        begin++;
    if (begin == l->n)
        return SIZE_MAX;
    size_t last = ++begin;
    for (size_t i = begin; i < l->n; i++) {
        if (is_blank(l->items[i]))
            continue;
        if (indent_of(l->items[i]) == 0 && l->items[i].s[0] != '-')
            break;
        last = i + 1; /* blank lines and comments before the next key belong to it */
    }
    *end = last;
    return begin;
}

/* Replaces lines [from, to) by `with`, if medley.yaml can then be loaded. */
static medley_status replace(const char *root, const struct lines *l, size_t from, size_t to,
                             struct str with, medley_error *err)
{
    struct strbuf out;
    struct config config;
    char path[600], fresh[640];
    sb_init(&out);
    for (size_t i = 0; i < from; i++)
        sb_add(&out, l->items[i].s, l->items[i].n);
    if (from > 0 && with.n && l->items[from - 1].s[l->items[from - 1].n - 1] != '\n')
        sb_addc(&out, '\n');
    sb_add(&out, with.s, with.n);
    for (size_t i = to; i < l->n; i++)
        sb_add(&out, l->items[i].s, l->items[i].n);
    snprintf(path, sizeof path, "%.512s/medley.yaml", root);
    snprintf(fresh, sizeof fresh, "%.512s/.medley.yaml.%ld", root, (long)getpid());
    medley_status st =
        out.failed ? fail_memory(err, path) : file_write(fresh, out.s, out.n, err);
    if (!st) {
        st = config_load(fresh, &config, err);
        if (!st)
            config_free(&config);
        unlink(fresh);
    }
    if (!st)
        st = file_write(path, out.s, out.n, err);
    sb_deinit(&out);
    return st;
}

static medley_status open_file(const char *root, struct lines *l, struct config *c,
                               medley_error *err)
{
    char path[600];
    snprintf(path, sizeof path, "%.512s/medley.yaml", root);
    medley_status st = lines_read(path, l, err);
    if (!st && (st = config_load(path, c, err)) != MEDLEY_OK)
        lines_free(l);
    return st;
}

medley_status model_add(const char *root, struct str entry, medley_error *err)
{
    struct lines l;
    struct config c;
    struct strbuf item;
    size_t end = 0, indent = SIZE_MAX;
    medley_status st = open_file(root, &l, &c, err);
    if (st)
        return st;
    config_free(&c);
    size_t begin = find_section(&l, "models:", &end);
    for (size_t i = begin; begin != SIZE_MAX && i < end && indent == SIZE_MAX; i++)
        if (!is_blank(l.items[i]) && str_trim(l.items[i]).s[0] == '-')
            indent = indent_of(l.items[i]);
    sb_init(&item);
    bool first = true;
    while (entry.n) { /* "- " before the first key, as much room before the others */
        const char *nl = memchr(entry.s, '\n', entry.n);
        size_t n = nl ? (size_t)(nl - entry.s) : entry.n;
        struct str line = {entry.s, n};
        if (!is_blank(line)) {
            sb_addf(&item, "%*s%s", (int)(indent == SIZE_MAX ? 0 : indent), "",
                    first ? "- " : "  ");
            sb_add(&item, line.s, line.n);
            sb_addc(&item, '\n');
            first = false;
        }
        entry.s += n + (nl != NULL), entry.n -= n + (nl != NULL);
    }
    if (indent == SIZE_MAX)
        st = fail(err, MEDLEY_EUNSUPPORTED,
                  "%s/medley.yaml: models: is not written one model a line; add it by hand",
                  root);
    else if (first)
        st = fail(err, MEDLEY_EINVAL, "a model needs at least a name and a kind");
    else
        st = replace(root, &l, end, end, sb_str(&item), err);
    sb_deinit(&item);
    lines_free(&l);
    return st;
}

medley_status model_remove(const char *root, const char *name, medley_error *err)
{
    struct lines l;
    struct config c;
    size_t end = 0;
    medley_status st = open_file(root, &l, &c, err);
    if (st)
        return st;
    size_t m = config_find_model(&c, name), begin = find_section(&l, "models:", &end);
    if (m == SIZE_MAX)
        st = fail(err, MEDLEY_ENOTFOUND, "no model '%s' in %s/medley.yaml", name, root);
    else if (c.n_models == 1)
        st = fail(err, MEDLEY_EINVAL, "'%s' is the only model", name);
    if (!st) {
        size_t from = (size_t)c.models[m].node->line - 1, to = end;
        if (m + 1 < c.n_models)
            to = (size_t)c.models[m + 1].node->line - 1;
        while (to > from + 1 && is_blank(l.items[to - 1]))
            to--; /* comments before the next model stay */
        bool own_line = begin != SIZE_MAX && from >= begin && from < end &&
                        str_trim(l.items[from]).n && str_trim(l.items[from]).s[0] == '-';
        st = own_line ? replace(root, &l, from, to, (struct str){"", 0}, err)
                      : fail(err, MEDLEY_EUNSUPPORTED,
                             "%s/medley.yaml: models: is not written one model a line; remove "
                             "it by hand",
                             root);
    }
    config_free(&c);
    lines_free(&l);
    return st;
}

static void put_pins(const struct config *c, const char *name, bool pinned, struct strbuf *out)
{
    const char *joint = "";
    sb_addz(out, "  pin: [");
    for (size_t m = 0; m < c->n_models; m++) {
        bool is = c->budget.pinned >> m & 1;
        if (strcmp(c->models[m].name, name) == 0)
            is = pinned;
        if (is)
            sb_addf(out, "%s%s", joint, c->models[m].name), joint = ", ";
    }
    sb_addz(out, "]\n");
}

medley_status model_pin(const char *root, const char *name, bool pinned, medley_error *err)
{
    struct lines l;
    struct config c;
    struct strbuf with;
    size_t end = 0;
    medley_status st = open_file(root, &l, &c, err);
    if (st)
        return st;
    sb_init(&with);
    size_t begin = find_section(&l, "budget:", &end), at = begin;
    if (config_find_model(&c, name) == SIZE_MAX)
        st = fail(err, MEDLEY_ENOTFOUND, "no model '%s' in %s/medley.yaml", name, root);
    if (begin == SIZE_MAX) {
        sb_addz(&with, "budget:\n");
        at = end = l.n;
    } else {
        while (at < end && !begins(str_trim(l.items[at]), "pin:"))
            at++;
        if (at == end)
            at = begin; /* right below the key */
        else
            begin = SIZE_MAX; /* a line to be replaced */
    }
    size_t to = at < l.n && begin == SIZE_MAX && at < end ? at + 1 : at;
    put_pins(&c, name, pinned, &with);
    if (!st)
        st = with.failed ? fail_memory(err, "a pin")
                         : replace(root, &l, at, to, sb_str(&with), err);
    sb_deinit(&with);
    config_free(&c);
    lines_free(&l);
    return st;
}
