/* checks.c: see checks.h. */
#include "nn/checks.h"

#include "base/memory.h"
#include "base/str.h"

#include <math.h>
#include <stdarg.h>

void checks_deinit(struct checks *c)
{
    for (size_t i = 0; i < c->n; i++)
        mem_free(c->items[i].name);
    mem_free(c->items);
    *c = (struct checks){0};
}

void checks_add(struct checks *c, double error, double tolerance, const char *name, ...)
{
    struct strbuf text;
    va_list args;
    sb_init(&text);
    va_start(args, name);
    sb_addvf(&text, name, args);
    va_end(args);
    char *owned = sb_steal(&text);
    if (!owned || !mem_reserve(&c->items, &c->capacity, c->n + 1, sizeof *c->items)) {
        mem_free(owned);
        c->failed = true;
        return;
    }
    c->items[c->n++] = (struct check){owned, error, tolerance};
}

bool checks_passed(const struct checks *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (!(c->items[i].error <= c->items[i].tolerance))
            return false;
    return !c->failed;
}

double relative_error(const float *a, const float *b, size_t n, double floor)
{
    double top = floor, worst = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!isfinite(difference))
            return INFINITY;
        top = fmax(top, fabs((double)b[i]));
        worst = fmax(worst, difference);
    }
    return top > 0 ? worst / top : worst;
}
