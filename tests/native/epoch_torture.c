/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nothing is freed while a reader can still see it: step by step, and under load.
 *
 * The sanitizers are half of this test: a ticket that passes too early is a use after
 * free to ASan and a race to TSan.  An order that only weak hardware or a model checker
 * can break is not for it.
 */
#include "readers.h"

#include <stdlib.h>

enum { REPLACEMENTS = 40000, REPLACEMENTS_LEAST = 1000 };

struct world {
    struct epoch_clock clock;
    struct epoch_reader readers[LAGG_WORKERS_MAX];
    struct epoch epoch; /* of these two */
    _Atomic uint32_t root;
};

/* Nobody is inside, and the clock has just begun. */
static void
world_begin(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->epoch = (struct epoch){.clock = &world->clock, .readers = world->readers};
    epoch_init(&world->epoch);
}

/* ---- step by step -----------------------------------------------------------------
 */

static uint64_t
replace(struct world *world)
{
    uint32_t old = atomic_load(&world->root), fresh = old + 1;
    uint64_t ticket;

    CHECK(epoch_replace(&world->epoch, &world->root, fresh, &ticket) == old);
    CHECK(atomic_load(&world->root) == fresh);
    return ticket;
}

static bool
passed(struct world *world, uint64_t ticket)
{
    uint32_t reader;

    return epoch_passed(&world->epoch, ticket, &reader);
}

/* Whether 'ticket' waits, and names 'reader' for it. */
static bool
waits_for(struct world *world, uint64_t ticket, uint32_t reader)
{
    uint32_t named = LAGG_WORKERS_MAX;

    return !epoch_passed(&world->epoch, ticket, &named) && named == reader;
}

static void
enter(struct world *world, uint32_t reader)
{
    CHECK(
        epoch_enter(&world->epoch, reader, &world->root) == atomic_load(&world->root));
}

static void
a_parked_reader_holds_its_ticket(struct world *world)
{
    for (uint32_t reader = 0; reader < LAGG_WORKERS_MAX; reader++) {
        uint64_t before, during;

        check_about("a parked reader", reader);
        world_begin(world);
        before = replace(world);
        CHECK(passed(world, before));
        enter(world, reader);
        during = replace(world);
        CHECK(during == before + 1);
        CHECK(passed(world, before));
        CHECK(waits_for(world, during, reader));
        CHECK(waits_for(world, during, reader)); /* asking changes nothing */
        epoch_leave(&world->epoch, reader);
        CHECK(passed(world, during));
    }
}

static void
who_enters_later_holds_only_later_tickets(struct world *world)
{
    uint64_t first, second;

    check_about("two parked readers", 0);
    world_begin(world);
    enter(world, 2);
    first = replace(world);
    enter(world, 5);
    CHECK(waits_for(world, first, 2));
    second = replace(world);
    CHECK(waits_for(world, second, 2));
    epoch_leave(&world->epoch, 2);
    CHECK(passed(world, first));
    CHECK(waits_for(world, second, 5));
    /* Back inside, with the newest root: holds neither. */
    enter(world, 2);
    CHECK(waits_for(world, second, 5));
    epoch_leave(&world->epoch, 5);
    CHECK(passed(world, second));
}

/* ---- a reader asleep --------------------------------------------------------------
 */

struct sleeper {
    struct world *world;
    pthread_barrier_t gate;
    bool inside; /* where it sleeps */
};

static void *
sleeper_run(void *argument)
{
    struct sleeper *sleeper = argument;

    epoch_enter(&sleeper->world->epoch, 1, &sleeper->world->root);
    if (!sleeper->inside) {
        epoch_leave(&sleeper->world->epoch, 1);
    }
    pthread_barrier_wait(&sleeper->gate); /* it is where it should be */
    pthread_barrier_wait(&sleeper->gate); /* asleep until the writer has tried */
    if (sleeper->inside) {
        epoch_leave(&sleeper->world->epoch, 1);
    }
    return NULL;
}

static void
only_a_sleeper_inside_delays_the_writer(struct world *world, bool inside)
{
    struct sleeper sleeper = {.world = world, .inside = inside};
    uint64_t ticket = 0;
    pthread_t thread;

    check_about("a sleeper", inside);
    world_begin(world);
    pthread_barrier_init(&sleeper.gate, NULL, 2);
    CHECK(pthread_create(&thread, NULL, sleeper_run, &sleeper) == 0);
    pthread_barrier_wait(&sleeper.gate);
    for (uint32_t i = 0; i < 1000; i++) {
        ticket = replace(world);
        CHECK(inside ? waits_for(world, ticket, 1) : passed(world, ticket));
    }
    pthread_barrier_wait(&sleeper.gate);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(passed(world, ticket));
    pthread_barrier_destroy(&sleeper.gate);
}

/* ---- under load -------------------------------------------------------------------
 */

struct object {
    uint64_t version;
    uint64_t inverse; /* ~version, while it may be looked at */
};

/* By the root that stands for it. */
static struct object *objects[2];

static struct object *
object_make(uint64_t version)
{
    struct object *object = malloc(sizeof *object);

    if (object == NULL) {
        abort();
    }
    *object = (struct object){.version = version, .inverse = ~version};
    return object;
}

static void
object_destroy(struct object *object)
{
    /* Volatile, or the compiler knows that nobody may look any more. */
    *(volatile uint64_t *)&object->inverse = object->version;
    free(object);
}

static uint64_t
object_section(struct reader *reader, void *argument)
{
    struct world *world = argument;
    const struct object *object =
        objects[epoch_enter(&world->epoch, reader->index, &world->root)];
    uint64_t version = object->version;

    for (uint32_t look = 0; look < 4; look++) {
        reader_dawdle(reader);
        reader->faults += object->version != version || object->inverse != ~version;
    }
    epoch_leave(&world->epoch, reader->index);
    return version;
}

/* False when it does not pass before the deadline: then nothing may be freed. */
static bool
wait_passed(struct world *world, uint64_t ticket, uint64_t deadline_ms)
{
    uint32_t reader = 0;

    while (!epoch_passed(&world->epoch, ticket, &reader)) {
        CHECK(reader < READERS);
        if (now_ms() > deadline_ms) {
            return false;
        }
        sched_yield();
    }
    return true;
}

static void
nothing_is_freed_under_a_reader(struct world *world)
{
    struct readers readers = {.section = object_section, .world = world};
    uint64_t version = 1, last = 0, ticket;

    check_about("under load", 0);
    world_begin(world);
    objects[0] = object_make(version);
    atomic_store(&world->root, 0);
    readers_start(&readers);
    while (readers_need_more(&readers, version, REPLACEMENTS_LEAST, REPLACEMENTS)) {
        uint32_t fresh = (uint32_t)(version++ & 1);
        struct object *old;

        objects[fresh] = object_make(version);
        old = objects[epoch_replace(&world->epoch, &world->root, fresh, &ticket)];
        CHECK(old->version == version - 1);
        CHECK(ticket > last);
        last = ticket;
        if (!wait_passed(world, ticket, readers.started_ms + WRITER_MS_MAX)) {
            break;
        }
        object_destroy(old);
    }
    readers_end(&readers);
    printf("%" PRIu64 " replacements\n", version);
    CHECK(version >= REPLACEMENTS_LEAST);
    object_destroy(objects[atomic_load(&world->root)]);
}

int
main(void)
{
    static struct world world;

    a_parked_reader_holds_its_ticket(&world);
    who_enters_later_holds_only_later_tickets(&world);
    only_a_sleeper_inside_delays_the_writer(&world, false);
    only_a_sleeper_inside_delays_the_writer(&world, true);
    nothing_is_freed_under_a_reader(&world);
    return check_report();
}
