/* bundle_files.c: see bundle_files.h. */
#include "ensemble/bundle_files.h"

#include "base/error.h"
#include "base/progress.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static medley_status copy_file(const char *from, const char *to, medley_error *err)
{
    struct mapping m;
    medley_status st = mapping_open(from, &m, err);
    if (st)
        return st;
    st = file_write(to, m.data, m.n, err);
    mapping_close(&m);
    return st;
}

medley_status bundle_link(const char *from, const char *to, medley_error *err)
{
    struct path parent;
    if (snprintf(parent.s, sizeof parent.s, "%s", to) >= (int)sizeof parent.s)
        return fail(err, MEDLEY_EINVAL, "the path '%.200s...' is too long", to);
    *strrchr(parent.s, '/') = '\0';
    medley_status st = make_folders(parent.s, err);
    if (!st && link(from, to) != 0)
        st = copy_file(from, to, err);
    return st;
}

/* "a/b"; empty, which no file operation accepts, when it does not fit. */
static struct path joined(const char *a, const char *b)
{
    struct path p;
    int n = snprintf(p.s, sizeof p.s, "%s/%s", a, b);
    if (n < 0 || (size_t)n >= sizeof p.s)
        p.s[0] = '\0';
    return p;
}

/* ---- walking ---- */

/* Files below a folder, in the order of their names. */
struct walk {
    const char *const *skip; /* folders at the top */
    medley_status (*file)(struct walk *w, const char *path, const char *name,
                          medley_error *err);
    const char *to;      /* of links */
    struct hash128 hash; /* of contents */
};

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static bool skipped(const struct walk *w, const char *name)
{
    for (const char *const *s = w->skip; *s; s++)
        if (strcmp(*s, name) == 0)
            return true;
    return false;
}

static medley_status walk_folder(struct walk *w, const char *top, const char *inner,
                                 medley_error *err);

static medley_status walk_entry(struct walk *w, const char *top, const char *name,
                                medley_error *err)
{
    struct path path = joined(top, name);
    struct stat info;
    if (!strchr(name, '/') && skipped(w, name))
        return MEDLEY_OK;
    if (stat(path.s, &info) != 0)
        return fail(err, MEDLEY_EIO, "cannot read '%s' in '%s': %s", name, top,
                    strerror(errno));
    if (S_ISDIR(info.st_mode))
        return walk_folder(w, top, name, err);
    return S_ISREG(info.st_mode) ? w->file(w, path.s, name, err) : MEDLEY_OK;
}

/* `inner`: a folder below the top, or empty for the top itself. */
static medley_status walk_folder(struct walk *w, const char *top, const char *inner,
                                 medley_error *err)
{
    struct path folder = joined(top, inner);
    struct dirent **entries = NULL;
    int n = scandir(folder.s, &entries, no_dots, by_name);
    if (n < 0)
        return fail(err, MEDLEY_EIO, "cannot read folder '%s': %s", folder.s, strerror(errno));
    medley_status st = MEDLEY_OK;
    for (int i = 0; i < n; i++) {
        struct path name = inner[0] ? joined(inner, entries[i]->d_name) : (struct path){{0}};
        if (!st)
            st = walk_entry(w, top, inner[0] ? name.s : entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return st;
}

static medley_status link_one(struct walk *w, const char *path, const char *name,
                              medley_error *err)
{
    struct path to = joined(w->to, name);
    return to.s[0] ? bundle_link(path, to.s, err)
                   : fail(err, MEDLEY_EINVAL, "the path of '%s' is too long", name);
}

medley_status bundle_link_tree(const char *from, const char *to, const char *const *skip,
                               medley_error *err)
{
    struct walk w = {.skip = skip, .file = link_one, .to = to};
    return walk_folder(&w, from, "", err);
}

static medley_status hash_one(struct walk *w, const char *path, const char *name,
                              medley_error *err)
{
    w->hash = hash_bytes(name, strlen(name) + 1, w->hash);
    return hash_file(path, &w->hash, err);
}

medley_status bundle_hash(const char *folder, struct hash128 *out, medley_error *err)
{
    static const char *const skip[] = {"about", "embeddings", NULL};
    struct walk w = {.skip = skip, .file = hash_one};
    medley_status st = walk_folder(&w, folder, "", err);
    if (!st)
        *out = w.hash;
    return st;
}

/* ---- publishing ---- */

/* A symlink is replaced by renaming a new one over it. */
static medley_status point_current(const struct workspace *w, const char *name,
                                   medley_error *err)
{
    struct path link_path = workspace_path(w, "bundle/current");
    struct path fresh = workspace_path(w, "bundle/.current-%ld", (long)getpid());
    unlink(fresh.s);
    if (symlink(name, fresh.s) != 0 || rename(fresh.s, link_path.s) != 0)
        return fail(err, MEDLEY_EIO, "cannot point '%s' at '%s': %s", link_path.s, name,
                    strerror(errno));
    return MEDLEY_OK;
}

/* Calls `each` for the files of `folder`. */
static medley_status for_files(const char *folder, const char *other,
                               medley_status (*each)(const char *file, const char *other,
                                                     medley_error *err),
                               medley_error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, no_dots, by_name);
    medley_status st = MEDLEY_OK;
    for (int i = 0; i < n; i++) {
        struct path a = joined(folder, entries[i]->d_name),
                    b = joined(other, entries[i]->d_name);
        if (!st)
            st = each(a.s, b.s, err);
        free(entries[i]);
    }
    free(entries);
    return n < 0 ? fail(err, MEDLEY_EIO, "cannot read folder '%s': %s", folder, strerror(errno))
                 : st;
}

static medley_status remove_unless(const char *file, const char *other, medley_error *err)
{
    if (file_exists(other) || unlink(file) == 0)
        return MEDLEY_OK;
    return fail(err, MEDLEY_EIO, "cannot remove '%s': %s", file, strerror(errno));
}

static medley_status move(const char *file, const char *other, medley_error *err)
{
    return rename(file, other) == 0
               ? MEDLEY_OK
               : fail(err, MEDLEY_EIO, "cannot rename '%s': %s", file, strerror(errno));
}

/* Each file takes the place of the old one whole; what the new folder lacks is removed. */
static medley_status move_folder(const char *from, const char *to, const char *name,
                                 medley_error *err)
{
    struct path ours = joined(from, name), theirs = joined(to, name);
    if (!folder_exists(ours.s))
        return remove_tree(theirs.s, err);
    medley_status st = make_folders(theirs.s, err);
    if (!st)
        st = for_files(theirs.s, ours.s, remove_unless, err);
    return st ? st : for_files(ours.s, theirs.s, move, err);
}

medley_status bundle_publish(const struct workspace *w, const char *folder, struct hash128 hash,
                             medley_error *err)
{
    char name[33];
    medley_status st = MEDLEY_OK;
    hash_text(hash, name);
    struct path final = workspace_path(w, "bundle/%s", name);
    if (folder_exists(final.s)) { /* the same content is there already */
        st = move_folder(folder, final.s, "embeddings", err);
        if (!st)
            st = move_folder(folder, final.s, "about", err);
        if (!st)
            st = remove_tree(folder, err);
    } else if (rename(folder, final.s) != 0) {
        st = fail(err, MEDLEY_EIO, "cannot name bundle '%s': %s", final.s, strerror(errno));
    }
    if (!st)
        st = point_current(w, name, err);
    if (!st)
        progress_note("bundle %s", name);
    return st;
}
