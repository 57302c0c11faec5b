/* product_texts.c: see product_texts.h. */
#include "serve/product_texts.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cache/label_cache.h"
#include "cache/lmdb_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MAP_BYTES ((size_t)16 << 30) /* of address space, not of disk */
#define FILTER_BITS ((size_t)1 << 23)

struct product_texts {
    struct lmdb_file file;
    MDB_dbi records;
    int lock_fd;
    atomic_uint_least64_t *filter;                         /* [FILTER_BITS / 64] */
    atomic_uint_least64_t stored, put, filled, put_failed; /* products; the last: lists */
    atomic_uint_least64_t damaged, unread;
    atomic_uint warned; /* bit: kind of trouble */
    void (*warn)(void *context, const char *text);
    void *warn_context;
};

/* ---- keys -------------------------------------------------------------------------------- */

static struct hash128 key_of(medley_text locale, medley_text id)
{
    uint64_t length = locale.n;
    struct hash128 h = hash_bytes(&length, sizeof length, (struct hash128){0, 0});
    h = hash_bytes(locale.n ? locale.s : "", locale.n, h);
    return hash_bytes(id.n ? id.s : "", id.n, h);
}

/* Two bits a product: at 100,000 products one in 1,700 others is looked for in vain. */
static void filter_add(struct product_texts *t, struct hash128 key)
{
    const uint64_t both[] = {key.low % FILTER_BITS, key.high % FILTER_BITS};
    for (int i = 0; i < 2; i++)
        atomic_fetch_or(&t->filter[both[i] / 64], UINT64_C(1) << both[i] % 64);
}

static bool filter_has(struct product_texts *t, struct hash128 key)
{
    const uint64_t both[] = {key.low % FILTER_BITS, key.high % FILTER_BITS};
    for (int i = 0; i < 2; i++)
        if (!(atomic_load(&t->filter[both[i] / 64]) >> both[i] % 64 & 1))
            return false;
    return true;
}

/* ---- opening ----------------------------------------------------------------------------- */

static int read_keys(struct product_texts *t, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int e = mdb_cursor_open(txn, t->records, &cursor);
    while (!e && !(e = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        struct hash128 hash;
        if (key.mv_size != sizeof hash)
            continue;
        memcpy(&hash, key.mv_data, sizeof hash);
        filter_add(t, hash);
        atomic_fetch_add(&t->stored, 1);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return e == MDB_NOTFOUND ? 0 : e;
}

static int open_databases(void *context, MDB_txn *txn)
{
    struct product_texts *t = context;
    return mdb_dbi_open(txn, "texts", MDB_CREATE, &t->records);
}

static int open_file(struct product_texts *t, const char *folder)
{
    MDB_txn *txn;
    int e = lmdb_open(&t->file, &(struct lmdb_options){.folder = folder,
                                                       .bytes = MAP_BYTES,
                                                       .databases = 1,
                                                       .open_databases = open_databases,
                                                       .context = t});
    if (!e)
        e = lmdb_begin(&t->file, MDB_RDONLY, &txn);
    if (e)
        return e;
    e = read_keys(t, txn);
    lmdb_abort(&t->file, txn);
    return e;
}

medley_status product_texts_open(const char *folder,
                                 void (*warn)(void *context, const char *text),
                                 void *warn_context, struct product_texts **out,
                                 medley_error *err)
{
    struct product_texts *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return fail_memory(err, "texts of products");
    t->lock_fd = -1;
    t->warn = warn;
    t->warn_context = warn_context;
    medley_status st = lmdb_take_folder(folder, &t->lock_fd, err);
    if (!st && !(t->filter = mem_zalloc(FILTER_BITS / 64, sizeof *t->filter)))
        st = fail_memory(err, "texts of products");
    int e = st ? 0 : open_file(t, folder);
    if (e)
        st =
            fail(err, e == ENOMEM ? MEDLEY_ENOMEM : MEDLEY_EIO,
                 "cannot open the texts of products in '%s': %s (move the folder away to begin "
                 "anew, or put back a copy)",
                 folder, mdb_strerror(e));
    if (st)
        product_texts_close(t);
    else
        *out = t;
    return st;
}

void product_texts_close(struct product_texts *t)
{
    if (!t)
        return;
    lmdb_close(&t->file);
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    mem_free(t->filter);
    mem_free(t);
}

/* ---- trouble ----------------------------------------------------------------------------- */

enum trouble { UNREAD, DAMAGED };

static void suffer(struct product_texts *t, enum trouble what, const char *why)
{
    char text[200];
    atomic_fetch_add(what == UNREAD ? &t->unread : &t->damaged, 1);
    if (!t->warn || atomic_fetch_or(&t->warned, 1u << what) >> what & 1)
        return;
    snprintf(text, sizeof text, "texts of products: %s; the bundle's text answers instead",
             why);
    t->warn(t->warn_context, text);
}

/* ---- writing ----------------------------------------------------------------------------- */

static medley_status fail_put(struct product_texts *t, int e, bool *full, medley_error *err)
{
    *full = e == ENOSPC || e == EFBIG || e == EDQUOT || e == MDB_MAP_FULL;
    atomic_fetch_add(&t->put_failed, 1);
    return fail(err, e == ENOMEM ? MEDLEY_ENOMEM : MEDLEY_EIO,
                "texts of products cannot be written: %s", mdb_strerror(e));
}

static int put_one(struct product_texts *t, MDB_txn *txn, const struct product_record *r)
{
    struct hash128 key = key_of(r->locale, r->product.id);
    MDB_val k = {sizeof key, &key}, v = {product_record_size(r), NULL};
    int e = mdb_put(txn, t->records, &k, &v, MDB_RESERVE);
    if (!e)
        product_record_write(r, v.mv_data);
    return e;
}

static int count_stored(struct product_texts *t, MDB_txn *txn, uint64_t *out)
{
    MDB_stat stat;
    int e = mdb_stat(txn, t->records, &stat);
    if (!e)
        *out = stat.ms_entries;
    return e;
}

medley_status product_texts_put(struct product_texts *t, medley_text locale,
                                const medley_product *list, size_t n, bool *full,
                                medley_error *err)
{
    MDB_txn *txn = NULL;
    uint64_t stored = 0;
    int64_t now = label_cache_now();
    for (size_t i = 0; i < n; i++) /* before readers can find it */
        filter_add(t, key_of(locale, list[i].id));
    int e = lmdb_begin(&t->file, 0, &txn);
    for (size_t i = 0; !e && i < n; i++)
        e = put_one(t, txn, &(struct product_record){locale, list[i], now});
    if (!e)
        e = count_stored(t, txn, &stored);
    if (!e)
        e = lmdb_commit(&t->file, txn);
    else
        lmdb_abort(&t->file, txn);
    if (e)
        return fail_put(t, e, full, err);
    atomic_store(&t->stored, stored);
    atomic_fetch_add(&t->put, n);
    return MEDLEY_OK;
}

medley_status product_texts_remove(struct product_texts *t, medley_text locale, medley_text id,
                                   bool *found, medley_error *err)
{
    MDB_txn *txn = NULL;
    uint64_t stored = 0;
    bool full;
    struct hash128 key = key_of(locale, id);
    MDB_val k = {sizeof key, &key};
    int e = lmdb_begin(&t->file, 0, &txn);
    if (!e)
        e = mdb_del(txn, t->records, &k, NULL);
    *found = e == 0;
    if (e == MDB_NOTFOUND)
        e = 0;
    if (!e)
        e = count_stored(t, txn, &stored);
    if (!e)
        e = lmdb_commit(&t->file, txn);
    else
        lmdb_abort(&t->file, txn);
    if (e)
        return fail_put(t, e, &full, err);
    atomic_store(&t->stored, stored);
    return MEDLEY_OK;
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool same(medley_text a, medley_text b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

/* The record in the file, while txn lasts. LMDB's status; MDB_NOTFOUND: there is none, or it
 * is damaged. */
static int look(struct product_texts *t, MDB_txn *txn, medley_text locale, medley_text id,
                struct product_record *out)
{
    struct hash128 key = key_of(locale, id);
    MDB_val k = {sizeof key, &key}, v;
    int e = mdb_get(txn, t->records, &k, &v);
    if (e)
        return e;
    if (!product_record_read(v.mv_data, v.mv_size, out)) {
        suffer(t, DAMAGED, "a record is damaged");
        return MDB_NOTFOUND;
    }
    return same(out->locale, locale) && same(out->product.id, id) ? 0 : MDB_NOTFOUND;
}

/* The texts of *p, which are the file's, become the arena's. */
static bool keep_texts(medley_product *p, struct arena *texts)
{
    medley_text *const all[] = {&p->title, &p->description, &p->bullets,
                                &p->brand, &p->color,       &p->category};
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        n += all[i]->n;
    char *to = arena_alloc(texts, n + 1, 1);
    for (size_t i = 0; to && i < sizeof all / sizeof *all; i++) {
        if (all[i]->n)
            memcpy(to, all[i]->s, all[i]->n);
        all[i]->s = to;
        to += all[i]->n;
    }
    return to != NULL;
}

medley_status product_texts_fill(struct product_texts *t, medley_text locale,
                                 medley_product *list, size_t n, struct arena *texts,
                                 medley_error *err)
{
    MDB_txn *txn = NULL;
    size_t filled = 0;
    bool room = true;
    int e = 0;
    for (size_t i = 0; i < n && room && (!e || e == MDB_NOTFOUND); i++) {
        struct product_record r;
        if (list[i].has_text || list[i].id.n == 0 || !filter_has(t, key_of(locale, list[i].id)))
            continue;
        e = txn ? 0 : lmdb_begin(&t->file, MDB_RDONLY, &txn);
        if (!e)
            e = look(t, txn, locale, list[i].id, &r);
        if (e)
            continue;
        room = keep_texts(&r.product, texts);
        if (room) {
            r.product.id = list[i].id;
            list[i] = r.product;
            filled++;
        }
    }
    lmdb_abort(&t->file, txn);
    if (e && e != MDB_NOTFOUND)
        suffer(t, UNREAD, mdb_strerror(e));
    atomic_fetch_add(&t->filled, filled);
    return room ? MEDLEY_OK : fail_memory(err, "texts of products");
}

medley_status product_texts_get(struct product_texts *t, medley_text locale, medley_text id,
                                struct product_record *out, struct arena *texts, bool *found,
                                medley_error *err)
{
    MDB_txn *txn;
    medley_status st = MEDLEY_OK;
    int e = lmdb_begin(&t->file, MDB_RDONLY, &txn);
    if (!e)
        e = look(t, txn, locale, id, out);
    *found = e == 0;
    if (*found && !keep_texts(&out->product, texts))
        st = fail_memory(err, "the text of a product");
    out->locale = locale;
    out->product.id = id;
    lmdb_abort(&t->file, txn);
    return e && e != MDB_NOTFOUND
               ? fail(err, MEDLEY_EIO, "texts of products cannot be read: %s", mdb_strerror(e))
               : st;
}

/* ---- /metrics ---------------------------------------------------------------------------- */

static void metric(struct strbuf *out, const char *name, const char *type, const char *help,
                   uint64_t v)
{
    sb_addf(out, "# TYPE medley_product_texts%s %s\n# HELP medley_product_texts%s %s\n", name,
            type, name, help);
    sb_addf(out, "medley_product_texts%s%s %" PRIu64 "\n", name,
            strcmp(type, "counter") == 0 ? "_total" : "", v);
}

void product_texts_metrics(struct product_texts *t, struct strbuf *out)
{
    metric(out, "", "gauge", "Products with a text newer than the bundle's.",
           atomic_load(&t->stored));
    metric(out, "_put", "counter", "Texts of products that were taken.", atomic_load(&t->put));
    metric(out, "_used", "counter", "Products of requests that had such a text.",
           atomic_load(&t->filled));
    metric(out, "_failed", "counter", "Lists of texts that could not be written.",
           atomic_load(&t->put_failed));
    metric(out, "_unread", "counter",
           "Texts that could not be read, or were damaged: the bundle's answered.",
           atomic_load(&t->unread) + atomic_load(&t->damaged));
}
