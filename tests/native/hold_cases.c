/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that wait: the hold alone against a list, then a worker whose plan holds.
 */
#include "world.h"

enum { PORTS = 4, ROUNDS = 100, NUMBERS_MAX = 1 << 16 };

/* ---- the hold alone, against a list of numbers ------------------------------------
 */

static struct hold hold;
static struct {
    uint32_t count, numbers[NUMBERS_MAX];
} kept;

/* Any length up to 64 KiB, most of them short; cut in two where tap_read() does. */
static struct frame
frame_of(uint8_t *bytes, uint32_t number)
{
    uint32_t size = number % 37 == 0 ? 40000 + number % 20000 : 14 + number % 1500;
    uint32_t head = VNET_BYTES + size < HEAD_BYTES ? VNET_BYTES + size : HEAD_BYTES;

    frame_make(bytes, number, size < FRAME_BYTES_MIN ? FRAME_BYTES_MIN : size);
    return (struct frame){.head = bytes,
        .head_bytes = head,
        .rest = bytes + head,
        .rest_bytes = VNET_BYTES + size - head};
}

static void
put(uint32_t number)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    const struct frame frame = frame_of(bytes, number);

    if (hold_put(&hold, &frame, 0, HOLD_BYTES)) {
        kept.numbers[kept.count++] = number;
    } else {
        CHECK(hold.place.kept + VNET_BYTES + frame.head_bytes + frame.rest_bytes +
                  3 * sizeof(uint64_t) >
              HOLD_BYTES);
    }
}

/* As a worker does: what it has taken is a copy. */
static bool
take(struct frame *frame)
{
    static uint8_t copies[BURST_MAX][WIRE_BYTES_MAX + VNET_BYTES];
    static uint32_t turn;
    uint8_t *copy = copies[turn++ % BURST_MAX];
    uint32_t had;

    if (!hold_take(&hold, &hold.place.next, frame, &had)) {
        return false;
    }
    memcpy(copy, frame->head, frame->head_bytes + frame->rest_bytes);
    frame->head = copy;
    frame->rest = copy + frame->head_bytes;
    return true;
}

static void
expect_frame(const struct frame *frame, uint32_t number)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    const struct frame expected = frame_of(bytes, number);

    CHECK_EQ_U32(frame->head_bytes, expected.head_bytes);
    CHECK_EQ_U32(frame->rest_bytes, expected.rest_bytes);
    CHECK(memcmp(frame->head, expected.head, expected.head_bytes) == 0);
    CHECK(memcmp(frame->rest, expected.rest, expected.rest_bytes) == 0);
}

/* Takes up to a burst; keeps again those that 'again' says, when all are taken. */
static uint32_t
take_burst(uint32_t *seen, bool (*again)(uint32_t number))
{
    struct frame frames[BURST_MAX];
    uint32_t count = 0, from = *seen;

    while (count < BURST_MAX && take(&frames[count])) {
        expect_frame(&frames[count], kept.numbers[from + count]);
        count++;
    }
    *seen += count;
    for (uint32_t i = 0; i < count; i++) {
        if (again(kept.numbers[from + i])) {
            CHECK(hold_put(&hold, &frames[i], 0, HOLD_BYTES));
        }
    }
    return count;
}

static bool
is_even(uint32_t number)
{
    return number % 2 == 0;
}

static bool
is_none(uint32_t number)
{
    (void)number;
    return false;
}

/* The list after a pass that saw its first 'seen' entries. */
static void
forget(uint32_t seen, bool (*again)(uint32_t number))
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kept.count; i++) {
        if (i >= seen || again(kept.numbers[i])) {
            kept.numbers[count++] = kept.numbers[i];
        }
    }
    kept.count = count;
}

/* Passes that end early, for another plan came, and passes that end. */
static void
what_is_kept_again_stays_in_order(uint64_t random)
{
    uint32_t number = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t fresh = check_random(&random) % 300,
                 bursts = check_random(&random) % 12;
        uint32_t seen = 0;

        check_about("pass", round);
        for (uint32_t i = 0; i < fresh && !hold_pending(&hold); i++) {
            put(number++);
        }
        hold_rewind(&hold, round);
        while (bursts-- > 0 && take_burst(&seen, is_even) > 0) {
        }
        forget(seen, is_even);
        if (round % 10 == 9) { /* all leave, and it is empty */
            hold_rewind(&hold, round);
            for (seen = 0; take_burst(&seen, is_none) > 0;) {
            }
            forget(seen, is_none);
            CHECK(kept.count == 0 && !hold_pending(&hold) && hold.place.kept == 0);
        }
    }
}

/* As many frames as its bytes have room for, a header each, and each of them aligned.
 */
static void
it_is_full_when_its_bytes_are(void)
{
    enum { HEADER = 16, HEAD = 96 };
    static uint8_t bytes[2 * HEAD];

    for (uint32_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i + 1);
    }
    for (uint32_t rest = 0; rest <= 2 * HEADER; rest++) {
        const struct frame frame = {.head = bytes,
            .head_bytes = HEAD,
            .rest = bytes + HEAD,
            .rest_bytes = rest};
        uint32_t size = HEADER + (HEAD + rest + HEADER - 1) / HEADER * HEADER;
        uint32_t count = 0;
        struct frame taken;

        check_about("rest", rest);
        while (hold_put(&hold, &frame, 0, HOLD_BYTES)) {
            count++;
        }
        CHECK_EQ_U32(count, HOLD_BYTES / size);
        for (hold_rewind(&hold, 0); take(&taken); count--) {
            CHECK_EQ_U32(taken.head_bytes, HEAD);
            CHECK_EQ_U32(taken.rest_bytes, rest);
            CHECK(memcmp(taken.head, bytes, HEAD + rest) == 0);
        }
        CHECK_EQ_U32(count, 0);
        hold_rewind(&hold, 0);
    }
}

/* ---- a worker ---------------------------------------------------------------------
 */

static uint32_t
index_of(const struct lagg_plan *plan, uint32_t number)
{
    uint8_t bytes[VNET_BYTES + FRAME_BYTES_MIN];
    struct lagg_hashed hashed = {0};

    frame_make(bytes, number, FRAME_BYTES_MIN);
    CHECK(lagg_flow_hash(plan, bytes + VNET_BYTES, FRAME_BYTES_MIN, &hashed) == 0);
    return hashed.hash % plan->tx_slots_count;
}

/* Every flow by its own port, but that those of index 1 wait or go by port 'one'. */
static void
publish(struct world *world, uint32_t held, uint8_t one)
{
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, PORTS);

    plan.held[0] = (uint8_t)held;
    plan.tx_slots[1] = one;
    world_publish(world, &plan);
}

/* From 'fd' come the frames of these indices below 'end', in order, from 'first' on. */
static void
expect(int fd, uint32_t first, uint32_t end, uint32_t indices)
{
    const struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, PORTS);

    for (uint32_t number = first; number < end; number++) {
        if (indices >> index_of(&plan, number) & 1) {
            CHECK_EQ_U32(fd_take_number(fd), number);
        }
    }
}

static void
poll_all(struct world *world)
{
    while (world_poll(world) > 0) {
    }
}

static void
held_flows_wait_and_leave_first_and_in_order(void)
{
    struct world *world = world_make(PORTS);
    struct lagg_counters expected = {.tx_in = 300, .tx_out = 300};

    check_about("held", 1);
    publish(world, 1 << 1, 1);
    host_send(world, 0, 200);
    poll_all(world);
    expect(world->wires[0].far_fd, 0, 200, 1 << 0);
    expect(world->wires[2].far_fd, 0, 200, 1 << 2);
    expect(world->wires[3].far_fd, 0, 200, 1 << 3);
    fd_expect_empty(world->wires[1].far_fd);

    host_send(world, 200, 100);
    publish(world, 0, 2);
    CHECK_EQ_U32(world_poll(world), BURST_MAX); /* of those that waited alone */
    poll_all(world);
    expect(world->wires[2].far_fd, 0, 200, 1 << 1); /* all that waited, then */
    expect(world->wires[2].far_fd, 200, 300, 1 << 1 | 1 << 2);
    expect(world->wires[0].far_fd, 200, 300, 1 << 0);
    expect(world->wires[3].far_fd, 200, 300, 1 << 3);
    world_end(world, &expected);
}

/* While frames of the last plan's hold are still to be looked at. */
static void
another_plan_comes_in_the_midst(void)
{
    struct world *world = world_make(PORTS);
    struct lagg_counters expected = {.tx_in = 400, .tx_out = 400};

    check_about("midst", 0);
    publish(world, 1 << 1 | 1 << 3, 1);
    host_send(world, 0, 400);
    poll_all(world);
    expect(world->wires[0].far_fd, 0, 400, 1 << 0);
    expect(world->wires[2].far_fd, 0, 400, 1 << 2);
    for (uint32_t plans = 0; plans < 9; plans++) {
        publish(world, 1 << 1, 1); /* 3 may go, a burst at a time */
        world_poll(world);
    }
    poll_all(world);
    expect(world->wires[3].far_fd, 0, 400, 1 << 3);
    fd_expect_empty(world->wires[1].far_fd);
    publish(world, 0, 1);
    poll_all(world);
    expect(world->wires[1].far_fd, 0, 400, 1 << 1);
    world_end(world, &expected);
}

/* One flow, until there is no room; the rest is counted, and what waited is sent. */
static void
without_room_a_frame_is_counted(void)
{
    struct world *world = world_make(PORTS);
    struct lagg_counters expected = {0};
    uint32_t sent = 0, took = 0;

    check_about("full", 0);
    publish(world, 0xf, 1);
    while (world_counters(world).drops[LAGG_DROP_HOLD_FULL] < 50 && sent < 1 << 20) {
        host_send(world, sent, BURST_MAX);
        sent += BURST_MAX;
        world_poll(world);
    }
    world_expect_silence(world);
    publish(world, 0, 1);
    while (world_poll(world) > 0) {
        for (uint32_t slot = 0; slot < PORTS; slot++) {
            while (fd_take_number(world->wires[slot].far_fd) != UINT32_MAX) {
                took++;
            }
        }
    }
    expected.tx_in = sent;
    expected.tx_out = took;
    expected.drops[LAGG_DROP_HOLD_FULL] = sent - took;
    CHECK(took > 10000 && sent - took >= 50 && sent - took < 50 + BURST_MAX);
    world_end(world, &expected);
}

/* The lagg lost its last port meanwhile: that is why they are dropped. */
static void
held_frames_without_a_port_are_counted(void)
{
    struct world *world = world_make(PORTS);
    const struct lagg_plan none = plan_of(LAGG_SPREAD_FLOW, 0);
    struct lagg_counters expected = {.tx_in = 90};

    check_about("no port", 0);
    publish(world, 0xf, 1);
    host_send(world, 0, 90);
    poll_all(world);
    world_publish(world, &none);
    poll_all(world);
    expected.drops[LAGG_DROP_NO_PORT] = 90;
    world_end(world, &expected);
}

int
main(int argc, char **argv)
{
    what_is_kept_again_stays_in_order(check_seed(argc, argv));
    it_is_full_when_its_bytes_are();
    held_flows_wait_and_leave_first_and_in_order();
    another_plan_comes_in_the_midst();
    without_room_a_frame_is_counted();
    held_frames_without_a_port_are_counted();
    return check_report();
}
