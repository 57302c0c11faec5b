/* product_record.c: see product_record.h. */
#include "serve/product_record.h"

#include "base/file.h"

#include <assert.h>
#include <string.h>

#define VERSION 1
#define N_TEXTS 8
#define HEAD (4 + 4 * N_TEXTS + 8)
#define SUM 8

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are copied as they are");

/* In the order of the record. */
static void texts_of(struct product_record *r, medley_text *out[N_TEXTS])
{
    medley_product *p = &r->product;
    medley_text *const all[N_TEXTS] = {&r->locale,  &p->id,    &p->title, &p->description,
                                       &p->bullets, &p->brand, &p->color, &p->category};
    memcpy(out, all, sizeof all);
}

static uint64_t checksum(const void *bytes, size_t n)
{
    return hash_bytes(bytes, n, (struct hash128){0x7072, VERSION}).low;
}

size_t product_record_size(const struct product_record *r)
{
    struct product_record copy = *r;
    medley_text *texts[N_TEXTS];
    size_t n = HEAD + SUM;
    texts_of(&copy, texts);
    for (size_t i = 0; i < N_TEXTS; i++)
        n += texts[i]->n;
    return n;
}

static char *put(char *to, const void *from, size_t n)
{
    if (n)
        memcpy(to, from, n);
    return to + n;
}

void product_record_write(const struct product_record *r, void *out)
{
    struct product_record copy = *r;
    medley_text *texts[N_TEXTS];
    uint32_t head[1 + N_TEXTS] = {VERSION};
    texts_of(&copy, texts);
    for (size_t i = 0; i < N_TEXTS; i++)
        head[1 + i] = (uint32_t)texts[i]->n;
    char *to = put(out, head, sizeof head);
    to = put(to, &r->updated_ms, sizeof r->updated_ms);
    for (size_t i = 0; i < N_TEXTS; i++)
        to = put(to, texts[i]->s, texts[i]->n);
    uint64_t sum = checksum(out, (size_t)(to - (char *)out));
    put(to, &sum, sizeof sum);
}

bool product_record_read(const void *bytes, size_t n, struct product_record *out)
{
    const char *s = bytes;
    uint32_t head[1 + N_TEXTS];
    uint64_t sum;
    if (n < HEAD + SUM)
        return false;
    memcpy(head, s, sizeof head);
    memcpy(&sum, s + n - SUM, SUM);
    if (head[0] != VERSION || sum != checksum(s, n - SUM))
        return false;
    struct product_record r = {.product.has_text = true};
    medley_text *texts[N_TEXTS];
    size_t at = HEAD;
    texts_of(&r, texts);
    memcpy(&r.updated_ms, s + sizeof head, sizeof r.updated_ms);
    for (size_t i = 0; i < N_TEXTS; i++) {
        if (head[1 + i] > n - SUM - at)
            return false;
        *texts[i] = (medley_text){s + at, head[1 + i]};
        at += head[1 + i];
    }
    if (at != n - SUM)
        return false;
    *out = r;
    return true;
}
