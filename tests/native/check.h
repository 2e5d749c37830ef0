/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks for the C tests: counted, all run, failures printed where they are.
 *
 * Owns the form that tests/test_native.py reads, "N checks" as the last line and an
 * exit status that is 0 only when none failed, and random numbers that a seed replays.
 * For one thread; knows nothing of what is tested.
 */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHECK_FAILURES_SHOWN = 20 };

static struct {
    uint64_t checks, failures;
    const char *row; /* of a table of cases; "" outside of one */
    uint32_t step;   /* within the row: a length, an iteration */
} check_state = {.row = ""};

/* Names what the checks from here on are about. */
static inline void
check_about(const char *row, uint32_t step)
{
    check_state.row = row;
    check_state.step = step;
}

/* Counts one check.  True when it failed and is still to be shown: after the first
 * ones, more of the same only hide them. */
static inline bool
check_failed(bool passed, const char *file, int line)
{
    check_state.checks++;
    if (passed || check_state.failures++ >= CHECK_FAILURES_SHOWN) {
        return false;
    }
    fprintf(stderr, "%s:%d: [%s %" PRIu32 "] ", file, line, check_state.row,
        check_state.step);
    return true;
}

static inline void
check_true(bool passed, const char *text, const char *file, int line)
{
    if (check_failed(passed, file, line)) {
        fprintf(stderr, "not true: %s\n", text);
    }
}

static inline void
check_eq_u32(
    uint32_t actual, uint32_t expected, const char *text, const char *file, int line)
{
    if (check_failed(actual == expected, file, line)) {
        fprintf(stderr,
            "%s is %" PRIu32 " (0x%08" PRIx32 "), not %" PRIu32 " (0x%08" PRIx32 ")\n",
            text, actual, actual, expected, expected);
    }
}

static inline void
check_ne_u32(
    uint32_t actual, uint32_t other, const char *text, const char *file, int line)
{
    if (check_failed(actual != other, file, line)) {
        fprintf(stderr, "%s are both 0x%08" PRIx32 "\n", text, actual);
    }
}

static inline void
check_show(const char *label, const uint8_t *bytes, size_t size)
{
    fprintf(stderr, "    %s", label);
    for (size_t i = 0; i < size; i++) {
        fprintf(stderr, " %02x", bytes[i]);
    }
    fprintf(stderr, "\n");
}

static inline void
check_eq_bytes(const void *actual, const void *expected, size_t size, const char *text,
    const char *file, int line)
{
    if (check_failed(memcmp(actual, expected, size) == 0, file, line)) {
        fprintf(stderr, "%s differs:\n", text);
        check_show("is ", actual, size);
        check_show("not", expected, size);
    }
}

#define CHECK(condition) check_true(condition, #condition, __FILE__, __LINE__)
#define CHECK_EQ_U32(actual, expected)                                                 \
    check_eq_u32(actual, expected, #actual, __FILE__, __LINE__)
#define CHECK_NE_U32(actual, other)                                                    \
    check_ne_u32(actual, other, #actual " and " #other, __FILE__, __LINE__)
#define CHECK_EQ_BYTES(actual, expected, size)                                         \
    check_eq_bytes(actual, expected, size, #actual, __FILE__, __LINE__)

/* The seed in argv[1], to replay a run, else a new one; printed either way. */
static inline uint64_t
check_seed(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);

    printf("seed %" PRIu64 "\n", seed);
    return seed;
}

/* splitmix64: any state will do, 0 and neighbours too. */
static inline uint32_t
check_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return (uint32_t)(value >> 32);
}

/* What main() returns. */
static inline int
check_report(void)
{
    if (check_state.failures != 0) {
        fprintf(stderr, "%" PRIu64 " failed\n", check_state.failures);
    }
    printf("%" PRIu64 " checks\n", check_state.checks);
    return check_state.failures != 0;
}

#endif
