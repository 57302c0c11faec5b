/* test_neighbours.c: the blocked search against one pair at a time in double. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "gnn/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double cosine_of(const float *a, const float *b, size_t width)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < width; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Every row given is as near as claimed, in order, and no row left out is nearer than the last.
 */
static bool is_exact(const struct neighbour_search *s, const uint32_t *id, const float *cosine)
{
    for (size_t i = 0; i < s->n_asked; i++) {
        const uint32_t *mine = id + i * s->k;
        const float *near = cosine + i * s->k;
        const float *row = s->asked + i * s->width;
        for (unsigned r = 0; r < s->k; r++) {
            if (mine[r] == UINT32_MAX && near[r] != 0)
                return false;
            if (mine[r] != UINT32_MAX &&
                fabs(cosine_of(row, s->rows + mine[r] * s->width, s->width) - near[r]) > 1e-5)
                return false;
            if (r && near[r] > near[r - 1])
                return false;
        }
        for (uint32_t j = 0; j < s->n_rows; j++) {
            bool allowed =
                !(s->self && i == j) && (!s->group || s->group[j] == s->asked_group[i]);
            bool taken = false;
            for (unsigned r = 0; r < s->k; r++)
                taken |= mine[r] == j;
            double value = cosine_of(row, s->rows + j * s->width, s->width);
            if ((taken && !allowed) || (!taken && allowed && value > near[s->k - 1] + 1e-5))
                return false;
        }
    }
    return true;
}

static void test_random(size_t n, size_t asked, size_t width, unsigned k, bool groups)
{
    struct rng rng;
    rng_init(&rng, n + asked + width, 0);
    float *rows = malloc((n + asked + 1) * width * sizeof *rows);
    uint8_t *group = malloc(n + asked + 1);
    for (size_t i = 0; i < (n + asked) * width; i++)
        rows[i] = (float)(rng_normal(&rng) * 3);
    for (size_t i = 0; i < n + asked; i++)
        group[i] = (uint8_t)rng_below(&rng, 3);
    if (n > 2)
        memset(rows, 0, width * sizeof *rows); /* a node without text */
    struct neighbour_search s = {.rows = rows,
                                 .n_rows = n,
                                 .width = width,
                                 .asked = asked ? rows + n * width : rows,
                                 .n_asked = asked ? asked : n,
                                 .self = asked == 0,
                                 .k = k};
    if (groups) {
        s.group = group;
        s.asked_group = asked ? group + n : group;
    }
    size_t size = s.n_asked * k;
    uint32_t *id = malloc(size * sizeof *id), *again = malloc(size * sizeof *again);
    float *cosine = malloc(size * sizeof *cosine), *other = malloc(size * sizeof *other);
    ok(neighbours_find(&s, id, cosine, NULL) == MEDLEY_OK && is_exact(&s, id, cosine),
       "%zu rows, %zu asked, width %zu, k %u%s: the nearest", n, asked, width, k,
       groups ? ", groups" : "");
    /* One row alone, and one thread: the same bits. */
    bool same = true;
    for (size_t i = 0; i < s.n_asked && !s.self; i += 7) {
        struct neighbour_search one = s;
        one.asked += i * width;
        one.asked_group += groups ? i : 0;
        one.n_asked = 1;
        neighbours_find(&one, again, other, NULL);
        same &= memcmp(again, id + i * k, k * sizeof *id) == 0 &&
                memcmp(other, cosine + i * k, k * sizeof *cosine) == 0;
    }
    ok(same, "a row alone has the same neighbours");
    free(rows);
    free(group);
    free(id);
    free(again);
    free(cosine);
    free(other);
}

static void test_ties(void)
{
    float rows[4 * 2] = {1, 0, 2, 0, 0, 1, 3, 0}, asked[2] = {5, 0}, cosine[4];
    uint32_t id[4];
    struct neighbour_search s = {
        .rows = rows, .n_rows = 4, .width = 2, .asked = asked, .n_asked = 1, .k = 4};
    neighbours_find(&s, id, cosine, NULL);
    ok(id[0] == 0 && id[1] == 1 && id[2] == 3 && id[3] == UINT32_MAX && cosine[3] == 0,
       "of equals the lower id first; a right angle is no neighbour");
    s.k = 0;
    medley_error err;
    ok(neighbours_find(&s, id, cosine, &err) == MEDLEY_EINVAL, "refused: %s", err.message);
    s.k = 2;
    int failures = 0;
    for (size_t n = 0; n < 50; n++) {
        mem_fail_after(n);
        medley_status st = neighbours_find(&s, id, cosine, NULL);
        mem_fail_after(SIZE_MAX);
        if (st == MEDLEY_OK)
            break;
        failures += st == MEDLEY_ENOMEM;
    }
    ok(failures >= 2, "out of memory is an error (%d)", failures);
}

int main(void)
{
    test_random(3, 0, 5, 4, false);
    test_random(700, 0, 24, 8, false);
    test_random(1300, 0, 17, 5, true);
    test_random(1100, 130, 33, 8, true);
    test_random(1, 3, 8, 2, false);
    test_ties();
    return tap_done();
}
