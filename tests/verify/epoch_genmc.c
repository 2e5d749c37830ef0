/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For GenMC: native/epoch.c as it is, READERS sections beside UPDATES publications.
 *
 * A snapshot's fields are plain, and it is reused only when its ticket has passed: so a
 * section that still sees it then is a data race by C11, which GenMC reports.
 */
#include "../../native/epoch.c"

#include <pthread.h>

struct seen_snapshot {
    int ports, protocol, state;
};

static struct epoch_clock epoch_clock;
static struct epoch_reader seen[LAGG_WORKERS_MAX];
static const struct epoch epoch = {.clock = &epoch_clock, .readers = seen};
static struct seen_snapshot pool[UPDATES + 1];
static _Atomic uint32_t root;

static void
fill(struct seen_snapshot *snapshot, int number)
{
    snapshot->ports = 1 + number % 2;
    snapshot->protocol = snapshot->state = number;
}

static void *
section(void *argument)
{
    uint32_t reader = (uint32_t)(uintptr_t)argument;
    const struct seen_snapshot *snapshot = &pool[epoch_enter(&epoch, reader, &root)];
    int ports = snapshot->ports;

    assert(ports > 0 && ports == snapshot->ports);
    assert(snapshot->protocol == snapshot->state);
    epoch_leave(&epoch, reader);
    return NULL;
}

static void *
control(void *argument)
{
    for (int update = 1; update <= UPDATES; update++) {
        struct seen_snapshot *old;
        uint64_t ticket;
        uint32_t holder;

        fill(&pool[update], update);
        old = &pool[epoch_replace(&epoch, &root, (uint32_t)update, &ticket)];
        if (epoch_passed(&epoch, ticket, &holder)) {
            old->ports = old->state = -1;
        }
    }
    return argument;
}

int
main(void)
{
    pthread_t readers[READERS], writer;

    epoch_init(&epoch);
    fill(&pool[0], 0);
    atomic_init(&root, 0);
    for (uintptr_t i = 0; i < READERS; i++) {
        pthread_create(&readers[i], NULL, section, (void *)i);
    }
    pthread_create(&writer, NULL, control, NULL);
    for (uintptr_t i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    pthread_join(writer, NULL);
    return 0;
}
