/* peak.h: what a core can do at most: chains of independent fused multiply-adds in registers.
 * The clock drifts with what neighbours do, so a peak means something beside what was measured
 * next to it. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "base/cpu.h"

#include <time.h>

/* CPU seconds of this thread: the machine may be shared. */
static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
#define EACH_OF_12(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11)
#define PEAK_LOOP(name, isa, instruction)                                                \
    __attribute__((target(isa))) static void name(long rounds)                           \
    {                                                                                    \
        __asm__ volatile("1:\n\t" EACH_OF_12(instruction) "dec %0\n\tjnz 1b"             \
                         : "+r"(rounds)                                                  \
                         :                                                               \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", \
                           "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");                    \
    }
#define FMA_256(i) "vfmadd231ps %%ymm15, %%ymm15, %%ymm" #i "\n\t"
#define FMA_512(i) "vfmadd231ps %%zmm31, %%zmm31, %%zmm" #i "\n\t"
#define DOT_512(i) "vpdpbusd %%zmm31, %%zmm31, %%zmm" #i "\n\t"
PEAK_LOOP(fma_256, "avx2,fma", FMA_256)
PEAK_LOOP(fma_512, "avx512f", FMA_512)
PEAK_LOOP(dot_512, "avx512f,avx512vnni", DOT_512)

/* Billions of operations a second, the best of several short runs; 12 instructions a round. */
static double peak_rate(void (*loop)(long), double operations)
{
    enum { ROUNDS = 1000000, RUNS = 9 };
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double start = thread_seconds();
        loop(ROUNDS);
        double rate = 12e-9 * operations * ROUNDS / (thread_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
#endif

/* Of one core in float32 (kernel "avx2" or "avx512") or int8 ("vnni"); 0: not known. */
static double peak(const char *kernel)
{
#if defined(__x86_64__)
    if (kernel[0] == 'v' && cpu_has_vnni())
        return peak_rate(dot_512, 128);
    if (kernel[3] == '5' && cpu_has_avx512())
        return peak_rate(fma_512, 32);
    if (kernel[3] == '2' && cpu_has_avx2())
        return peak_rate(fma_256, 16);
#endif
    (void)kernel;
    return 0;
}

#endif
