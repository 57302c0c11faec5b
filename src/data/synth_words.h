/* synth_words.h: the vocabulary of the synthetic shop, in the order us, es, jp. */
#ifndef DATA_SYNTH_WORDS_H
#define DATA_SYNTH_WORDS_H

enum { SYNTH_LOCALES = 3, SYNTH_TYPES = 48, SYNTH_MAIN_TYPES = 24, SYNTH_BRANDS = 36 };
enum { SYNTH_COLORS = 10, SYNTH_ATTRIBUTES = 12, SYNTH_SIZES = 6, SYNTH_SENTENCES = 8 };

struct synth_type {
    const char *names[SYNTH_LOCALES][2]; /* the usual name and a synonym */
    const char *category;
    double price; /* typical, in the shop's currency */
};
/* Types from SYNTH_MAIN_TYPES on are accessories: type t belongs to type t - SYNTH_MAIN_TYPES.
 */
extern const struct synth_type synth_types[SYNTH_TYPES];

extern const char *const synth_locales[SYNTH_LOCALES];
extern const char *const synth_brands[SYNTH_BRANDS];
extern const char *const synth_colors[SYNTH_COLORS][SYNTH_LOCALES];
extern const char *const synth_attributes[SYNTH_ATTRIBUTES][SYNTH_LOCALES];
extern const char *const synth_sizes[SYNTH_SIZES];
extern const char *const synth_price_words[3][SYNTH_LOCALES]; /* any, cheap, premium */
extern const char *const synth_sentences[SYNTH_SENTENCES][SYNTH_LOCALES]; /* say nothing */
/* Phrases with one %s each. */
enum synth_phrase {
    PHRASE_FITS,
    PHRASE_COLOR,
    PHRASE_FEATURE,
    PHRASE_MAKER,
    PHRASE_SIZE,
    PHRASES
};
extern const char
    *const synth_phrases[PHRASES][SYNTH_LOCALES][2]; /* before and after the word */

#endif
