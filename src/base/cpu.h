/* cpu.h: which instruction sets may be used. MEDLEY_KERNELS=ref|avx2|avx512 caps the choice. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>

bool cpu_always(void);
bool cpu_has_avx2(void);    /* AVX2 and FMA */
bool cpu_has_avx512(void);  /* F, BW, VL, DQ */
bool cpu_has_vbmi(void);    /* AVX-512 as above and VBMI */
bool cpu_has_vnni(void);    /* AVX-512 as above and VNNI */
const char *cpu_name(void); /* model name from the system, for reports; static */
double clock_seconds(void); /* monotonic */

#endif
