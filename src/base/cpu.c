/* cpu.c: CPU features, asked once and capped by MEDLEY_KERNELS; the CPU's name; the clock. */
#include "base/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    bool avx2, avx512, vbmi, vnni;
    char name[128];
} cpu;
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;

static void read_name(void)
{
    snprintf(cpu.name, sizeof cpu.name, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(cpu.name, sizeof cpu.name, "%.*s", (int)sizeof cpu.name - 1, colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

static void detect(void)
{
    read_name();
#if defined(__x86_64__) || defined(__i386__)
    const char *cap = getenv("MEDLEY_KERNELS");
    if (cap && strcmp(cap, "ref") == 0)
        return;
    __builtin_cpu_init();
    cpu.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (cap && strcmp(cap, "avx2") == 0)
        return;
    cpu.avx512 = cpu.avx2 && __builtin_cpu_supports("avx512f") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512dq");
    cpu.vbmi = cpu.avx512 && __builtin_cpu_supports("avx512vbmi");
    cpu.vnni = cpu.avx512 && __builtin_cpu_supports("avx512vnni");
#endif
}

bool cpu_always(void)
{
    return true;
}

bool cpu_has_avx2(void)
{
    pthread_once(&cpu_once, detect);
    return cpu.avx2;
}

bool cpu_has_avx512(void)
{
    pthread_once(&cpu_once, detect);
    return cpu.avx512;
}

bool cpu_has_vbmi(void)
{
    pthread_once(&cpu_once, detect);
    return cpu.vbmi;
}

bool cpu_has_vnni(void)
{
    pthread_once(&cpu_once, detect);
    return cpu.vnni;
}

const char *cpu_name(void)
{
    pthread_once(&cpu_once, detect);
    return cpu.name;
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
