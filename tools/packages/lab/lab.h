/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs of a lab have in common: the time, and the CPU they run on.  Who
 * includes it has defined _GNU_SOURCE.
 */
#ifndef LAB_H
#define LAB_H

#include <err.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum {
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
};

static inline uint64_t
now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

/* The calling thread; below 0 it may run anywhere. */
static inline void
pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        err(EXIT_FAILURE, "sched_setaffinity");
    }
}

#endif
