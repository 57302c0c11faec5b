/* event_time.c: see event_time.h. */
#include "data/event_time.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* ---- times --------------------------------------------------------------------------------
 */

/* n digits at *at. */
static bool digits(const char **at, const char *end, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, ++*at) {
        if (*at == end || **at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool skip(const char **at, const char *end, char c)
{
    bool there = *at < end && **at == c;
    *at += there;
    return there;
}

/* Days since 1970 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_since_1970(int year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_zone(const char **at, const char *end, double *seconds)
{
    int hours, minutes = 0;
    *seconds = 0;
    if (*at == end || skip(at, end, 'Z') || skip(at, end, 'z'))
        return true;
    bool west = skip(at, end, '-');
    if ((!west && !skip(at, end, '+')) || !digits(at, end, 2, &hours))
        return false;
    skip(at, end, ':');
    if (*at < end && !digits(at, end, 2, &minutes))
        return false;
    *seconds = (west ? 1 : -1) * (hours * 3600.0 + minutes * 60.0);
    return hours < 24 && minutes < 60;
}

static bool parse_clock(const char **at, const char *end, double *seconds)
{
    int h, m, s = 0;
    double fraction = 0, place = 0.1;
    if (!digits(at, end, 2, &h) || !skip(at, end, ':') || !digits(at, end, 2, &m))
        return false;
    if (skip(at, end, ':') && !digits(at, end, 2, &s))
        return false;
    if (skip(at, end, '.') || skip(at, end, ','))
        for (; *at < end && **at >= '0' && **at <= '9'; ++*at, place /= 10)
            fraction += place * (**at - '0');
    *seconds = h * 3600.0 + m * 60.0 + s + fraction;
    return h < 24 && m < 60 && s <= 60;
}

static bool parse_calendar(struct str text, double *out)
{
    const char *at = text.s, *end = text.s + text.n;
    int year, month, day;
    double clock = 0, zone = 0;
    if (!digits(&at, end, 4, &year) || !skip(&at, end, '-') || !digits(&at, end, 2, &month) ||
        !skip(&at, end, '-') || !digits(&at, end, 2, &day) || month < 1 || month > 12 ||
        day < 1 || day > 31)
        return false;
    if ((skip(&at, end, 'T') || skip(&at, end, ' ')) &&
        (!parse_clock(&at, end, &clock) || !parse_zone(&at, end, &zone)))
        return false;
    *out = (double)days_since_1970(year, month, day) * 86400 + clock + zone;
    return at == end;
}

bool event_time_parse(struct str text, double *out)
{
    double number;
    if (text.n == 0)
        return false;
    if (parse_calendar(text, out))
        return true;
    if (!str_to_double(text, &number) || !(number > 0 && number < 1e14))
        return false;
    *out = number > 1e11 ? number / 1000 : number; /* the year 5138 in seconds, 1973 in ms */
    return true;
}

/* ---- decay --------------------------------------------------------------------------------
 */

bool decay_weight(struct decay *d, double time, float *out)
{
    *out = 1;
    if (d->half_life <= 0)
        return true;
    if (!d->begun)
        d->first = d->last = time;
    d->begun = true;
    d->last = fmax(d->last, time);
    double halves = (time - d->first) / d->half_life;
    *out = (float)exp2(halves);
    return fabs(halves) <= 100;
}

double decay_scale(const struct decay *d)
{
    return d->begun && d->half_life > 0 ? exp2(-(d->last - d->first) / d->half_life) : 1;
}

/* ---- windows ------------------------------------------------------------------------------
 */

bool repeats_init(struct repeats *r)
{
    r->seen = mem_zalloc(REPEAT_WINDOW, sizeof *r->seen);
    return r->seen != NULL;
}

void repeats_deinit(struct repeats *r)
{
    mem_free(r->seen);
    r->seen = NULL;
}

bool repeats_note(struct repeats *r, struct hash128 line)
{
    uint64_t *slot = &r->seen[line.high & (REPEAT_WINDOW - 1)];
    uint64_t key = line.low | 1; /* 0: empty */
    bool before = *slot == key;
    *slot = key;
    return before;
}

bool sessions_init(struct sessions *s)
{
    s->items = mem_zalloc(SESSIONS, sizeof *s->items);
    return s->items != NULL;
}

void sessions_deinit(struct sessions *s)
{
    mem_free(s->items);
    s->items = NULL;
}

size_t sessions_meet(struct sessions *s, struct hash128 session, uint32_t product,
                     uint32_t *met)
{
    struct session_window *w = &s->items[session.high & (SESSIONS - 1)];
    uint64_t key = session.low | 1;
    bool known = false;
    size_t n = 0;
    if (w->key != key)
        *w = (struct session_window){.key = key};
    for (uint32_t i = 0; i < w->n; i++) {
        known = known || w->products[i] == product;
        if (w->products[i] != product)
            met[n++] = w->products[i];
    }
    if (known)
        return 0; /* its pairs were counted when it came first */
    w->products[w->next] = product;
    w->next = (w->next + 1) % SESSION_PRODUCTS;
    w->n += w->n < SESSION_PRODUCTS;
    return n;
}
