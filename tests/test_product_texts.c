/* test_product_texts.c: what was put comes back: after a restart, after kill -9, beside
 * readers; a full disk, damaged records and files, records of other bytes. */
#include "base/file.h"
#include "base/memory.h"
#include "serve/product_texts.h"
#include "tests/failing_page.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char folder[128];
static atomic_uint warnings;

static void count_warning(void *context, const char *text)
{
    (void)context;
    printf("# %s\n", text);
    atomic_fetch_add(&warnings, 1);
}

static struct product_texts *reopen(struct product_texts *t)
{
    medley_error err = {0};
    struct product_texts *out = NULL;
    product_texts_close(t);
    if (product_texts_open(folder, count_warning, NULL, &out, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return out;
}

static medley_text text(const char *z)
{
    return (medley_text){z, strlen(z)};
}

static bool put(struct product_texts *t, const char *locale, const char *id, const char *title)
{
    bool full;
    medley_product p = {.id = text(id), .has_text = true, .title = text(title)};
    return product_texts_put(t, text(locale), &p, 1, &full, NULL) == MEDLEY_OK;
}

/* The title that a request for `id` would be judged by; "" when it has no text. */
static const char *title_of(struct product_texts *t, const char *locale, const char *id)
{
    static char title[64];
    struct arena texts;
    medley_product p = {.id = text(id)};
    arena_init(&texts, 0);
    title[0] = 0;
    if (product_texts_fill(t, text(locale), &p, 1, &texts, NULL) == MEDLEY_OK && p.has_text)
        snprintf(title, sizeof title, "%.*s", (int)p.title.n, p.title.s);
    arena_deinit(&texts);
    return title;
}

/* ---- records ----------------------------------------------------------------------------- */

static void test_records(void)
{
    struct product_record r = {.locale = text("us"), .updated_ms = 1234567890123}, back;
    r.product = (medley_product){.id = text("B0"),
                                 .has_text = true,
                                 .title = text("A title"),
                                 .brand = text("Acme"),
                                 .category = text("Shoes")};
    size_t n = product_record_size(&r), refused = 0;
    char *bytes = mem_alloc(n, 1);
    product_record_write(&r, bytes);
    ok(product_record_read(bytes, n, &back) && back.updated_ms == r.updated_ms &&
           back.product.has_text && back.product.title.n == 7 &&
           memcmp(back.product.title.s, "A title", 7) == 0 && back.product.description.n == 0 &&
           memcmp(back.product.category.s, "Shoes", 5) == 0,
       "a record is read back");
    for (size_t i = 0; i < n; i++) {
        char *part = mem_alloc(i + 1, 1); /* of just that size, for ASan */
        memcpy(part, bytes, i);
        refused += !product_record_read(part, i, &back);
        mem_free(part);
        bytes[i] ^= 16;
        refused += !product_record_read(bytes, n, &back);
        bytes[i] ^= 16;
    }
    ok(refused == 2 * n, "cut short or with a bit changed it is refused");
    mem_free(bytes);
}

/* ---- texts ------------------------------------------------------------------------------- */

static void test_texts(void)
{
    struct product_texts *t = reopen(NULL);
    struct arena arena;
    struct product_record r;
    bool full, found;
    is_text(title_of(t, "us", "A"), "", "nothing is known at first");
    ok(put(t, "us", "A", "first") && put(t, "es", "A", "primero"), "texts are taken");
    is_text(title_of(t, "us", "A"), "first", "and come back");
    is_text(title_of(t, "es", "A"), "primero", "by locale");
    is_text(title_of(t, "jp", "A"), "", "which is part of the key");
    const medley_product twice[] = {
        {.id = text("A"), .has_text = true, .title = text("second")},
        {.id = text("B"), .has_text = true, .title = text("b"), .brand = text("Acme")},
        {.id = text("A"), .has_text = true, .title = text("third")}};
    ok(product_texts_put(t, text("us"), twice, 3, &full, NULL) == MEDLEY_OK, "a list");
    is_text(title_of(t, "us", "A"), "third", "of which the last counts");
    medley_product asked[] = {{.id = text("B")},
                              {.id = text("A"), .has_text = true, .title = text("own")},
                              {.has_text = true, .title = text("no id")},
                              {.id = text("C")}};
    arena_init(&arena, 0);
    ok(product_texts_fill(t, text("us"), asked, 4, &arena, NULL) == MEDLEY_OK &&
           asked[0].has_text && asked[0].brand.n == 4 && asked[1].title.n == 3 &&
           asked[2].title.n == 5 && !asked[3].has_text,
       "only products without a text get one");
    ok(product_texts_get(t, text("us"), text("B"), &r, &arena, &found, NULL) == MEDLEY_OK &&
           found && r.updated_ms > 1700000000000,
       "one product, with its time");
    ok(product_texts_get(t, text("us"), text("C"), &r, &arena, &found, NULL) == MEDLEY_OK &&
           !found,
       "or none");
    arena_deinit(&arena);
    struct product_texts *other = NULL;
    medley_error err = {0};
    ok(product_texts_open(folder, NULL, NULL, &other, &err) == MEDLEY_EIO &&
           strstr(err.message, "another process"),
       "a folder has one user: %s", err.message);
    t = reopen(t);
    is_text(title_of(t, "us", "A"), "third", "a restart keeps them");
    ok(product_texts_remove(t, text("us"), text("A"), &found, NULL) == MEDLEY_OK && found &&
           product_texts_remove(t, text("us"), text("A"), &found, NULL) == MEDLEY_OK && !found,
       "a text is removed, once");
    is_text(title_of(t, "us", "A"), "", "and gone");
    t = reopen(t);
    is_text(title_of(t, "us", "A"), "", "after a restart, too");
    is_text(title_of(t, "us", "B"), "b", "others stay");
    product_texts_close(t);
}

/* ---- misfortunes ------------------------------------------------------------------------- */

/* A child puts as fast as it can and tells of each that was acknowledged; after kill -9 all of
 * those are there. */
static void test_kill(void)
{
    int ends[2];
    unsigned last = 0, seen, missing = 0;
    if (!ok(pipe(ends) == 0, "a pipe"))
        return;
    pid_t child = fork();
    if (child == 0) {
        struct product_texts *t = reopen(NULL);
        for (unsigned i = 1;; i++) {
            char id[16];
            snprintf(id, sizeof id, "k%u", i);
            if (!put(t, "us", id, id) || write(ends[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    close(ends[1]);
    while (last < 40 && read(ends[0], &seen, sizeof seen) == sizeof seen)
        last = seen;
    kill(child, SIGKILL);
    while (read(ends[0], &seen, sizeof seen) == sizeof seen)
        last = seen;
    close(ends[0]);
    waitpid(child, NULL, 0);
    struct product_texts *t = reopen(NULL);
    for (unsigned i = 1; i <= last; i++) {
        char id[16];
        snprintf(id, sizeof id, "k%u", i);
        missing += strcmp(title_of(t, "us", id), id) != 0;
    }
    ok(last >= 40 && missing == 0, "killed after %u texts: %u are missing", last, missing);
    product_texts_close(t);
}

static void test_full(void)
{
    struct product_texts *t = reopen(NULL);
    struct rlimit before, small;
    static char large[60000];
    medley_product p = {.id = text("large"), .has_text = true, .title = {large, sizeof large}};
    medley_error err = {0};
    bool full = false;
    memset(large, 'x', sizeof large);
    put(t, "us", "F", "before");
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    medley_status st = product_texts_put(t, text("us"), &p, 1, &full, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    ok(st == MEDLEY_EIO && full, "no room: %s", err.message);
    t = reopen(t);
    is_text(title_of(t, "us", "F"), "before", "what was there stays");
    is_text(title_of(t, "us", "large"), "", "what was refused is not there");
    ok(put(t, "us", "F", "after"), "with room again it goes on");
    product_texts_close(t);
}

/* LMDB gives its environment up then. */
static void test_last_page(void)
{
    struct product_texts *t = reopen(NULL);
    bool found = false;
    for (int i = 0; i < 4; i++) { /* either of the first two pages, twice */
        char title[24];
        struct product_record r;
        struct arena texts;
        arena_init(&texts, 0);
        snprintf(title, sizeof title, "title %d", i);
        ok(put(t, "us", "L", title), "a text");
        atomic_store(&last_page_fails, true);
        ok(!put(t, "us", "L", "lost"), "is not replaced when the last page fails");
        is_text(title_of(t, "us", "L"), title, "but is still there");
        ok(product_texts_get(t, text("us"), text("L"), &r, &texts, &found, NULL) == MEDLEY_OK &&
               found,
           "for all who ask");
        ok(!put(t, "us", "L", "lost"), "again");
        atomic_store(&last_page_fails, false);
        is_text(title_of(t, "us", "L"), title, "then, too");
        arena_deinit(&texts);
    }
    char moved[160], path[160];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    snprintf(moved, sizeof moved, "%s/away", folder);
    atomic_store(&last_page_fails, true);
    put(t, "us", "L", "lost");
    atomic_store(&last_page_fails, false);
    ok(rename(path, moved) == 0, "the file is moved away");
    struct product_record r;
    struct arena texts;
    medley_error err = {0};
    arena_init(&texts, 0);
    ok(product_texts_get(t, text("us"), text("L"), &r, &texts, &found, &err) == MEDLEY_EIO,
       "a file that is away is no text that is not there: %s", err.message);
    ok(product_texts_get(t, text("us"), text("L"), &r, &texts, &found, &err) == MEDLEY_EIO,
       "nor when it is asked at once: %s", err.message);
    ok(rename(moved, path) == 0, "it is back");
    for (int i = 0; i < 40 && !*title_of(t, "us", "L"); i++)
        usleep(100000);
    is_text(title_of(t, "us", "L"), "title 3", "and read again, soon");
    arena_deinit(&texts);
    product_texts_close(t);
}

/* Flips a bit of every record. */
static void damage_records(void)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key, value;
    if (mdb_env_create(&env) || mdb_env_set_maxdbs(env, 1) ||
        mdb_env_open(env, folder, 0, 0600) || mdb_txn_begin(env, NULL, 0, &txn) ||
        mdb_dbi_open(txn, "texts", 0, &dbi) || mdb_cursor_open(txn, dbi, &cursor))
        exit(1);
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        char *copy = mem_alloc(value.mv_size, 1);
        memcpy(copy, value.mv_data, value.mv_size);
        copy[value.mv_size / 2] ^= 1;
        MDB_val changed = {value.mv_size, copy};
        if (mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT))
            exit(1);
        mem_free(copy);
    }
    mdb_cursor_close(cursor);
    if (mdb_txn_commit(txn))
        exit(1);
    mdb_env_close(env);
}

static void test_damage(void)
{
    struct strbuf metrics;
    struct product_texts *t = reopen(NULL);
    put(t, "us", "D", "d");
    product_texts_close(t);
    damage_records();
    atomic_store(&warnings, 0);
    t = reopen(NULL);
    is_text(title_of(t, "us", "D"), "", "a damaged record is no text");
    is_text(title_of(t, "us", "D"), "", "each time");
    ok(atomic_load(&warnings) == 1, "of which is warned once");
    sb_init(&metrics);
    product_texts_metrics(t, &metrics);
    ok(strstr(metrics.s, "medley_product_texts_unread_total 2\n") != NULL,
       "and which is counted");
    sb_deinit(&metrics);
    ok(put(t, "us", "D", "again"), "it can be put anew");
    is_text(title_of(t, "us", "D"), "again", "and is a text then");
    product_texts_close(t);

    char path[160];
    medley_error err = {0};
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    t = NULL;
    ok(truncate(path, 8192) == 0 &&
           product_texts_open(folder, NULL, NULL, &t, &err) == MEDLEY_EIO &&
           strstr(err.message, "move the folder away"),
       "a file that was cut short is refused, and left: %s", err.message);
    ok(file_exists(path), "for somebody to look at");
    unlink(path);
}

/* ---- threads ----------------------------------------------------------------------------- */

struct reading {
    struct product_texts *t;
    atomic_bool *over;
    unsigned wrong, n;
};

static void *read_on(void *context)
{
    struct reading *r = context;
    while (!atomic_load(r->over)) {
        struct arena texts;
        medley_product p[2] = {{.id = text("x")}, {.id = text("y")}};
        arena_init(&texts, 0);
        if (product_texts_fill(r->t, text("us"), p, 2, &texts, NULL) ||
            (p[0].has_text && p[1].has_text &&
             (p[0].title.n != p[1].title.n ||
              memcmp(p[0].title.s, p[1].title.s, p[0].title.n) != 0)))
            r->wrong++;
        r->n++;
        arena_deinit(&texts);
    }
    return NULL;
}

static void test_threads(void)
{
    struct product_texts *t = reopen(NULL);
    atomic_bool over = false;
    struct reading readers[3];
    pthread_t threads[3];
    bool good = true, full;
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reading){.t = t, .over = &over};
        pthread_create(&threads[i], NULL, read_on, &readers[i]);
    }
    for (int i = 0; i < 30; i++) {
        char title[24];
        snprintf(title, sizeof title, "%.*s%d", i % 9, "aaaaaaaaa", i);
        const medley_product both[] = {
            {.id = text("x"), .has_text = true, .title = text(title)},
            {.id = text("y"), .has_text = true, .title = text(title)}};
        atomic_store(&last_page_fails, i % 5 == 4);
        good &= (product_texts_put(t, text("us"), both, 2, &full, NULL) == MEDLEY_OK) !=
                (i % 5 == 4);
    }
    atomic_store(&last_page_fails, false);
    atomic_store(&over, true);
    unsigned wrong = 0, n = 0;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        wrong += readers[i].wrong;
        n += readers[i].n;
    }
    ok(good && wrong == 0, "%u readers beside a writer saw whole lists", n);
    product_texts_close(t);
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s/texts", tap_folder());
    test_records();
    test_texts();
    test_kill();
    test_full();
    test_last_page();
    test_threads();
    test_damage();
    return tap_done();
}
