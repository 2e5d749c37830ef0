/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers that look at one root as fast as they can, until they are told to stop.
 *
 * Owns the threads, and the rule that a run in which a reader did not run, or did not
 * see the writer change things, proves nothing and fails.  Knows neither what is read
 * nor what is right about it: that is the section function of each test.
 */
#ifndef READERS_H
#define READERS_H

#include "internal.h"

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum {
    READERS = 4,
    CHANGES_MIN = 500,     /* that each reader has to see, or the run proves nothing */
    SECTIONS_TURN = 64,    /* then others may have the CPU */
    WRITER_MS_SLOW = 4000, /* then the machine is slow, and less has to do */
    WRITER_MS_MAX = 60000, /* then a reader starves, and the run has failed */
};

struct reader {
    struct readers *all;
    uint32_t index;
    uint64_t sections;
    uint64_t faults; /* looks at what is torn, poisoned, or older than before */
    _Atomic uint64_t changes; /* sections that saw something newer */
    pthread_t thread;
};

struct readers {
    /* One section: returns the version it saw, and counts what was wrong with it. */
    uint64_t (*section)(struct reader *reader, void *world);
    void *world;
    pthread_barrier_t start;
    _Atomic bool stop;
    uint64_t started_ms;
    struct reader each[READERS];
};

static inline uint64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *
reader_run(void *argument)
{
    struct reader *reader = argument;
    struct readers *all = reader->all;
    uint64_t version = 0;

    pthread_barrier_wait(&all->start);
    while (!atomic_load(&all->stop)) {
        uint64_t seen = all->section(reader, all->world);

        reader->faults += seen < version;
        if (seen > version) {
            atomic_fetch_add_explicit(&reader->changes, 1, memory_order_relaxed);
        }
        version = seen;
        if (reader->sections++ % SECTIONS_TURN == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* For the middle of a section: now and then the writer gets the CPU right there. */
static inline void
reader_dawdle(struct reader *reader)
{
    if (reader->sections % SECTIONS_TURN == SECTIONS_TURN / 2) {
        sched_yield();
    }
    /* The compiler must look at everything again, as it must after a system call. */
    atomic_signal_fence(memory_order_seq_cst);
}

/* Returns when all of them are about to begin. */
static inline void
readers_start(struct readers *all)
{
    pthread_barrier_init(&all->start, NULL, READERS + 1);
    for (uint32_t i = 0; i < READERS; i++) {
        all->each[i] = (struct reader){.all = all, .index = i};
        CHECK(
            pthread_create(&all->each[i].thread, NULL, reader_run, &all->each[i]) == 0);
    }
    all->started_ms = now_ms();
    pthread_barrier_wait(&all->start);
}

static inline bool
readers_ran(struct readers *all)
{
    for (uint32_t i = 0; i < READERS; i++) {
        if (atomic_load_explicit(&all->each[i].changes, memory_order_relaxed) <
            CHANGES_MIN) {
            return false;
        }
    }
    return true;
}

/* Whether the writer, having done 'done', should go on: to 'most', or on a slow machine
 * to 'least'; and to where every reader has done its share.  But not for ever. */
static inline bool
readers_need_more(struct readers *all, uint64_t done, uint64_t least, uint64_t most)
{
    uint64_t ran_ms = now_ms() - all->started_ms;

    if (ran_ms > WRITER_MS_MAX) {
        CHECK(!"the writer and every reader get their share in time");
        return false;
    }
    return done < (ran_ms < WRITER_MS_SLOW ? most : least) || !readers_ran(all);
}

static inline void
readers_end(struct readers *all)
{
    atomic_store(&all->stop, true);
    for (uint32_t i = 0; i < READERS; i++) {
        struct reader *reader = &all->each[i];

        check_about("reader", i);
        CHECK(pthread_join(reader->thread, NULL) == 0);
        printf("reader %" PRIu32 ": %" PRIu64 " sections, %" PRIu64 " changes seen\n",
            i, reader->sections, reader->changes);
        CHECK(reader->faults == 0);
        CHECK(reader->changes >= CHANGES_MIN);
    }
    pthread_barrier_destroy(&all->start);
}

#endif
