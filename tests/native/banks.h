/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Published counts, as the numbers they are.
 */
#ifndef BANKS_H
#define BANKS_H

#include "internal.h"

static inline uint64_t
sum_drops(const uint64_t drops[LAGG_DROP_COUNT])
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < LAGG_DROP_COUNT; i++) {
        sum += drops[i];
    }
    return sum;
}

static inline void
bank_read(struct counter_bank *bank, void *counters)
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        ((uint64_t *)counters)[i] = atomic_load(&bank->values[i]);
    }
}

#endif
