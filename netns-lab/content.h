/* content.h - bytes that follow from a seed, and the clock: what sender and checker of the lab share. */
#ifndef LAB_CONTENT_H
#define LAB_CONTENT_H
#include <stdint.h>
#include <time.h>

#define SECOND_NS 1000000000u

static inline uint64_t mix(uint64_t x)   /* the finaliser of splitmix64 */
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t word_at(uint64_t seed, uint64_t stream, uint64_t position)
{
    return mix(seed + stream * 0xd1342543de82ef95u + (position + 1) * 0x9e3779b97f4a7c15u);
}

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static inline void pause_until(uint64_t when_ns)
{
    struct timespec when = {(time_t)(when_ns / SECOND_NS), (long)(when_ns % SECOND_NS)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}
#endif
