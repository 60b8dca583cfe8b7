/* bench.h - what every program of this folder begins with: a clock, and what becomes of a bug of the core. */
#ifndef BENCH_H
#define BENCH_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

_Noreturn void oxi_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "bug at %s:%d: %s\n", file, line, what);
    abort();
}

static inline uint64_t clock_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
static inline double wall_ns(void) { return (double)clock_of(CLOCK_MONOTONIC); }
static inline double cpu_ns(void) { return (double)clock_of(CLOCK_PROCESS_CPUTIME_ID); }
#endif
