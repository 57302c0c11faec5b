/* schedule.c: the order in which the selects of a batch are done, and where their results go.
 *
 * A select waits for those it builds on, through memory. In the order of the trees the wait is
 * for the select just before, and the CPU, which cannot tell which store a load will need,
 * holds back others too: 5 cycles a select. So those farthest from a result go first, of all
 * parts together: what builds on one another is then many selects apart. Proof:
 * tests/test_forest.c. */
#include "gbdt/forest.h"

#include <string.h>

/* pending[i].to is first_slot + i: every result a number of its own. */
static unsigned find_heights(const struct forest_select *pending, size_t n, size_t first_slot,
                             uint8_t *height)
{
    unsigned most = 0;
    memset(height, 0, n);
    for (size_t i = n; i-- > 0;) { /* who uses a result comes after it */
        if (pending[i].met >= first_slot)
            height[pending[i].met - first_slot] = (uint8_t)(height[i] + 1);
        if (pending[i].not_met >= first_slot)
            height[pending[i].not_met - first_slot] = (uint8_t)(height[i] + 1);
        most = height[i] > most ? height[i] : most;
    }
    return most;
}

/* A result is used once: its slot is then free. */
struct slots {
    size_t first, n; /* in use so far */
    uint16_t *of;    /* [results] */
    uint16_t free[FOREST_MOST_SELECTS];
    size_t n_free;
};

static uint16_t use(struct slots *s, uint16_t mask)
{
    if (mask < s->first)
        return mask; /* a condition, zeros or ones */
    uint16_t slot = s->of[mask - s->first];
    s->free[s->n_free++] = slot;
    return slot;
}

size_t forest_schedule(const struct forest_select *pending, size_t n, size_t first_slot,
                       struct forest_select *out, uint16_t *slot_of)
{
    uint8_t height[FOREST_MOST_SELECTS];
    struct slots s = {.first = first_slot, .of = slot_of};
    for (unsigned h = find_heights(pending, n, first_slot, height) + 1; h-- > 0;)
        for (size_t i = 0; i < n; i++) {
            if (height[i] != h)
                continue;
            struct forest_select q = pending[i];
            q.met = use(&s, q.met);
            q.not_met = use(&s, q.not_met);
            q.to = s.n_free ? s.free[--s.n_free] : (uint16_t)(first_slot + s.n++);
            slot_of[i] = q.to;
            *out++ = q;
        }
    return s.n;
}
