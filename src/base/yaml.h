/* yaml.h: the one door to YAML (libyaml). A document becomes a tree of nodes that remember
 * their line; tables of fields bind mappings to C structs, and name file, line and key when
 * they refuse.
 *
 * libyaml rather than libcyaml: Debian's libcyaml 1.3 checks no ranges and forgets line numbers
 * once a value is loaded, so "models[2].epochs: 0 is not from 1 to 1000" could not name its
 * line. */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/file.h"

enum yaml_kind { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE };

/* Borrowed from its document. Scalars are text; quoting does not matter to the bindings. */
struct yaml_node {
    enum yaml_kind kind;
    int line;                 /* 1-based */
    const char *text;         /* scalar */
    size_t count;             /* members or items */
    const char **keys;        /* mapping [count] */
    int *key_lines;           /* mapping [count] */
    struct yaml_node **items; /* [count] */
};

struct yaml_document; /* opaque; owns all nodes and their text */
medley_status yaml_load(const char *path, struct yaml_document **out, medley_error *err);
void yaml_free(struct yaml_document *d);
const struct yaml_node *yaml_root(const struct yaml_document *d); /* NULL: an empty file */
const char *yaml_path(const struct yaml_document *d);             /* for messages */
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);
/* Content only (not comments, quoting or layout), for staleness. NULL hashes to the seed. */
struct hash128 yaml_hash(const struct yaml_node *n, struct hash128 seed);

/* How a member is stored at target + offset. */
enum yaml_type {
    YAML_TEXT,      /* const char *, borrowed from the document */
    YAML_UNSIGNED,  /* unsigned, min..max */
    YAML_U64,       /* uint64_t, min..max */
    YAML_DOUBLE,    /* double, min..max */
    YAML_OR_NONE,   /* the same, but 0 is stored as -1: told apart from what is absent */
    YAML_BOOL,      /* bool: true/false, yes/no, on/off */
    YAML_CHOICE,    /* const char *, one of choices */
    YAML_BYTES,     /* uint64_t: 512M, 2G, 1.5GiB, or plain bytes */
    YAML_TEXT_LIST, /* const char **, NULL-terminated; a scalar is a list of one */
    YAML_NODE       /* const struct yaml_node *: the caller looks further */
};

struct yaml_field { /* a table ends with a NULL key */
    const char *key;
    enum yaml_type type;
    size_t offset;
    double min, max;            /* inclusive; 0, 0: any */
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line, for --help and the docs */
};

/* Stores every member of `mapping` into target; absent members leave it alone. `where` names
 * the mapping in messages ("models[1]"). Refuses unknown and repeated keys and bad values with
 * file:line. Up to two tables are searched (the second may be NULL). */
medley_status yaml_bind(struct yaml_document *d, const struct yaml_node *mapping,
                        const char *where, const struct yaml_field *fields,
                        const struct yaml_field *more, void *target, medley_error *err);

/* "512M", "2G", "1.5GiB", "65536": also for command-line options. */
bool yaml_parse_bytes(const char *text, uint64_t *out);

#endif
