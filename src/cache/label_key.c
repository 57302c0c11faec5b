/* label_key.c: writing and hashing the keys of labels; label_key.h. */
#include "cache/label_key.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void add_part(struct strbuf *out, const char *s, size_t n)
{
    uint64_t length = n;
    sb_add(out, (const char *)&length, sizeof length);
    sb_add(out, s, n);
}

void label_key_shared(struct strbuf *out, const char *bundle, uint32_t models,
                      struct str locale, struct str folded_query)
{
    add_part(out, bundle, strlen(bundle));
    sb_add(out, (const char *)&models, sizeof models);
    add_part(out, locale.s, locale.n);
    add_part(out, folded_query.s, folded_query.n);
}

static struct hash128 hash_field(medley_text field, struct hash128 seed)
{
    return hash_bytes(field.n ? field.s : "", field.n, seed);
}

/* The text enters as its 128-bit hash alone: keeping it would make an entry some kilobytes
 * long. */
void label_key_own(struct strbuf *out, const medley_product *p, uint64_t epoch)
{
    struct hash128 text = {0, 0};
    add_part(out, p->id.s, p->id.n);
    const medley_text fields[] = {p->title, p->description, p->bullets,
                                  p->brand, p->color,       p->category};
    for (size_t i = 0; p->has_text && i < sizeof fields / sizeof fields[0]; i++)
        text = hash_field(fields[i], text);
    if (p->has_text)
        sb_add(out, (const char *)&text, sizeof text);
    if (epoch) /* 8 bytes more than without: lengths tell the four cases apart */
        sb_add(out, (const char *)&epoch, sizeof epoch);
}

struct hash128 label_key_hash(struct str shared)
{
    return hash_bytes(shared.n ? shared.s : "", shared.n, (struct hash128){0, 0});
}

struct label_key label_key_of(struct str shared, struct hash128 shared_hash, struct str own)
{
    return (struct label_key){hash_bytes(own.n ? own.s : "", own.n, shared_hash), shared, own};
}

uint64_t label_key_bundle(const char *bundle)
{
    return hash_bytes(bundle, strlen(bundle), (struct hash128){0, 0}).low;
}

/* ---- lists ------------------------------------------------------------------------------- */

struct label_key label_list_key(const struct label_list *l, size_t i)
{
    size_t from = i ? l->own_ends[i - 1] : 0;
    struct str own = {l->own.s + from, l->own_ends[i] - from};
    return label_key_of(sb_str(&l->shared), l->shared_hash, own);
}

bool label_list_same(const struct label_list *a, const struct label_list *b)
{
    return a->n == b->n && str_eq(sb_str(&a->shared), sb_str(&b->shared)) &&
           memcmp(a->own_ends, b->own_ends, a->n * sizeof *a->own_ends) == 0 &&
           str_eq(sb_str(&a->own), sb_str(&b->own));
}

void label_list_deinit(struct label_list *l)
{
    sb_deinit(&l->shared);
    sb_deinit(&l->own);
    mem_free(l->own_ends);
    *l = (struct label_list){0};
}

/* ---- normalised queries ------------------------------------------------------------------ */

/* C0 controls such as tab and newline, and the separators of Unicode. */
static bool is_space(uint32_t codepoint)
{
    if (codepoint <= 0x20 || codepoint == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

static void collapse_space(struct str text, struct strbuf *out)
{
    bool pending = false, started = false;
    uint32_t codepoint;
    for (size_t used; (used = utf8_decode(text, &codepoint)) > 0;) {
        if (is_space(codepoint)) {
            pending = true;
        } else {
            if (pending && started)
                sb_addc(out, ' ');
            sb_add(out, text.s, used);
            pending = false;
            started = true;
        }
        text = (struct str){text.s + used, text.n - used};
    }
}

/* The same as by Unicode's rules; most queries are such. False: nothing was done. */
static bool fold_ascii(struct str text, struct strbuf *out)
{
    char *start = sb_room(out, text.n), *to = start;
    bool pending = false;
    if (!start)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.s[i];
        if (c >= 0x80)
            return false;
        if (c > ' ' && pending && to > start)
            *to++ = ' ';
        pending = c <= ' ';
        if (c > ' ')
            *to++ = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    sb_took(out, (size_t)(to - start));
    return true;
}

medley_status label_key_fold(struct str text, struct strbuf *out, medley_error *err)
{
    utf8proc_uint8_t *folded = NULL;
    if (text.n == 0 || fold_ascii(text, out))
        return MEDLEY_OK;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text.s, (utf8proc_ssize_t)text.n, &folded,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
    if (n == UTF8PROC_ERROR_NOMEM)
        return fail_memory(err, "the folded query");
    if (n < 0)
        return fail(err, MEDLEY_EINVAL, "invalid UTF-8");
    collapse_space((struct str){(const char *)folded, (size_t)n}, out);
    free(folded); /* utf8proc allocates with malloc */
    return out->failed ? fail_memory(err, "the folded query") : MEDLEY_OK;
}
