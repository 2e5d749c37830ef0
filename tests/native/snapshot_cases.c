/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a plan must be to be published, and that a refused one changes nothing.
 */
#include "store.h"

#include <errno.h>

/* Three open ports, in slots 0, 5 and 31. */
static const uint32_t PORTS = 1u << 0 | 1u << 5 | 1u << 31;

static struct lagg_plan
good_plan(void)
{
    return (struct lagg_plan){
        .spread = LAGG_SPREAD_TURN,
        .tx_drop = LAGG_DROP_NO_ACTIVE_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .ports = PORTS,
        .rx_accept = 1u << 5,
        .hash_kind = LAGG_HASH_FNV1,
        .hash_layers = LAGG_LAYER_L2 | LAGG_LAYER_L3 | LAGG_LAYER_L4,
        .rx_bytes_max = 1522,
        .tx_slots_count = 3,
        .tx_slots = {31, 0, 5},
    };
}

/* ---- one change to a good plan ----------------------------------------------------
 */

enum { SOUND = 0, FIELD_TX_SLOT = 1000 };

struct plan_case {
    const char *name;
    size_t field; /* of struct lagg_plan, 32 bits; or FIELD_TX_SLOT + index */
    uint32_t value;
    int result;
};

#define FIELD(name) offsetof(struct lagg_plan, name)

static const struct plan_case plan_cases[] = {
    {"spread first", FIELD(spread), LAGG_SPREAD_FIRST, SOUND},
    {"spread all", FIELD(spread), LAGG_SPREAD_ALL, SOUND},
    {"spread beyond", FIELD(spread), LAGG_SPREAD_COUNT, -EINVAL},
    {"spread largest", FIELD(spread), UINT32_MAX, -EINVAL},
    {"tx_drop last", FIELD(tx_drop), LAGG_DROP_COUNT - 1, SOUND},
    {"tx_drop beyond", FIELD(tx_drop), LAGG_DROP_COUNT, -EINVAL},
    {"tx_drop largest", FIELD(tx_drop), UINT32_MAX, -EINVAL},
    {"rx_drop last", FIELD(rx_drop), LAGG_DROP_COUNT - 1, SOUND},
    {"rx_drop beyond", FIELD(rx_drop), LAGG_DROP_COUNT, -EINVAL},
    {"rx_drop largest", FIELD(rx_drop), UINT32_MAX, -EINVAL},
    {"stride 0", FIELD(stride), 0, SOUND},
    {"stride largest", FIELD(stride), UINT32_MAX, SOUND},
    {"ports: a slot not open", FIELD(ports), PORTS | 1u << 6, -EINVAL},
    {"ports: all", FIELD(ports), UINT32_MAX, -EINVAL},
    {"ports: one in the table missing", FIELD(ports), 1u << 0 | 1u << 5, -EINVAL},
    {"rx_accept none", FIELD(rx_accept), 0, SOUND},
    {"rx_accept all ports", FIELD(rx_accept), PORTS, SOUND},
    {"rx_accept more", FIELD(rx_accept), 1u << 5 | 1u << 6, -EINVAL},
    {"rx_accept largest", FIELD(rx_accept), UINT32_MAX, -EINVAL},
    {"rx_once none", FIELD(rx_once), 0, SOUND},
    {"rx_once another port", FIELD(rx_once), 1u << 0, SOUND},
    {"rx_once accepted as well", FIELD(rx_once), 1u << 5, -EINVAL},
    {"rx_once more", FIELD(rx_once), 1u << 6, -EINVAL},
    {"hash_kind last", FIELD(hash_kind), LAGG_HASH_COUNT - 1, SOUND},
    {"hash_kind beyond", FIELD(hash_kind), LAGG_HASH_COUNT, -EINVAL},
    {"hash_kind largest", FIELD(hash_kind), UINT32_MAX, -EINVAL},
    {"hash_layers one", FIELD(hash_layers), LAGG_LAYER_L4, SOUND},
    {"hash_layers none", FIELD(hash_layers), 0, -EINVAL},
    {"hash_layers either way", FIELD(hash_layers), 15, SOUND},
    {"hash_layers either way of nothing", FIELD(hash_layers), 8, -EINVAL},
    {"hash_layers inner", FIELD(hash_layers), 31, SOUND},
    {"hash_layers inner of nothing", FIELD(hash_layers), 16, -EINVAL},
    {"hash_layers beyond", FIELD(hash_layers), 32, -EINVAL},
    {"hash_layers one more", FIELD(hash_layers), 63, -EINVAL},
    {"hash_seed largest", FIELD(hash_seed), UINT32_MAX, SOUND},
    {"rx_bytes_max a header", FIELD(rx_bytes_max), ETHER_BYTES, SOUND},
    {"rx_bytes_max less", FIELD(rx_bytes_max), ETHER_BYTES - 1, -EINVAL},
    {"rx_bytes_max none", FIELD(rx_bytes_max), 0, -EINVAL},
    {"rx_bytes_max largest", FIELD(rx_bytes_max), UINT32_MAX, SOUND},
    {"tx_slots_count 0", FIELD(tx_slots_count), 0, SOUND},
    {"tx_slots_count full", FIELD(tx_slots_count), LAGG_BUCKETS, SOUND},
    {"tx_slots_count beyond", FIELD(tx_slots_count), LAGG_BUCKETS + 1, -EINVAL},
    {"tx_slots_count largest", FIELD(tx_slots_count), UINT32_MAX, -EINVAL},
    {"tx_slots: repeated", FIELD_TX_SLOT + 1, 31, SOUND},
    {"tx_slots: not in ports", FIELD_TX_SLOT + 0, 6, -EINVAL},
    {"tx_slots: last not in ports", FIELD_TX_SLOT + 2, 6, -EINVAL},
    {"tx_slots: beyond", FIELD_TX_SLOT + 1, LAGG_PORTS_MAX, -EINVAL},
    {"tx_slots: a multiple further", FIELD_TX_SLOT + 1, LAGG_PORTS_MAX + 5, -EINVAL},
    {"tx_slots: largest", FIELD_TX_SLOT + 1, 255, -EINVAL},
    {"tx_slots: behind the count", FIELD_TX_SLOT + 3, 255, SOUND},
};

static void
plan_change(struct lagg_plan *plan, const struct plan_case *row)
{
    if (row->field >= FIELD_TX_SLOT) {
        plan->tx_slots[row->field - FIELD_TX_SLOT] = (uint8_t)row->value;
    } else {
        memcpy((char *)plan + row->field, &row->value, sizeof row->value);
    }
}

static void
check_published(const struct snapshot_store *store, const struct lagg_plan *plan,
    uint64_t generation)
{
    const struct snapshot *snap = snapshot_live(store);

    CHECK(snap->generation == generation);
    CHECK(store->pool->generation == generation);
    CHECK_EQ_BYTES(&snap->plan, plan, sizeof *plan);
}

static struct lagg_plan
plan_without_table(uint32_t slots)
{
    return (struct lagg_plan){.stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = ETHER_BYTES,
        .ports = slots};
}

/* Publishes 'plan' where only PORTS are open, and looks at all that it changed. */
static void
check_publish(const struct lagg_plan *plan, int result)
{
    static struct memories memories, before;
    const struct lagg_plan empty = plan_without_table(0);
    struct snapshot_store store = store_make(&memories);
    uint64_t ticket = 0, untouched;

    CHECK(snapshot_publish(&store, &empty, PORTS, &ticket) == 0);
    snapshot_reclaim(&store);
    before = memories;
    untouched = ticket;
    CHECK(snapshot_publish(&store, plan, PORTS, &ticket) == result);
    if (result == 0) {
        CHECK(ticket == untouched + 1);
        check_published(&store, plan, before.pool.generation + 1);
    } else {
        CHECK(ticket == untouched);
        CHECK(memcmp(&memories, &before, sizeof memories) == 0);
    }
}

static void
only_sound_plans_are_published(void)
{
    for (size_t i = 0; i < sizeof plan_cases / sizeof plan_cases[0]; i++) {
        struct lagg_plan plan = good_plan();

        check_about(plan_cases[i].name, 0);
        plan_change(&plan, &plan_cases[i]);
        check_publish(&plan, plan_cases[i].result);
    }
}

static void
a_broadcast_names_no_slot_twice(void)
{
    struct lagg_plan plan = good_plan();

    check_about("broadcast", 0);
    plan.spread = LAGG_SPREAD_ALL;
    check_publish(&plan, 0);
    plan.tx_slots[2] = plan.tx_slots[0];
    check_publish(&plan, -EINVAL);
    plan.tx_slots_count = 2;
    check_publish(&plan, 0);
}

/* ---- what a store does with them --------------------------------------------------
 */

static void
the_first_snapshot_counts_everything_as_no_port(void)
{
    static struct memories memories;
    struct snapshot_store store = store_make(&memories);
    const struct snapshot *snap;

    check_about("the first", 0);
    snap = snapshot_live(&store);
    CHECK(snap->generation == 0);
    CHECK(snap->plan.tx_slots_count == 0 && snap->plan.ports == 0);
    CHECK(snap->plan.tx_drop == LAGG_DROP_NO_PORT);
    CHECK(snap->plan.rx_drop == LAGG_DROP_NOT_ACCEPTED);
    check_publish(&snap->plan, 0); /* it is sound itself */
}

static void
generations_and_tickets_grow_by_one(void)
{
    static struct memories memories;
    struct snapshot_store store = store_make(&memories);
    const struct lagg_plan plan = good_plan();
    uint64_t ticket, last = 0;

    for (uint32_t i = 1; i <= 1000; i++) {
        check_about("generation", i);
        CHECK(snapshot_publish(&store, &plan, PORTS, &ticket) == 0);
        CHECK(last == 0 || ticket == last + 1);
        check_published(&store, &plan, i);
        last = ticket;
    }
}

static void
the_callers_plan_is_copied(void)
{
    static struct memories memories;
    struct snapshot_store store = store_make(&memories);
    struct lagg_plan plan = good_plan();
    uint64_t ticket;

    check_about("copied", 0);
    CHECK(snapshot_publish(&store, &plan, PORTS, &ticket) == 0);
    memset(&plan, 0xff, sizeof plan);
    plan = good_plan();
    check_published(&store, &plan, 1);
}

/* The slots that a snapshot in use names, as a word of bits. */
static uint32_t
named(struct snapshot_store *store)
{
    uint32_t slots = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        slots |= (uint32_t)snapshot_names(store, slot) << slot;
    }
    return slots;
}

static void
publish_ports(struct snapshot_store *store, uint32_t slots)
{
    const struct lagg_plan plan = plan_without_table(slots);
    uint64_t ticket;

    CHECK(snapshot_publish(store, &plan, PORTS, &ticket) == 0);
}

static void
a_port_is_named_until_the_last_reader_left(void)
{
    static struct memories memories;
    struct snapshot_store store = store_make(&memories);

    check_about("named", 0);
    CHECK_EQ_U32(named(&store), 0);
    publish_ports(&store, PORTS);
    CHECK_EQ_U32(named(&store), PORTS);
    snapshot_enter(&store, 0);
    publish_ports(&store, 1u << 5);
    snapshot_enter(&store, 1);
    CHECK_EQ_U32(named(&store), PORTS);
    publish_ports(&store, 1u << 31);
    CHECK_EQ_U32(named(&store), PORTS);
    CHECK(snapshot_reclaim(&store) == 2);
    snapshot_leave(&store, 0);
    CHECK_EQ_U32(named(&store), 1u << 5 | 1u << 31);
    CHECK(snapshot_reclaim(&store) == 1);
    snapshot_leave(&store, 1);
    CHECK_EQ_U32(named(&store), 1u << 31);
    CHECK(snapshot_reclaim(&store) == 0);
}

int
main(void)
{
    the_first_snapshot_counts_everything_as_no_port();
    only_sound_plans_are_published();
    a_broadcast_names_no_slot_twice();
    generations_and_tickets_grow_by_one();
    the_callers_plan_is_copied();
    a_port_is_named_until_the_last_reader_left();
    return check_report();
}
