/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker's process is killed at each of its system calls, and between them, and the
 * next one goes on: no frame but one is lost or comes twice, and counts conserve.
 */
#include "deaths.h"

/* ---- what came of it --------------------------------------------------------------
 */

static struct {
    uint32_t wire[PORTS][OUT + OUT_AFTER], host[PORTS * IN];
    uint32_t left, came; /* copies, in all */
    uint32_t twice;
} seen;

static void
wires_read(const struct story *story)
{
    bool ordered = story->spread != LAGG_SPREAD_TURN && story->down == 0 &&
                   story->spread == story->spread_after;

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        uint32_t number, last = 0;

        while (world.far_fd[slot] >= 0 &&
               (number = fd_take_number(world.far_fd[slot])) != UINT32_MAX) {
            CHECK(number < OUT + OUT_AFTER);
            CHECK(!ordered || story->held != 0 || number >= last);
            seen.twice += seen.wire[slot][number]++ > 0;
            seen.left++;
            last = number;
        }
    }
}

/* Takes the tag out again: what is left is as it was made. */
static uint32_t
host_take(bool tagged)
{
    static uint8_t bytes[WIRE_BYTES_MAX], expected[WIRE_BYTES_MAX];
    const uint8_t tag[] = {0x81, 0, 0, 42};
    ssize_t size = recv(world.host_fd, bytes, sizeof bytes, MSG_DONTWAIT);
    uint32_t number;

    if (size < 0) {
        return UINT32_MAX;
    }
    if (tagged) {
        uint8_t *at = bytes + VNET_BYTES + 12;

        size -= TAG_BYTES;
        CHECK(memcmp(at, tag, sizeof tag) == 0);
        memmove(at, at + TAG_BYTES, (size_t)size - VNET_BYTES - 12);
    }
    number = frame_number(bytes);
    frame_make(expected, number, size_of(number));
    CHECK_EQ_U32((uint32_t)size, VNET_BYTES + size_of(number));
    CHECK(memcmp(bytes, expected, (size_t)size) == 0);
    return number;
}

static void
host_read(bool tagged)
{
    uint32_t number;

    while ((number = host_take(tagged)) != UINT32_MAX) {
        CHECK(number < PORTS * IN);
        seen.twice += seen.host[number]++ > 0;
        seen.came++;
    }
}

static struct lagg_reading
counts(void)
{
    struct lagg_reading reading = {0};
    struct lagg_port *ports[LAGG_PORTS_MAX] = {0};

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        world.ports[slot].work = &world.work->ports[slot];
        ports[slot] = &world.ports[slot];
    }
    counts_read(&world.work->workers[0], 0, ports, &reading);
    return reading;
}

static uint64_t
sum(const uint64_t drops[LAGG_DROP_COUNT])
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < LAGG_DROP_COUNT; i++) {
        all += drops[i];
    }
    return all;
}

/* Slots that had a copy of a frame from the host. */
static uint32_t
slots_of(uint32_t number)
{
    uint32_t slots = 0;

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        slots |= (uint32_t)(seen.wire[slot][number] > 0) << slot;
    }
    return slots;
}

static void
check_ports(const struct lagg_reading *reading)
{
    uint64_t frames = 0, bytes = 0, received = 0, expected = 0;

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        frames += reading->ports[slot].tx_frames;
        bytes += reading->ports[slot].tx_bytes;
        received += reading->ports[slot].rx_frames;
        for (uint32_t number = 0; number < OUT + OUT_AFTER; number++) {
            expected += seen.wire[slot][number] * size_of(number);
        }
    }
    CHECK(frames == reading->total.tx_out);
    CHECK(bytes == expected);
    CHECK(received == reading->total.rx_in);
}

/* Each frame that came in goes up, or is one of the standby's. */
static void
check_in(const struct lagg_reading *reading, uint32_t deaths)
{
    const uint64_t *drops = reading->total.drops;
    uint32_t missing = 0, lost = (uint32_t)drops[LAGG_DROP_RING_OVERRUN];

    for (uint32_t number = 0; number < (PORTS - 1) * IN; number++) {
        missing += seen.host[number] == 0;
    }
    CHECK_EQ_U32((uint32_t)reading->total.rx_in, PORTS * IN);
    CHECK(drops[LAGG_DROP_NOT_ACCEPTED] + lost >= IN);
    CHECK(missing + seen.twice + drops[LAGG_DROP_WORKER_DIED] <= deaths);
    CHECK(lost <= deaths && missing <= lost);
    CHECK_EQ_U32((uint32_t)reading->total.rx_out + seen.twice, seen.came);
}

static void
check_out(
    const struct story *story, const struct lagg_reading *reading, uint32_t deaths)
{
    uint32_t died = (uint32_t)reading->total.drops[LAGG_DROP_WORKER_DIED], none = 0;
    bool simple =
        story->spread != LAGG_SPREAD_ALL && story->spread_after != LAGG_SPREAD_ALL;
    uint64_t dropped =
        sum(reading->total.drops) - (reading->total.rx_in - reading->total.rx_out);

    for (uint32_t number = 0; number < OUT + OUT_AFTER; number++) {
        uint32_t slots = slots_of(number);

        none += slots == 0;
        CHECK(!simple || (slots & (slots - 1)) == 0);
        if (story->spread == LAGG_SPREAD_ALL &&
            story->spread_after == LAGG_SPREAD_ALL) {
            CHECK(slots == 0 || (slots | story->down | story->refusing) == 7);
        }
    }
    CHECK_EQ_U32((uint32_t)reading->total.tx_out, seen.left);
    CHECK(reading->total.tx_in == reading->total.tx_out + dropped);
    CHECK(!simple || none == dropped);
    CHECK(died <= deaths);
    if (story->refusing == 0 && story->ports_after != 0 &&
        (simple || story->down == 0)) {
        CHECK_EQ_U32((uint32_t)dropped, died);
        CHECK_EQ_U32(none, died);
    }
}

static void
check_all(const struct story *story, uint32_t deaths)
{
    struct lagg_reading reading;

    CHECK(world.work->workers[0].sequence % 2 == 0);
    CHECK(world.work->readers[0].seen == 0);
    memset(&seen, 0, sizeof seen);
    host_read(story->tagged);
    reading = counts();
    check_in(&reading, deaths);
    CHECK(seen.twice <= deaths);
    wires_read(story);
    check_ports(&reading);
    check_out(story, &reading, deaths);
}

/* ---- cases ------------------------------------------------------------------------
 */

struct death {
    bool instructions; /* steps are these, else system calls */
    uint32_t steps;
};

/* One dies; the next, which finds another plan, dies while it recovers, unless it is
 * NEVER; the third goes on to the end.  Whether the first did die. */
static bool
killed(const struct story *story, struct death first, struct death second)
{
    const struct lagg_plan after =
        plan_make(story->spread_after, story->held_after, story->ports_after);
    uint32_t deaths;

    check_about(story->name, first.steps);
    world_make(story);
    host_send(0, OUT);
    rings_fill(story->tagged);
    deaths = process_dies(false, first.instructions, first.steps);
    host_send(OUT, OUT + OUT_AFTER);
    publish(&after);
    if (second.steps != NEVER) {
        deaths += process_dies(true, second.instructions, second.steps);
    }
    CHECK(!process_dies(true, false, NEVER));
    check_all(story, deaths);
    world_end();
    return deaths > 0;
}

static const struct story stories[] = {
    {"first", LAGG_SPREAD_FIRST, LAGG_SPREAD_FIRST, 0, 0, 0, 0, PORTS, false},
    {"turn", LAGG_SPREAD_TURN, LAGG_SPREAD_TURN, 0, 0, 0, 0, PORTS, false},
    {"flow", LAGG_SPREAD_FLOW, LAGG_SPREAD_FLOW, 0, 0, 0, 0, PORTS, false},
    {"all", LAGG_SPREAD_ALL, LAGG_SPREAD_ALL, 0, 0, 0, 0, PORTS, false},
    {"tagged", LAGG_SPREAD_FIRST, LAGG_SPREAD_FIRST, 0, 0, 0, 0, PORTS, true},
    {"held", LAGG_SPREAD_FLOW, LAGG_SPREAD_FLOW, 3, 0, 0, 0, PORTS, false},
    {"down", LAGG_SPREAD_FLOW, LAGG_SPREAD_FLOW, 0, 0, 2, 0, PORTS, false},
    {"all, one down", LAGG_SPREAD_ALL, LAGG_SPREAD_ALL, 0, 0, 2, 0, PORTS, false},
    {"refusing", LAGG_SPREAD_TURN, LAGG_SPREAD_TURN, 0, 0, 0, 2, PORTS, false},
    {"to all", LAGG_SPREAD_FLOW, LAGG_SPREAD_ALL, 0, 0, 0, 0, PORTS, false},
    {"from all", LAGG_SPREAD_ALL, LAGG_SPREAD_FIRST, 0, 0, 0, 0, PORTS, false},
    {"no port", LAGG_SPREAD_FLOW, LAGG_SPREAD_FLOW, 1, 0, 0, 0, 0, false},
};

static const struct death never = {false, NEVER};

/* Of the first few stories each system call is one to die at; of the others, to be done
 * sooner, one in so many: a stride that is no multiple of what a frame makes. */
enum { EACH = 4, STRIDE = 5 };

static void
at_each_system_call(const struct story *story, uint32_t stride)
{
    uint32_t steps = 0;

    while (killed(story, (struct death){false, steps}, never)) {
        steps += stride;
    }
    CHECK(steps > 2 * OUT);
}

/* Numbers of instructions at random: the first few hundred thousand are all there are.
 */
static void
at_any_instruction(const struct story *story, uint32_t times, uint64_t *random)
{
    enum { MOST = 60000, RECOVERY = 20000 };

    for (uint32_t i = 0; i < times; i++) {
        const struct death first = {true, check_random(random) % MOST};
        const struct death second = {true, check_random(random) % RECOVERY};

        killed(story, first, i % 2 == 0 ? never : second);
    }
}

static void
scribble(void *bytes, size_t size, uint64_t *random)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)check_random(random);
    }
}

/* Whatever stands where a process left what it was at: the next one carries on. */
static void
what_was_left_is_not_followed_where_it_is_wild(uint64_t *random)
{
    enum { ROUNDS = 40, HELD_BYTES = 4096 };

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct worker_work *work;

        check_about("wild", round);
        world_make(&stories[round % 4]);
        work = &world.work->workers[0];
        host_send(0, OUT);
        rings_fill(false);
        scribble(&work->burst, sizeof work->burst, random);
        scribble(&work->hold.place, sizeof work->hold.place, random);
        scribble(work->hold.store, HELD_BYTES, random);
        scribble(&work->turn, sizeof work->turn, random);
        scribble(world.work->ports[1].rings, sizeof world.work->ports[1].rings, random);
        if (round % 2 == 0) {
            work->burst.stamp = work->sequence + 1;
            work->burst.again = round % 3 == 0;
            work->burst.hold.end %= HELD_BYTES;
            for (uint32_t i = 0; i < BURST_MAX; i++) {
                work->burst.sizes[i] %= HEAD_BYTES;
                work->burst.queues[i].count %= BURST_MAX + 2;
            }
        }
        CHECK(!process_dies(true, false, NEVER));
        CHECK(work->sequence % 2 == 0);
        world_end();
    }
}

/* Arguments: the seed, and how many deaths at instructions of each story: none unless
 * it is said, for each such step takes two turns of the scheduler. */
int
main(int argc, char **argv)
{
    uint64_t random = check_seed(argc, argv);
    uint32_t times = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;

    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        at_each_system_call(&stories[i], i < EACH ? 1 : STRIDE);
        at_any_instruction(&stories[i], times, &random);
    }
    what_was_left_is_not_followed_where_it_is_wild(&random);
    return check_report();
}
