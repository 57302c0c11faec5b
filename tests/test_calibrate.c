/* test_calibrate.c: temperature, isotonic regression, reliability, offsets and costs. */
#include "ensemble/calibrate.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tests/tap.h"

enum { N = 4000, K = 3 };
static float p[N * K], q[N * K];
static uint8_t label[N];

/* Labels are drawn from p; q says the same too surely, as if by temperature 0.5. */
static void draw(uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed, 0);
    for (size_t i = 0; i < N; i++) {
        double e[K], sum = 0, sharp = 0, u = rng_uniform(&r);
        for (size_t c = 0; c < K; c++)
            sum += e[c] = exp(1.2 * rng_normal(&r));
        label[i] = K - 1;
        for (size_t c = 0; c < K; c++) {
            p[i * K + c] = (float)(e[c] / sum);
            sharp += e[c] * e[c];
        }
        for (size_t c = 0; c < K; c++)
            q[i * K + c] = (float)(e[c] * e[c] / sharp);
        for (size_t c = K; c-- > 0;) {
            double below = 0;
            for (size_t j = 0; j <= c; j++)
                below += (double)p[i * K + j];
            if (u < below)
                label[i] = (uint8_t)c;
        }
    }
}

static double ece(const float *probabilities)
{
    struct reliability r;
    medley_error err;
    return reliability_of(probabilities, label, NULL, N, K, &r, &err) == MEDLEY_OK ? r.ece
                                                                                   : NAN;
}

static void test_temperature(void)
{
    double before = ece(q), t = temperature_fit(q, label, NULL, N, K);
    ok(fabs(t - 2) < 0.12, "the temperature that was taken away: %.3f", t);
    ok(fabs(temperature_fit(p, label, NULL, N, K) - 1) < 0.06, "calibrated ones need none");
    float *fixed = mem_alloc(N, K * sizeof *fixed);
    memcpy(fixed, q, sizeof q);
    temperature_apply(t, fixed, N, K);
    ok(before > 0.08 && ece(fixed) < 0.03, "calibration error %.3f becomes %.3f", before,
       ece(fixed));
    mem_free(fixed);
}

static void test_isotonic(void)
{
    /* scikit-learn 1.7: IsotonicRegression().fit([1..6]/10, [0, 1, 0, 0, 1, 1]) gives 0, 1/3,
     * 1/3, 1/3, 1, 1: blocks with means of x of .1, .3 and .55. */
    const float x[] = {0.1f, 0.9f, 0.2f, 0.8f, 0.3f, 0.7f, 0.4f, 0.6f, 0.5f, 0.5f, 0.6f, 0.4f};
    const uint8_t y[] = {1, 0, 1, 1, 0, 0};
    struct isotonic m;
    medley_error err;
    ok(isotonic_fit(x, y, NULL, 6, 2, &m, &err) == MEDLEY_OK && m.n[0] == 3, "three blocks");
    ok(fabsf(m.x[0][1] - 0.3f) < 1e-6f && fabsf(m.y[0][1] - 1 / 3.0f) < 0.03f,
       "the pooled one: %g at %g", (double)m.y[0][1], (double)m.x[0][1]);
    isotonic_free(&m);

    float *fixed = mem_alloc(N, K * sizeof *fixed);
    memcpy(fixed, q, sizeof q);
    ok(isotonic_fit(q, label, NULL, N, K, &m, &err) == MEDLEY_OK, "fits");
    int falling = 0;
    for (size_t c = 0; c < K; c++)
        for (size_t i = 1; i < m.n[c]; i++)
            falling += m.y[c][i] < m.y[c][i - 1] || m.x[c][i] < m.x[c][i - 1];
    ok(falling == 0, "ascending");
    isotonic_apply(&m, fixed, N, K);
    ok(ece(fixed) < 0.03, "calibration error becomes %.3f", ece(fixed));
    isotonic_free(&m);
    mem_free(fixed);
}

static void test_reliability(void)
{
    /* 30 rows, two to a bin: of confidence 0.8, right every other time. */
    float rows[60];
    uint8_t truth[30];
    struct reliability r;
    medley_error err;
    for (size_t i = 0; i < 30; i++)
        rows[2 * i] = 0.8f, rows[2 * i + 1] = 0.2f, truth[i] = i % 2;
    ok(reliability_of(rows, truth, NULL, 30, 2, &r, &err) == MEDLEY_OK && r.n_bins == 15,
       "fifteen bins");
    ok(r.ece >= 0.3 - 1e-6, "0.8 said, 0.5 true: %.3f", r.ece);
    ok(reliability_of(p, label, NULL, 0, K, &r, &err) == MEDLEY_OK && r.ece == 0, "no rows");
}

static void test_decisions(void)
{
    double offsets[K], plain, better;
    struct metrics m;
    medley_error err;
    float *fixed = mem_alloc(N, K * sizeof *fixed);
    memcpy(fixed, p, sizeof p);
    for (size_t i = 0; i < N; i++) { /* class 2 is never the most probable */
        fixed[i * K + 2] *= 0.15f;
        float sum = fixed[i * K] + fixed[i * K + 1] + fixed[i * K + 2];
        for (size_t c = 0; c < K; c++)
            fixed[i * K + c] /= sum;
    }
    metrics_compute(fixed, label, NULL, N, K, &m);
    plain = m.macro_f1;
    ok(offsets_fit(fixed, label, NULL, N, K, offsets, &err) == MEDLEY_OK, "fits");
    offsets_apply(offsets, fixed, N, K);
    metrics_compute(fixed, label, NULL, N, K, &m);
    better = m.macro_f1;
    ok(offsets[0] == 0 && offsets[2] > 1.2, "the class that was played down: %.2f", offsets[2]);
    ok(better > plain + 0.02, "macro-F1 %.3f becomes %.3f", plain, better);
    /* Saying 0 when it is 1 costs ten times as much. */
    const double costs[] = {0, 1, 10, 0};
    float two[] = {0.8f, 0.2f, 0.95f, 0.05f};
    costs_apply(costs, two, 2, 2);
    ok(two[0] == 0 && two[1] == 1 && two[2] == 1 && two[3] == 0, "least expected cost");
    mem_free(fixed);
}

int main(void)
{
    printf("# seed 5\n");
    draw(5);
    test_temperature();
    test_isotonic();
    test_reliability();
    test_decisions();
    return tap_done();
}
