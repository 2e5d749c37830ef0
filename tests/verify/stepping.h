/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes every atomic access of a C file a place where the scheduler may switch.
 *
 * Included in front of native/epoch.c and native/snapshot.c by the compiler's -include,
 * so that they are explored as they are.  One thread runs at a time: the orders do not
 * matter here, only what comes between what.
 */
#ifndef STEPPING_H
#define STEPPING_H

#include "rendering.h"

#include <stdatomic.h>

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit

#define atomic_load_explicit(where, order)                                             \
    __extension__({                                                                    \
        __typeof__((void)0, *(where)) value_;                                          \
        __atomic_load(where, &value_, order);                                          \
        step_access(true);                                                             \
        value_;                                                                        \
    })

#define atomic_store_explicit(where, value, order)                                     \
    __extension__({                                                                    \
        __typeof__((void)0, *(where)) value_ = (value);                                \
        __atomic_store(where, &value_, order);                                         \
        step_access(false);                                                            \
    })

#define atomic_exchange_explicit(where, value, order)                                  \
    __extension__({                                                                    \
        __typeof__((void)0, *(where)) value_ = (value), old_;                          \
        __atomic_exchange(where, &value_, &old_, order);                               \
        step_access(false);                                                            \
        old_;                                                                          \
    })

#define atomic_fetch_add_explicit(where, addend, order)                                \
    __extension__({                                                                    \
        __typeof__((void)0, *(where)) old_ = __atomic_fetch_add(where, addend, order); \
        step_access(false);                                                            \
        old_;                                                                          \
    })

#endif
