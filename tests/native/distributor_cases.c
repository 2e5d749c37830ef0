/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which entry of the table carries a frame, in every spread, who stands in for it, and
 * how many frames went out by each.
 */
#include "internal.h"

#include "check.h"

enum { FRAMES = 10000 };

/* A table of 'count' entries in which entry i is slot i % 32. */
static struct lagg_plan
plan_of(uint32_t spread, uint32_t count, uint32_t stride)
{
    struct lagg_plan plan = {
        .spread = spread, .tx_slots_count = count, .stride = stride};

    for (uint32_t i = 0; i < count; i++) {
        plan.tx_slots[i] = (uint8_t)(i % LAGG_PORTS_MAX);
    }
    return plan;
}

static uint32_t
any_hash(uint32_t i)
{
    return i * 2654435761u; /* Knuth's multiplier: takes every value once */
}

/* ---- FIRST and FLOW ---------------------------------------------------------------
 */

static void
first_is_always_the_first(void)
{
    for (uint32_t count = 1; count <= LAGG_BUCKETS; count++) {
        const struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, count, 1);
        struct turn turn = {.index = 3, .used = 1};

        check_about("first", count);
        CHECK_EQ_U32(distribute_index(&plan, &turn, any_hash(count)), 0);
        CHECK(turn.index == 3 && turn.used == 1);
    }
}

static void
a_flow_is_the_hash_modulo_the_table(void)
{
    for (uint32_t count = 1; count <= LAGG_BUCKETS; count++) {
        const struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, count, 1);
        struct turn turn = {.index = 3, .used = 1};

        check_about("flow", count);
        CHECK_EQ_U32(distribute_index(&plan, &turn, 0), 0);
        CHECK_EQ_U32(distribute_index(&plan, &turn, UINT32_MAX), UINT32_MAX % count);
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t hash = any_hash(i);

            CHECK_EQ_U32(distribute_index(&plan, &turn, hash), hash % count);
        }
        CHECK(turn.index == 3 && turn.used == 1);
    }
}

/* ---- TURN -------------------------------------------------------------------------
 */

static void
check_fair(const uint32_t *frames, uint32_t count, uint32_t difference_max)
{
    uint32_t least = UINT32_MAX, most = 0;

    for (uint32_t i = 0; i < count; i++) {
        least = frames[i] < least ? frames[i] : least;
        most = frames[i] > most ? frames[i] : most;
    }
    CHECK(most - least <= difference_max);
}

/* Frame n is of turn n / stride, whatever its hash. */
static void
turns_are_exact(uint32_t count, uint32_t stride)
{
    const struct lagg_plan plan = plan_of(LAGG_SPREAD_TURN, count, stride);
    uint32_t frames[LAGG_BUCKETS] = {0};
    struct turn turn = {0};

    check_about("turn", stride);
    for (uint32_t n = 0; n < FRAMES; n++) {
        uint32_t index = distribute_index(&plan, &turn, any_hash(n));

        CHECK_EQ_U32(index, n / stride % count);
        frames[index % LAGG_BUCKETS]++;
        check_fair(frames, count, stride);
    }
}

static void
every_turn_is_exact(void)
{
    static const uint32_t strides[] = {1, 2, 7, FRAMES + 1, UINT32_MAX};
    static const uint32_t counts[] = {1, 2, 3, 32, 256};

    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            turns_are_exact(counts[j], strides[i]);
        }
    }
}

/* The entry after 'used' frames over 'from' entries, when the table then has 'to': that
 * of the turn that runs, else the next one; the first when there is none such. */
static uint32_t
index_after_change(uint32_t stride, uint32_t used, uint32_t from, uint32_t to)
{
    uint32_t index = used == 0 ? 0 : (used - 1) / stride % from;

    if (used > 0 && used % stride == 0) {
        index++;
    }
    return index < to ? index : 0;
}

/* Wherever a turn stands when the table changes, the turns go on from there. */
static void
turns_survive_a_change(uint32_t stride, uint32_t used, uint32_t from, uint32_t to)
{
    const struct lagg_plan before = plan_of(LAGG_SPREAD_TURN, from, stride);
    const struct lagg_plan after = plan_of(LAGG_SPREAD_TURN, to, stride);
    uint32_t frames[LAGG_BUCKETS] = {0};
    struct turn turn = {0};
    uint32_t last = index_after_change(stride, used, from, to);

    check_about("turn with a change", stride * 10000 + used * 100 + to);
    for (uint32_t n = 0; n < used; n++) {
        distribute_index(&before, &turn, 0);
    }
    for (uint32_t n = 0; n < 5 * stride * to; n++) {
        uint32_t index = distribute_index(&after, &turn, 0);

        CHECK(index < to);
        CHECK(index == last || (n > 0 && index == (last + 1) % to));
        frames[index % LAGG_BUCKETS]++;
        last = index;
        check_fair(frames, to, stride);
    }
}

static void
every_turn_survives_a_change(void)
{
    static const uint32_t strides[] = {1, 2, 7};

    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        for (uint32_t used = 0; used <= 5 * strides[i]; used++) {
            for (uint32_t to = 1; to <= 7; to++) {
                turns_survive_a_change(strides[i], used, 5, to);
            }
        }
    }
}

/* ---- TURN by chance ---------------------------------------------------------------
 */

enum { DRAWS = 100000 };

/* Each entry expects DRAWS / count, with a deviation below its root: 6 of those
 * allowed.
 */
static void
check_drawn(const uint32_t *frames, uint32_t count)
{
    uint32_t expected = DRAWS / count;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t off =
            frames[i] > expected ? frames[i] - expected : expected - frames[i];

        CHECK(off * off <= 36 * expected);
    }
}

static void
chance_is_fair(uint32_t count, uint32_t seed)
{
    struct lagg_plan plan = plan_of(LAGG_SPREAD_TURN, count, 0);
    uint32_t frames[LAGG_BUCKETS] = {0};
    struct turn turn = {.index = 3, .used = 1};

    plan.hash_seed = seed;
    check_about("chance", count);
    turn_seed(&turn, count % LAGG_WORKERS_MAX);
    turn.used = 0;
    for (uint32_t n = 0; n < DRAWS; n++) {
        uint32_t index = distribute_index(&plan, &turn, 0);

        CHECK(index < count);
        frames[index % LAGG_BUCKETS]++;
    }
    check_drawn(frames, count);
    CHECK(turn.index == 3 && turn.used == 0);
}

/* Of two generators both draw the same of 256 entries once in so many frames. */
static uint32_t
drawn_alike(uint32_t worker, uint32_t seed)
{
    struct lagg_plan one = plan_of(LAGG_SPREAD_TURN, LAGG_BUCKETS, 0), other = one;
    struct turn first = {0}, second = {0};
    uint32_t alike = 0;

    other.hash_seed = seed;
    turn_seed(&second, worker);
    for (uint32_t n = 0; n < DRAWS; n++) {
        alike +=
            distribute_index(&one, &first, 0) == distribute_index(&other, &second, 0);
    }
    return alike;
}

static void
chance_differs_by_worker_and_seed(void)
{
    check_about("chance apart", 0);
    CHECK_EQ_U32(drawn_alike(0, 0), DRAWS);
    for (uint32_t worker = 1; worker < LAGG_WORKERS_MAX; worker++) {
        CHECK(drawn_alike(worker, 0) < DRAWS / LAGG_BUCKETS * 2);
    }
    CHECK(drawn_alike(0, 1) < DRAWS / LAGG_BUCKETS * 2);
    CHECK(drawn_alike(0, 0x80000000) < DRAWS / LAGG_BUCKETS * 2);
}

static void
chance_takes_over_in_a_turn(void)
{
    const struct lagg_plan turns = plan_of(LAGG_SPREAD_TURN, 3, 7);
    const struct lagg_plan chance = plan_of(LAGG_SPREAD_TURN, 2, 0);
    struct turn turn = {0};

    check_about("chance after turns", 0);
    for (uint32_t n = 0; n < 16; n++) {
        CHECK_EQ_U32(distribute_index(&turns, &turn, 0), n / 7);
    }
    for (uint32_t n = 0; n < 100; n++) {
        CHECK(distribute_index(&chance, &turn, 0) < 2);
    }
    for (uint32_t n = 16; n < 30; n++) {
        CHECK_EQ_U32(distribute_index(&turns, &turn, 0), n / 7 % 3);
    }
}

static void
a_shorter_stride_ends_the_turn(void)
{
    const struct lagg_plan before = plan_of(LAGG_SPREAD_TURN, 3, 7);
    const struct lagg_plan after = plan_of(LAGG_SPREAD_TURN, 3, 2);
    struct turn turn = {0};

    check_about("a shorter stride", 0);
    for (uint32_t n = 0; n < 5; n++) {
        CHECK_EQ_U32(distribute_index(&before, &turn, 0), 0);
    }
    for (uint32_t n = 0; n < 12; n++) {
        CHECK_EQ_U32(distribute_index(&after, &turn, 0), (n / 2 + 1) % 3);
    }
}

/* ---- who stands in ----------------------------------------------------------------
 */

struct stand_in_case {
    const char *name;
    uint32_t index, dead, slot;
};

static const struct stand_in_case stand_in_cases[] = {
    {"nobody died", 0, 0, 4},
    {"nobody died, last entry", 4, 0, 31},
    {"another died", 1, 1u << 4, 0},
    {"the entry died", 0, 1u << 4, 0},
    {"its next died too", 0, 1u << 4 | 1u << 0, 9},
    {"around the end", 4, 1u << 31, 4},
    {"around the end, further", 4, 1u << 31 | 1u << 4 | 1u << 0, 9},
    {"repeated: the slot, not the entry", 2, 1u << 9, 31},
    {"all but one", 0, ~(1u << 31), 31},
    {"a slot not in the table lives", 0, ~(1u << 7), NO_SLOT},
    {"all", 3, UINT32_MAX, NO_SLOT},
};

static void
the_next_usable_slot_stands_in(void)
{
    const struct lagg_plan plan = {
        .spread = LAGG_SPREAD_FLOW,
        .tx_slots_count = 5,
        .tx_slots = {4, 0, 9, 9, 31, 7 /* behind the count */},
    };

    for (size_t i = 0; i < sizeof stand_in_cases / sizeof stand_in_cases[0]; i++) {
        const struct stand_in_case *row = &stand_in_cases[i];

        check_about(row->name, row->index);
        CHECK_EQ_U32(distribute_stand_in(&plan, row->index, row->dead), row->slot);
    }
    check_about("no table", 0);
    CHECK_EQ_U32(distribute_stand_in(&(struct lagg_plan){0}, 0, 0), NO_SLOT);
}

/* What the whole table gives, against a walk written down differently. */
static void
stand_in_walks_the_whole_table(void)
{
    const struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, LAGG_BUCKETS, 1);

    for (uint32_t index = 0; index < LAGG_BUCKETS; index++) {
        for (uint32_t alive = 0; alive < LAGG_PORTS_MAX; alive++) {
            check_about("one lives", alive);
            CHECK_EQ_U32(distribute_stand_in(&plan, index, ~(1u << alive)), alive);
        }
        check_about("one died", index);
        CHECK_EQ_U32(distribute_stand_in(&plan, index, 1u << index % LAGG_PORTS_MAX),
            (index + 1) % LAGG_PORTS_MAX);
    }
}

/* ---- frames by entry --------------------------------------------------------------
 */

static void
a_frame_counts_under_its_entry(void)
{
    static struct buckets one, other;
    const uint16_t indices[] = {255, 0, 7, 255};
    const uint8_t order[] = {3, 1, 0};
    const uint32_t sizes[] = {VNET_BYTES + 60, VNET_BYTES + 61, 0, VNET_BYTES + 1500};
    struct lagg_bucket sums[LAGG_BUCKETS] = {[7] = {5, 300}};

    check_about("buckets", 0);
    buckets_count(&one, indices, sizes, order, 3);
    buckets_count(&other, indices, sizes, order, 1);
    buckets_count(&other, indices, sizes, order, 0);
    buckets_sum(&one, sums);
    buckets_sum(&other, sums);
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        CHECK(sums[i].frames == (i == 255 ? 3 : i == 0 ? 1 : i == 7 ? 5 : 0));
        CHECK(sums[i].bytes == (i == 255 ? 3060 : i == 0 ? 61 : i == 7 ? 300 : 0));
    }
}

int
main(void)
{
    first_is_always_the_first();
    a_flow_is_the_hash_modulo_the_table();
    every_turn_is_exact();
    every_turn_survives_a_change();
    a_shorter_stride_ends_the_turn();
    for (uint32_t count = 1; count <= LAGG_BUCKETS; count = count * 5 / 3 + 1) {
        chance_is_fair(count, count * 2654435761u);
    }
    chance_is_fair(LAGG_BUCKETS, 0);
    chance_differs_by_worker_and_seed();
    chance_takes_over_in_a_turn();
    the_next_usable_slot_stands_in();
    stand_in_walks_the_whole_table();
    a_frame_counts_under_its_entry();
    return check_report();
}
