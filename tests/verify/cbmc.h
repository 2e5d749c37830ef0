/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C11 atomics by order, for CBMC's models of weak machines (--mm tso, --mm pso).
 *
 * CBMC knows plain accesses and fences, and refuses pointers between threads: so the
 * models have indices, and an order is the fences it takes.  Orders count up from
 * relaxed; checkers.py defines their names.
 */
#ifndef CBMC_H
#define CBMC_H

#include <assert.h>
#include <stdbool.h>

void __CPROVER_atomic_begin(void);
void __CPROVER_atomic_end(void);
void __CPROVER_fence(const char *kind, ...);

#define FENCE_FULL()                                                                   \
    __CPROVER_fence("WWfence", "RRfence", "RWfence", "WRfence", "WWcumul", "RRcumul",  \
        "RWcumul", "WRcumul")
#define FENCE_RELEASE() __CPROVER_fence("WWfence", "RWfence", "WWcumul", "RWcumul")
#define FENCE_ACQUIRE() __CPROVER_fence("RRfence", "RWfence", "RRcumul", "RWcumul")

#define RELEASES(order) ((order) >= release)
#define ACQUIRES(order) ((order) == acquire || (order) >= acq_rel)

#define LOAD(into, where, order)                                                       \
    do {                                                                               \
        into = where;                                                                  \
        if (ACQUIRES(order)) {                                                         \
            FENCE_ACQUIRE();                                                           \
        }                                                                              \
    } while (0)

#define STORE(where, value, order)                                                     \
    do {                                                                               \
        if (RELEASES(order)) {                                                         \
            FENCE_RELEASE();                                                           \
        }                                                                              \
        where = value;                                                                 \
        if ((order) == seq_cst) {                                                      \
            FENCE_FULL();                                                              \
        }                                                                              \
    } while (0)

/* Takes the old value and stores the new one, with nothing in between. */
#define EXCHANGE(into, where, value, order)                                            \
    do {                                                                               \
        if (RELEASES(order)) {                                                         \
            FENCE_RELEASE();                                                           \
        }                                                                              \
        __CPROVER_atomic_begin();                                                      \
        into = where;                                                                  \
        where = value;                                                                 \
        __CPROVER_atomic_end();                                                        \
        if ((order) == seq_cst) {                                                      \
            FENCE_FULL();                                                              \
        } else if (ACQUIRES(order)) {                                                  \
            FENCE_ACQUIRE();                                                           \
        }                                                                              \
    } while (0)

#endif
