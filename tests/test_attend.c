/* test_attend.c: attention by head: every usable kernel against the definition, at lengths
 * around every edge of a tile; nothing outside the head is touched. */
#include "nn/attend.h"

#include "base/memory.h"
#include "base/rng.h"
#include "tests/tap.h"

enum { HEADS = 3, MOST = 133, D_MOST = 64 };

/* Scores up to about 30 in size, so that some weights vanish. */
static void fill(float *p, size_t n, struct rng *r)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(3 * rng_normal(r));
}

static void test_lengths(const struct attend_impl *impl, size_t d)
{
    static const size_t lengths[] = {1,  2,  3,  7,  8,  11, 12, 13, 15,  16,
                                     17, 31, 32, 33, 48, 63, 64, 65, 100, MOST};
    size_t size = MOST * HEADS * d, outside = 0;
    float *x[4], *wanted = mem_alloc(size, sizeof *wanted);
    struct rng r;
    rng_init(&r, d, 0);
    double worst = 0;
    for (int i = 0; i < 4; i++)
        fill(x[i] = mem_alloc(size, sizeof **x), size, &r);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct attend a = {.t = lengths[l], .d = d, .stride = HEADS * d};
        a.scale = 1 / sqrtf((float)d);
        a.q = x[0] + d; /* the head in the middle */
        a.k = x[1] + d;
        a.v = x[2] + d;
        memcpy(wanted, x[3], size * sizeof *wanted);
        a.y = wanted + d;
        attend_ref(&a);
        a.y = x[3] + d;
        impl->run(&a);
        for (size_t i = 0; i < size; i++) {
            bool inside = i / a.stride < a.t && i % a.stride / d == 1;
            double difference = fabs((double)wanted[i] - x[3][i]);
            worst = inside ? fmax(worst, difference) : worst;
            outside += !inside && difference != 0;
        }
    }
    ok(worst < 2e-5, "%s: width %zu, largest error %.1e", impl->name, d, worst);
    ok(outside == 0, "%s: other heads and rows stay", impl->name);
    for (int i = 0; i < 4; i++)
        mem_free(x[i]);
    mem_free(wanted);
}

/* A head whose width no kernel takes goes to one that does. */
static void test_choice(void)
{
    float q[12] = {1, 0, 2, 0, 1, 1, 0, 0, 1, 1, 1, 1}, y[12], wanted[12];
    struct attend a = {.t = 2, .d = 6, .stride = 6, .q = q, .k = q, .v = q, .y = y, .scale = 1};
    attend(&a);
    a.y = wanted;
    attend_ref(&a);
    double worst = 0;
    for (int i = 0; i < 12; i++)
        worst = fmax(worst, fabs((double)y[i] - wanted[i]));
    ok(worst < 1e-6, "width 6: %.1e", worst);
}

int main(void)
{
    for (const struct attend_impl *i = attend_impls + 1; i->name; i++)
        for (size_t d = i->unit; i->usable() && d <= D_MOST; d *= 2)
            test_lengths(i, d);
    test_choice();
    return tap_done();
}
