/* synth_text.c: how the synthetic shop describes its products, and how people ask for them:
 * with synonyms, typing errors, and texts that leave out what matters. Tested by test_synth.c.
 */
#include "data/synth_world.h"

#include <string.h>

void synth_product_id(uint32_t product, struct strbuf *out)
{
    sb_addf(out, "M%09u", product);
}

static void add_word(struct strbuf *out, const char *word)
{
    if (*word == 0)
        return;
    if (out->n)
        sb_addc(out, ' '); /* Japanese shop titles separate words with spaces too */
    sb_addz(out, word);
}

/* A line name that brand and type share, made of syllables: "Zenoro 300". */
static void add_series(struct strbuf *out, const struct synth_product *p)
{
    static const char *const syllables[] = {"ze", "no", "ra", "vi", "lo", "ta", "mi",  "ku",
                                            "so", "fe", "ri", "da", "xa", "pe", "dro", "ne"};
    uint64_t h = mix64(7, p->brand, p->type);
    size_t begin = out->n;
    for (int i = 0; i < 3; i++)
        sb_addz(out, syllables[(h >> (4 * i)) & 15]);
    if (!out->failed)
        out->s[begin] = (char)(out->s[begin] - 'a' + 'A');
    sb_addf(out, " %u", (unsigned)((h >> 12) % 9 + 1) * 100 + p->size * 10);
}

static void add_phrase(struct strbuf *out, enum synth_phrase phrase, unsigned locale,
                       const char *word)
{
    sb_addz(out, synth_phrases[phrase][locale][0]);
    sb_addz(out, word);
    sb_addz(out, synth_phrases[phrase][locale][1]);
}

/* The usual name, or in one of five cases the synonym. */
static const char *type_name(const struct synth_product *p, struct rng *r)
{
    return synth_types[p->type].names[p->locale][rng_below(r, 5) == 0];
}

static void build_title(const struct synth_product *p, struct rng *r, struct strbuf *out)
{
    sb_clear(out);
    add_word(out, synth_brands[p->brand]);
    sb_addc(out, ' ');
    add_series(out, p);
    const char *name = type_name(p, r);
    if (!(p->hidden & HIDES_TYPE))
        add_word(out, name);
    for (unsigned a = 0; a < SYNTH_ATTRIBUTES && !(p->hidden & HIDES_ATTRIBUTES); a++)
        if (p->attributes >> a & 1 && rng_below(r, 3) > 0)
            add_word(out, synth_attributes[a][p->locale]);
    if (!(p->hidden & HIDES_COLOR))
        add_word(out, synth_colors[p->color][p->locale]);
    if (rng_below(r, 2)) {
        sb_addz(out, ", ");
        sb_addz(out, synth_sizes[p->size]);
    }
    /* An accessory names what it fits, so that the words of a query mislead. */
    if (p->type >= SYNTH_MAIN_TYPES && rng_below(r, 3) > 0) {
        const char *host = synth_types[p->type - SYNTH_MAIN_TYPES].names[p->locale][0];
        sb_addz(out, ", ");
        add_phrase(out, PHRASE_FITS, p->locale, host);
    }
}

static void build_bullets(const struct synth_product *p, struct rng *r, struct strbuf *out)
{
    sb_clear(out);
    add_phrase(out, PHRASE_MAKER, p->locale, synth_brands[p->brand]);
    for (unsigned a = 0; a < SYNTH_ATTRIBUTES && !(p->hidden & HIDES_ATTRIBUTES); a++)
        if (p->attributes >> a & 1) {
            sb_addc(out, '\n');
            add_phrase(out, PHRASE_FEATURE, p->locale, synth_attributes[a][p->locale]);
        }
    if (!(p->hidden & HIDES_COLOR)) {
        sb_addc(out, '\n');
        add_phrase(out, PHRASE_COLOR, p->locale, synth_colors[p->color][p->locale]);
    }
    sb_addc(out, '\n');
    add_phrase(out, PHRASE_SIZE, p->locale, synth_sizes[p->size]);
    sb_addc(out, '\n');
    sb_addz(out, synth_sentences[rng_below(r, SYNTH_SENTENCES)][p->locale]);
}

static void build_description(const struct synth_product *p, struct rng *r, struct strbuf *out)
{
    sb_clear(out);
    if (rng_below(r, 4) == 0)
        return; /* many shops have none */
    if (!(p->hidden & HIDES_TYPE)) {
        sb_addz(out, synth_brands[p->brand]);
        add_word(out, type_name(p, r));
        sb_addz(out, ". ");
    }
    for (uint32_t n = 1 + rng_below(r, 3); n > 0; n--) {
        sb_addz(out, synth_sentences[rng_below(r, SYNTH_SENTENCES)][p->locale]);
        sb_addc(out, ' ');
    }
}

static void add_csv(struct strbuf *out, struct str field)
{
    sb_addc(out, '"');
    for (size_t i = 0; i < field.n; i++) {
        if (field.s[i] == '"')
            sb_addc(out, '"');
        sb_addc(out, field.s[i]);
    }
    sb_addz(out, "\",");
}

void synth_product_row(const struct synth_world *w, uint32_t product, struct strbuf *out)
{
    const struct synth_product *p = &w->products[product];
    struct strbuf text;
    struct rng r;
    synth_rng(w, STREAM_TEXT, product, &r);
    sb_init(&text);
    synth_product_id(product, out);
    sb_addc(out, ',');
    build_title(p, &r, &text);
    add_csv(out, str_trim(sb_str(&text)));
    build_description(p, &r, &text);
    add_csv(out, str_trim(sb_str(&text)));
    build_bullets(p, &r, &text);
    add_csv(out, str_trim(sb_str(&text)));
    sb_addf(out, "%s,%s,%s", synth_brands[p->brand],
            p->hidden & HIDES_COLOR ? "" : synth_colors[p->color][p->locale],
            synth_locales[p->locale]);
    if (text.failed)
        out->failed = true;
    sb_deinit(&text);
}

/* Swaps two neighbouring letters of an ASCII word: the commonest slip of the finger. */
static void add_typing_error(struct strbuf *text, struct rng *r)
{
    if (text->n < 5 || text->failed)
        return;
    size_t at = 1 + rng_below(r, (uint32_t)(text->n - 3));
    char *s = text->s + at;
    if (s[0] > ' ' && s[1] > ' ' && (s[0] & 0x80) == 0 && (s[1] & 0x80) == 0) {
        char kept = s[0];
        s[0] = s[1];
        s[1] = kept;
    }
}

void synth_query_text(const struct synth_query *q, struct rng *r, struct strbuf *out)
{
    const char *type = synth_types[q->type].names[q->locale][rng_below(r, 20) < 7];
    const char *brand = q->brand == SYNTH_ANY ? "" : synth_brands[q->brand];
    const char *color = q->color == SYNTH_ANY ? "" : synth_colors[q->color][q->locale];
    const char *attribute =
        q->attribute == SYNTH_ANY ? "" : synth_attributes[q->attribute][q->locale];
    const char *price = synth_price_words[q->price][q->locale];
    const char *orders[2][5] = {{price, brand, color, type, attribute},
                                {type, color, brand, attribute, price}};
    const char **order = orders[rng_below(r, 2)];
    sb_clear(out);
    for (int i = 0; i < 5; i++)
        add_word(out, order[i]);
    if (rng_below(r, 12) == 0)
        add_typing_error(out, r);
    for (size_t i = 0; i < out->n; i++) /* people do not type capitals */
        if (out->s[i] >= 'A' && out->s[i] <= 'Z')
            out->s[i] = (char)(out->s[i] - 'A' + 'a');
}
