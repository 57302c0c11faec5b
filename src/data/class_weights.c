/* class_weights.c: see class_weights.h. */
#include "data/class_weights.h"

#include "base/error.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

static bool take_balanced(const char *text, struct class_weights *out)
{
    static const char word[] = "balanced";
    size_t n = sizeof word - 1;
    out->power = 1;
    if (strncmp(text, word, n) != 0)
        return false;
    out->balanced =
        text[n] == 0 || (text[n] == '^' && str_to_double(str_of(text + n + 1), &out->power) &&
                         out->power >= 0 && out->power <= 1);
    return out->balanced;
}

medley_status class_weights_parse(const char *text, size_t n_classes, struct class_weights *out,
                                  medley_error *err)
{
    *out = (struct class_weights){.given = text != NULL};
    if (!text)
        return MEDLEY_OK;
    if (take_balanced(text, out))
        return MEDLEY_OK;
    double sum = 0;
    size_t n = 0;
    for (const char *at = text; at && n < n_classes; n++) {
        const char *comma = strchr(at, ',');
        struct str part = str_trim((struct str){at, comma ? (size_t)(comma - at) : strlen(at)});
        double v;
        if (!str_to_double(part, &v) || !(v >= 0 && v <= 1e6))
            break;
        sum += out->of[n] = v;
        at = comma ? comma + 1 : NULL;
        if (!at && n + 1 == n_classes && sum > 0)
            return MEDLEY_OK;
    }
    return fail(
        err, MEDLEY_EINVAL,
        "option 'class_weights' is '%.100s' (expected 'balanced', 'balanced^0.5' or %zu "
        "numbers of at least 0, by commas)",
        text, n_classes);
}

void class_weights_fill(const struct class_weights *w, const size_t *counts, size_t n_classes,
                        double *out)
{
    size_t n = 0;
    for (size_t c = 0; c < n_classes; c++)
        n += counts[c];
    for (size_t c = 0; c < n_classes; c++)
        out[c] = !w->given      ? 1
                 : !w->balanced ? w->of[c]
                 : counts[c] > 0
                     ? pow((double)n / ((double)n_classes * (double)counts[c]), w->power)
                     : 0;
}
