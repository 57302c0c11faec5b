/* safetensors.h: the container of named arrays used for model checkpoints, columnar datasets,
 * optimiser state and the embedding store (see formats.md of the format: u64 little-endian
 * header length, JSON header, bytes without holes). Reading maps the file and checks every
 * offset. */
#ifndef BASE_SAFETENSORS_H
#define BASE_SAFETENSORS_H

#include "base/file.h"
#include "base/map.h"

enum st_type {
    ST_BOOL,
    ST_U8,
    ST_I8,
    ST_U16,
    ST_I16,
    ST_F16,
    ST_BF16,
    ST_U32,
    ST_I32,
    ST_F32,
    ST_U64,
    ST_I64,
    ST_F64
};
size_t st_type_size(enum st_type t);
const char *st_type_name(enum st_type t);

#define ST_MAX_DIMS 8
struct st_entry {
    const char *name; /* borrowed */
    enum st_type type;
    int dims;
    uint64_t shape[ST_MAX_DIMS];
    size_t count;     /* product of shape */
    const void *data; /* into the mapping; not necessarily aligned */
    size_t bytes;
};

struct st_file; /* opaque; immutable after open, so threads may share it */
medley_status st_open(const char *path, struct st_file **out, medley_error *err);
void st_close(struct st_file *f);
size_t st_count(const struct st_file *f);
const struct st_entry *st_at(const struct st_file *f, size_t i); /* in file order */
const struct st_entry *st_find(const struct st_file *f,
                               const char *name); /* NULL when absent */
/* Fails naming file, entry and what disagrees. dims -1 accepts any shape. */
medley_status st_require(const struct st_file *f, const char *name, enum st_type type, int dims,
                         const uint64_t *shape, const struct st_entry **out, medley_error *err);
const char *st_metadata(const struct st_file *f, const char *key); /* NULL when absent */
/* F32, F16, BF16 or F64 to float32; out[count]. False for other types. */
bool st_to_float(const struct st_entry *e, float *out);

/* Writing: declare all entries, then commit writes header and data in one atomic replacement.
 * The writer borrows names and data until then. Data offsets are aligned to 64 bytes where the
 * format allows (header padding; entries in declaration order). */
struct st_writer;                      /* opaque */
struct st_writer *st_writer_new(void); /* NULL when out of memory */
void st_writer_free(struct st_writer *w);
void st_writer_metadata(struct st_writer *w, const char *key, const char *value); /* copied */
void st_writer_add(struct st_writer *w, const char *name, enum st_type type, int dims,
                   const uint64_t *shape, const void *data); /* failures surface at commit */
/* The last entry's data lies in a shared mapping of a file, whose pages are given back to the
 * system once they are written. */
void st_writer_mapped(struct st_writer *w);
medley_status st_writer_commit(struct st_writer *w, const char *path, medley_error *err);

#endif
