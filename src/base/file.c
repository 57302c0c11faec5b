/* file.c: whole files, mappings, atomic replacement, folders and content hashes.
 * Proof: tests/test_base_file.c. */
#include "base/file.h"

#include "base/error.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file formats are read in place: little-endian machines only"
#endif

/* ---- reading
 * --------------------------------------------------------------------------------- */

static medley_status open_to_read(const char *path, int *fd, struct stat *info,
                                  medley_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return fail(err, errno == ENOENT ? MEDLEY_ENOTFOUND : MEDLEY_EIO,
                    "cannot open '%s': %s", path, strerror(errno));
    if (fstat(*fd, info) == 0 && !S_ISDIR(info->st_mode))
        return MEDLEY_OK;
    medley_status st = fail(err, MEDLEY_EIO, "cannot read '%s': it is a folder", path);
    close(*fd);
    return st;
}

static medley_status read_all(int fd, const char *path, size_t limit, struct strbuf *text,
                              medley_error *err)
{
    char part[65536];
    for (;;) {
        ssize_t got = read(fd, part, sizeof part);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, MEDLEY_EIO, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            return MEDLEY_OK;
        if ((size_t)got > limit - text->n)
            return fail(err, MEDLEY_EFORMAT, "'%s' is larger than %zu bytes", path, limit);
        sb_add(text, part, (size_t)got);
        if (text->failed)
            return fail_memory(err, path);
    }
}

medley_status file_read(const char *path, size_t limit, char **data, size_t *n,
                        medley_error *err)
{
    int fd;
    struct stat info;
    struct strbuf text;
    char *whole = NULL;
    medley_status st = open_to_read(path, &fd, &info, err);
    if (st)
        return st;
    sb_init(&text);
    st = read_all(fd, path, limit, &text, err);
    size_t length = text.n;
    if (st == MEDLEY_OK) {
        whole = sb_steal(&text);
        if (!whole)
            st = fail_memory(err, path);
    }
    if (st == MEDLEY_OK) {
        *data = whole;
        *n = length;
    }
    sb_deinit(&text);
    close(fd);
    return st;
}

medley_status mapping_open(const char *path, struct mapping *out, medley_error *err)
{
    int fd;
    struct stat info;
    medley_status st = open_to_read(path, &fd, &info, err);
    if (st)
        return st;
    struct mapping m = {NULL, (size_t)info.st_size};
    if (!S_ISREG(info.st_mode)) {
        st = fail(err, MEDLEY_EIO, "cannot map '%s': it is not a regular file", path);
    } else if (m.n) {
        void *p = mmap(NULL, m.n, PROT_READ, MAP_PRIVATE, fd, 0);
        m.data = p;
        if (p == MAP_FAILED)
            st = fail(err, MEDLEY_EIO, "cannot map '%s': %s", path, strerror(errno));
    }
    close(fd);
    if (st == MEDLEY_OK)
        *out = m;
    return st;
}

void mapping_close(struct mapping *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->n);
    *m = (struct mapping){NULL, 0};
}

void mapping_give_back(const uint8_t *from, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)from + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)from + n) / page * page;
    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* ---- atomic replacement
 * ---------------------------------------------------------------------- */

medley_status outfile_open(struct outfile *o, const char *path, medley_error *err)
{
    static atomic_uint counter; /* two threads may write the same path */
    struct strbuf name;
    *o = (struct outfile){0};
    sb_init(&name);
    sb_addf(&name, "%s.tmp.%ld", path, (long)getpid());
    unsigned serial = atomic_fetch_add(&counter, 1);
    if (serial)
        sb_addf(&name, ".%u", serial);
    o->temporary = sb_steal(&name);
    o->path = mem_strdup(path);
    if (!o->temporary || !o->path) {
        outfile_abort(o);
        return fail_memory(err, path);
    }
    int fd = open(o->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    o->f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!o->f) {
        medley_status st =
            fail(err, MEDLEY_EIO, "cannot create '%s': %s", o->temporary, strerror(errno));
        if (fd >= 0)
            close(fd);
        outfile_abort(o);
        return st;
    }
    return MEDLEY_OK;
}

/* A rename is durable once the folder that holds the name is. Filesystems that cannot sync a
 * folder say EINVAL, which is no failure. */
static bool sync_folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    char kept = slash ? slash[1] : 0;
    if (slash)
        slash[1] = 0; /* for the moment: nothing here may fail for want of memory */
    int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (slash)
        slash[1] = kept;
    errno = cause;
    return good;
}

medley_status outfile_commit(struct outfile *o, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    errno = 0;
    bool written = fflush(o->f) == 0 && !ferror(o->f) && fsync(fileno(o->f)) == 0;
    int cause = errno;
    if (fclose(o->f) != 0 && written) {
        written = false;
        cause = errno;
    }
    o->f = NULL;
    if (!written)
        st = fail(err, MEDLEY_EIO, "cannot write '%s': %s", o->path,
                  strerror(cause ? cause : EIO));
    else if (rename(o->temporary, o->path) != 0)
        st = fail(err, MEDLEY_EIO, "cannot replace '%s': %s", o->path, strerror(errno));
    else if (!sync_folder_of(o->path))
        st = fail(err, MEDLEY_EIO, "cannot sync the folder of '%s': %s", o->path,
                  strerror(errno));
    outfile_abort(o); /* after the rename there is nothing left to unlink */
    return st;
}

void outfile_abort(struct outfile *o)
{
    if (o->f)
        fclose(o->f);
    if (o->temporary)
        unlink(o->temporary);
    mem_free(o->path);
    mem_free(o->temporary);
    *o = (struct outfile){0};
}

medley_status file_write(const char *path, const void *data, size_t n, medley_error *err)
{
    struct outfile o;
    medley_status st = outfile_open(&o, path, err);
    if (st)
        return st;
    if (n)
        fwrite(data, 1, n, o.f); /* a failure shows at commit */
    return outfile_commit(&o, err);
}

/* ---- folders and paths
 * ----------------------------------------------------------------------- */

bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool folder_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

medley_status make_folders(const char *path, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    char *copy = mem_strdup(path);
    if (!copy)
        return fail_memory(err, path);
    size_t n = strlen(copy);
    for (size_t i = 1; i <= n && st == MEDLEY_OK; i++) {
        if (copy[i] != '/' && copy[i] != 0)
            continue;
        char kept = copy[i];
        copy[i] = 0;
        if (mkdir(copy, 0777) != 0 && !folder_exists(copy))
            st = fail(err, MEDLEY_EIO, "cannot create folder '%s': %s", copy, strerror(errno));
        copy[i] = kept;
    }
    mem_free(copy);
    return st;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info, (void)kind, (void)position;
    return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

medley_status remove_tree(const char *path, medley_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0 && errno == ENOENT)
        return MEDLEY_OK;
    int failed = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (failed == 0 || (failed < 0 && errno == ENOENT))
        return MEDLEY_OK;
    return fail(err, MEDLEY_EIO, "cannot remove '%s': %s", path,
                strerror(failed > 0 ? failed : errno));
}

char *path_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (b[0] == '/' || n == 0)
        return mem_strdup(b);
    if (b[0] == 0)
        return mem_strdup(a);
    struct strbuf path;
    sb_init(&path);
    sb_add(&path, a, n);
    if (a[n - 1] != '/')
        sb_addc(&path, '/');
    sb_addz(&path, b);
    return sb_steal(&path);
}

/* ---- content hashes
 * -------------------------------------------------------------------------- */

/* XXH3's own seed has 64 bits; the content's hash is instead hashed together with the whole
 * seed, so that hash_file and hash_bytes agree and a chain of hashes loses nothing. */
static struct hash128 chain(struct hash128 seed, XXH128_hash_t content)
{
    uint64_t words[4] = {seed.low, seed.high, content.low64, content.high64};
    XXH128_hash_t h = XXH3_128bits(words, sizeof words);
    return (struct hash128){h.low64, h.high64};
}

struct hash128 hash_bytes(const void *data, size_t n, struct hash128 seed)
{
    return chain(seed, XXH3_128bits(data, n));
}

medley_status hash_file(const char *path, struct hash128 *inout, medley_error *err)
{
    enum { PART = 1 << 18 };
    int fd;
    struct stat info;
    medley_status st = open_to_read(path, &fd, &info, err);
    if (st)
        return st;
    XXH3_state_t *state = XXH3_createState();
    char *part = mem_alloc(PART, 1);
    ssize_t got = 1;
    if (!state || !part) {
        st = fail_memory(err, path);
        goto done;
    }
    XXH3_128bits_reset(state);
    while (got != 0) {
        got = read(fd, part, PART);
        if (got < 0 && errno != EINTR) {
            st = fail(err, MEDLEY_EIO, "cannot read '%s': %s", path, strerror(errno));
            goto done;
        }
        if (got > 0)
            XXH3_128bits_update(state, part, (size_t)got);
    }
    *inout = chain(*inout, XXH3_128bits_digest(state));
done:
    XXH3_freeState(state);
    mem_free(part);
    close(fd);
    return st;
}

void hash_text(struct hash128 h, char out[33])
{
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, h.high, h.low);
}
