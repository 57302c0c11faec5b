/* result_pieces.c: see result_pieces.h. */
#include "serve/result_pieces.h"

#include "base/decimal.h"
#include "base/json.h"
#include "base/memory.h"

static struct slice piece(struct result_pieces *p, const char *before, const char *text,
                          const char *after)
{
    struct slice s = {.at = p->text.n};
    sb_addz(&p->text, before);
    json_add_text(&p->text, str_of(text));
    sb_addz(&p->text, after);
    s.n = p->text.n - s.at;
    return s;
}

struct result_pieces *result_pieces_new(const struct engine *e)
{
    struct result_pieces *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->e = e;
    sb_init(&p->text);
    for (size_t k = 0; k < e->n_classes; k++) {
        p->classes[k] = piece(p, k ? "," : "{", e->classes[k], ":");
        p->labels[k] = piece(p, "", e->classes[k], "");
    }
    for (size_t m = 0; m <= e->n_models; m++)
        p->players[m] =
            piece(p, m ? "," : "{", m < e->n_models ? e->models[m] : "context", ":");
    for (size_t m = 0; m < e->n_models; m++)
        p->models[m] = piece(p, "", e->models[m], "");
    /* What all classes and models together take bounds what each list of them takes. */
    size_t numbers = p->text.n + MEDLEY_MAX_CLASSES * DECIMAL_ROOM;
    p->room = 512 + 3 * DECIMAL_ROOM + 10 * numbers;
    p->room_explained = p->room + numbers * (e->n_models + 2);
    if (!p->text.failed)
        return p;
    result_pieces_free(p);
    return NULL;
}

void result_pieces_free(struct result_pieces *p)
{
    if (p)
        sb_deinit(&p->text);
    mem_free(p);
}
