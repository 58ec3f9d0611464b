/* The clock's C half: clock_gettime(2) and the processor's tick counter. Nothing else reads the time. */
#ifndef GLASSLOOP_CLOCK_H
#define GLASSLOOP_CLOCK_H

#include <time.h>
#include <stdint.h>
static inline int64_t glassloop_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
static inline int64_t glassloop_realtime_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
/* A counter that rises by 1 to 4 per nanosecond, about 8 ns to read; clock_gettime costs 20 to 45. */
static inline uint64_t glassloop_ticks(void) {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)glassloop_monotonic_ns();
#endif
}
/* How many ticks 20 microseconds have, roughly. The counter of an x86-64 processor runs at 2 to 4 GHz. */
static inline uint64_t glassloop_ticks_per_20_us(void) {
#if defined(__x86_64__) || defined(__i386__)
    return 50000;
#elif defined(__aarch64__)
    uint64_t ticks_per_second;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(ticks_per_second));
    return ticks_per_second / 50000;
#else
    return 20000;
#endif
}

#endif
