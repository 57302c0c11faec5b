/* yaml.c: see yaml.h. libyaml's document is copied into arena nodes, so that nothing else of
 * the house knows libyaml. Anchors and aliases are refused: they make small hostile files
 * explode. */
#include "base/yaml.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <yaml.h>

struct yaml_document {
    struct arena arena;
    const char *path;
    struct yaml_node *root;
};

enum { MAX_DEPTH = 32 };

static medley_status refuse(const struct yaml_document *d, int line, medley_error *err,
                            const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(err, MEDLEY_EFORMAT, "%s:%d: %s", d->path, line, text);
}

static medley_status copy_node(struct yaml_document *d, yaml_document_t *from, int id,
                               int depth, struct yaml_node **out, medley_error *err);

static medley_status copy_mapping(struct yaml_document *d, yaml_document_t *from,
                                  const yaml_node_t *n, int depth, struct yaml_node *to,
                                  medley_error *err)
{
    size_t count = (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
    to->keys = arena_zalloc(&d->arena, count + 1, sizeof *to->keys);
    to->key_lines = arena_zalloc(&d->arena, count + 1, sizeof *to->key_lines);
    to->items = arena_zalloc(&d->arena, count + 1, sizeof *to->items);
    if (!to->keys || !to->key_lines || !to->items)
        return fail_memory(err, "a YAML mapping");
    for (size_t i = 0; i < count; i++) {
        const yaml_node_pair_t *pair = n->data.mapping.pairs.start + i;
        const yaml_node_t *key = yaml_document_get_node(from, pair->key);
        int line = (int)key->start_mark.line + 1;
        if (key->type != YAML_SCALAR_NODE)
            return refuse(d, line, err, "a key must be plain text");
        to->keys[i] = arena_strndup(&d->arena, (const char *)key->data.scalar.value,
                                    key->data.scalar.length);
        if (!to->keys[i])
            return fail_memory(err, "a YAML key");
        for (size_t j = 0; j < i; j++)
            if (strcmp(to->keys[i], to->keys[j]) == 0)
                return refuse(d, line, err, "key '%s' appears twice (first on line %d)",
                              to->keys[i], to->key_lines[j]);
        to->key_lines[i] = line;
        medley_status st = copy_node(d, from, pair->value, depth + 1, &to->items[i], err);
        if (st)
            return st;
    }
    to->count = count;
    return MEDLEY_OK;
}

static medley_status copy_node(struct yaml_document *d, yaml_document_t *from, int id,
                               int depth, struct yaml_node **out, medley_error *err)
{
    const yaml_node_t *n = yaml_document_get_node(from, id);
    struct yaml_node *to = arena_zalloc(&d->arena, 1, sizeof *to);
    if (!to)
        return fail_memory(err, "a YAML node");
    to->line = (int)n->start_mark.line + 1;
    if (depth > MAX_DEPTH)
        return refuse(d, to->line, err, "nested deeper than %d levels", MAX_DEPTH);
    *out = to;
    switch (n->type) {
    case YAML_SCALAR_NODE:
        to->kind = YAML_SCALAR;
        to->text =
            arena_strndup(&d->arena, (const char *)n->data.scalar.value, n->data.scalar.length);
        return to->text ? MEDLEY_OK : fail_memory(err, "YAML text");
    case YAML_MAPPING_NODE:
        to->kind = YAML_MAPPING;
        return copy_mapping(d, from, n, depth, to, err);
    case YAML_SEQUENCE_NODE:
        to->kind = YAML_SEQUENCE;
        to->count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
        to->items = arena_zalloc(&d->arena, to->count + 1, sizeof *to->items);
        if (!to->items)
            return fail_memory(err, "a YAML sequence");
        for (size_t i = 0; i < to->count; i++) {
            medley_status st = copy_node(d, from, n->data.sequence.items.start[i], depth + 1,
                                         &to->items[i], err);
            if (st)
                return st;
        }
        return MEDLEY_OK;
    default:
        return refuse(d, to->line, err, "unknown kind of YAML node");
    }
}

/* Aliases share node ids in libyaml's document; a tree has each id once. */
static medley_status refuse_aliases(const struct yaml_document *d, const char *text, size_t n,
                                    medley_error *err)
{
    yaml_parser_t parser;
    yaml_event_t event;
    medley_status st = MEDLEY_OK;
    if (!yaml_parser_initialize(&parser))
        return fail_memory(err, "a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    for (bool more = true; more && st == MEDLEY_OK;) {
        if (!yaml_parser_parse(&parser, &event)) {
            int line = (int)parser.problem_mark.line + 1;
            st = refuse(d, line, err, "not YAML: %s",
                        parser.problem ? parser.problem : "unreadable");
            break;
        }
        if (event.type == YAML_ALIAS_EVENT)
            st = refuse(d, (int)event.start_mark.line + 1, err,
                        "aliases (*name) are not supported");
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return st;
}

static medley_status parse(struct yaml_document *d, const char *text, size_t n,
                           medley_error *err)
{
    medley_status st = refuse_aliases(d, text, n, err);
    if (st)
        return st;
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return fail_memory(err, "a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    if (!yaml_parser_load(&parser, &document)) {
        st = refuse(d, (int)parser.problem_mark.line + 1, err, "not YAML: %s",
                    parser.problem ? parser.problem : "unreadable");
    } else {
        if (yaml_document_get_root_node(&document))
            st = copy_node(d, &document, 1, 0, &d->root, err);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return st;
}

medley_status yaml_load(const char *path, struct yaml_document **out, medley_error *err)
{
    char *text = NULL;
    size_t n = 0;
    medley_status st = file_read(path, (size_t)4 << 20, &text, &n, err);
    if (st)
        return st;
    struct yaml_document *d = mem_zalloc(1, sizeof *d);
    if (!d) {
        mem_free(text);
        return fail_memory(err, "a YAML document");
    }
    arena_init(&d->arena, 0);
    d->path = arena_strndup(&d->arena, path, strlen(path));
    st = d->path ? parse(d, text, n, err) : fail_memory(err, "a YAML document");
    mem_free(text);
    if (st) {
        yaml_free(d);
        return st;
    }
    *out = d;
    return MEDLEY_OK;
}

void yaml_free(struct yaml_document *d)
{
    if (!d)
        return;
    arena_deinit(&d->arena);
    mem_free(d);
}

const struct yaml_node *yaml_root(const struct yaml_document *d)
{
    return d->root;
}

const char *yaml_path(const struct yaml_document *d)
{
    return d->path;
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    if (mapping && mapping->kind == YAML_MAPPING)
        for (size_t i = 0; i < mapping->count; i++)
            if (strcmp(mapping->keys[i], key) == 0)
                return mapping->items[i];
    return NULL;
}

struct hash128 yaml_hash(const struct yaml_node *n, struct hash128 seed)
{
    if (!n)
        return seed;
    seed = hash_bytes(&n->kind, sizeof n->kind, seed);
    if (n->kind == YAML_SCALAR)
        return hash_bytes(n->text, strlen(n->text) + 1, seed);
    seed = hash_bytes(&n->count, sizeof n->count, seed);
    for (size_t i = 0; i < n->count; i++) {
        if (n->kind == YAML_MAPPING)
            seed = hash_bytes(n->keys[i], strlen(n->keys[i]) + 1, seed);
        seed = yaml_hash(n->items[i], seed);
    }
    return seed;
}

/* "2G", "1.5GiB", "300M", "65536": binary multiples, as in memory sizes. */
bool yaml_parse_bytes(const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789.");
    double value;
    if (!str_to_double((struct str){text, digits}, &value))
        return false;
    const char *unit = text + digits;
    static const char letters[] = "KMGT";
    if (*unit) {
        const char *at = strchr(letters, toupper((unsigned char)*unit));
        if (!at || (unit[1] && strcmp(unit + 1, "iB") != 0 && strcmp(unit + 1, "B") != 0))
            return false;
        for (long i = 0; i <= at - letters; i++)
            value *= 1024;
    }
    if (value > 1e18)
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no",
                                                                           "off"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool bounded(const struct yaml_field *f)
{
    return f->min != 0 || f->max != 0;
}

static medley_status bind_whole(struct yaml_document *d, const struct yaml_node *n,
                                const struct yaml_field *f, const char *name, char *target,
                                medley_error *err)
{
    uint64_t value, low = f->min > 0 ? (uint64_t)f->min : 0;
    uint64_t high = f->type == YAML_UNSIGNED ? UINT32_MAX : UINT64_MAX;
    if (bounded(f))
        high = (uint64_t)f->max;
    if (!str_to_u64(str_of(n->text), &value) || value < low || value > high)
        return refuse(d, n->line, err, "%s: '%s' is not a whole number from %llu to %llu", name,
                      n->text, (unsigned long long)low, (unsigned long long)high);
    if (f->type == YAML_UNSIGNED)
        *(unsigned *)(void *)(target + f->offset) = (unsigned)value;
    else
        *(uint64_t *)(void *)(target + f->offset) = value;
    return MEDLEY_OK;
}

static medley_status bind_double(struct yaml_document *d, const struct yaml_node *n,
                                 const struct yaml_field *f, const char *name, char *target,
                                 medley_error *err)
{
    double value;
    if (!str_to_double(str_of(n->text), &value))
        return refuse(d, n->line, err, "%s: '%s' is not a number", name, n->text);
    if (bounded(f) && (value < f->min || value > f->max))
        return refuse(d, n->line, err, "%s: %s is not from %g to %g", name, n->text, f->min,
                      f->max);
    *(double *)(void *)(target + f->offset) = value;
    return MEDLEY_OK;
}

static medley_status bind_choice(struct yaml_document *d, const struct yaml_node *n,
                                 const struct yaml_field *f, const char *name, char *target,
                                 medley_error *err)
{
    char list[256] = "";
    for (size_t i = 0; f->choices[i]; i++) {
        if (strcmp(n->text, f->choices[i]) == 0) {
            *(const char **)(void *)(target + f->offset) = n->text;
            return MEDLEY_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", f->choices[i]);
    }
    return refuse(d, n->line, err, "%s: '%s' is not one of %s", name, n->text, list);
}

static medley_status bind_list(struct yaml_document *d, const struct yaml_node *n,
                               const struct yaml_field *f, const char *name, char *target,
                               medley_error *err)
{
    if (n->kind == YAML_MAPPING)
        return refuse(d, n->line, err, "%s: expected a list of texts", name);
    size_t count = n->kind == YAML_SCALAR ? 1 : n->count;
    const char **list = arena_zalloc(&d->arena, count + 1, sizeof *list);
    if (!list)
        return fail_memory(err, "a list");
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *item = n->kind == YAML_SCALAR ? n : n->items[i];
        if (item->kind != YAML_SCALAR)
            return refuse(d, item->line, err, "%s[%zu]: expected text", name, i);
        list[i] = item->text;
    }
    *(const char ***)(void *)(target + f->offset) = list;
    return MEDLEY_OK;
}

static medley_status bind_one(struct yaml_document *d, const struct yaml_node *n,
                              const struct yaml_field *f, const char *name, char *target,
                              medley_error *err)
{
    if (f->type == YAML_NODE) {
        *(const struct yaml_node **)(void *)(target + f->offset) = n;
        return MEDLEY_OK;
    }
    if (f->type == YAML_TEXT_LIST)
        return bind_list(d, n, f, name, target, err);
    if (n->kind != YAML_SCALAR)
        return refuse(d, n->line, err, "%s: expected one value, not a %s", name,
                      n->kind == YAML_MAPPING ? "mapping" : "list");
    switch (f->type) {
    case YAML_UNSIGNED:
    case YAML_U64:
        return bind_whole(d, n, f, name, target, err);
    case YAML_DOUBLE:
        return bind_double(d, n, f, name, target, err);
    case YAML_OR_NONE: {
        double *value = (double *)(void *)(target + f->offset);
        medley_status st = bind_double(d, n, f, name, target, err);
        if (!st && *value == 0)
            *value = -1;
        return st;
    }
    case YAML_CHOICE:
        return bind_choice(d, n, f, name, target, err);
    case YAML_BOOL:
        if (!parse_bool(n->text, (bool *)(void *)(target + f->offset)))
            return refuse(d, n->line, err, "%s: '%s' is neither true nor false", name, n->text);
        return MEDLEY_OK;
    case YAML_BYTES:
        if (!yaml_parse_bytes(n->text, (uint64_t *)(void *)(target + f->offset)))
            return refuse(d, n->line, err, "%s: '%s' is not a size (512M, 2G, or bytes)", name,
                          n->text);
        return MEDLEY_OK;
    default:
        if (!*n->text)
            return refuse(d, n->line, err, "%s: expected text, found nothing", name);
        *(const char **)(void *)(target + f->offset) = n->text;
        return MEDLEY_OK;
    }
}

static const struct yaml_field *find_field(const struct yaml_field *fields, const char *key)
{
    for (; fields && fields->key; fields++)
        if (strcmp(fields->key, key) == 0)
            return fields;
    return NULL;
}

static medley_status refuse_key(const struct yaml_document *d, const char *where,
                                const char *key, int line,
                                const struct yaml_field *const tables[2], medley_error *err)
{
    char list[512] = "";
    for (int t = 0; t < 2; t++)
        for (const struct yaml_field *f = tables[t]; f && f->key; f++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", f->key);
        }
    return refuse(d, line, err, "unknown key '%s' in %s (expected one of %s)", key, where,
                  list);
}

medley_status yaml_bind(struct yaml_document *d, const struct yaml_node *mapping,
                        const char *where, const struct yaml_field *fields,
                        const struct yaml_field *more, void *target, medley_error *err)
{
    const struct yaml_field *const tables[2] = {fields, more};
    if (!mapping)
        return MEDLEY_OK;
    if (mapping->kind != YAML_MAPPING)
        return refuse(d, mapping->line, err, "%s: expected 'key: value' lines", where);
    for (size_t i = 0; i < mapping->count; i++) {
        const char *key = mapping->keys[i];
        const struct yaml_field *f = find_field(fields, key);
        if (!f)
            f = find_field(more, key);
        if (!f)
            return refuse_key(d, where, key, mapping->key_lines[i], tables, err);
        char name[192];
        snprintf(name, sizeof name, "%s.%s", where, key);
        medley_status st = bind_one(d, mapping->items[i], f, name, target, err);
        if (st)
            return st;
    }
    return MEDLEY_OK;
}
