/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Of the copies of a frame one goes up, by whichever ports they come and however late
 * up to a window; frames that are equal and no copies all do.
 */
#include "rings.h"

#include "dedup_vectors.h"

#include <linux/virtio_net.h>
#include <pthread.h>

enum { BYTES = 64 };

static const uint64_t WINDOW_NS = DEDUP_WINDOW_NS;

static struct dedup *
table_make(void)
{
    return world_allocate(sizeof(struct dedup));
}

static bool
first(struct dedup *table, uint64_t kind, uint32_t slot, uint64_t now_ns)
{
    return dedup_first(table, kind, BYTES, slot, dedup_window(now_ns));
}

/* ---- the hash ---------------------------------------------------------------------
 */

static void
the_hash_is_siphash(void)
{
    static const uint64_t keys[][DEDUP_KEY_WORDS] = {
        {0, 0},
        {0x0706050403020100, 0x0f0e0d0c0b0a0908},
        {0xf7f6f5f4f3f2f1f0, 0xfffefdfcfbfaf9f8},
    };
    static struct frame_buffer buffer;

    for (uint32_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct frame frame = buffer_frame(&buffer, VNET_BYTES + vectors[i].bytes);

        check_about("vector", i);
        for (uint32_t at = 0; at < vectors[i].bytes; at++) {
            buffer.bytes[VNET_BYTES + at] = (uint8_t)(at * 7 + at / 256);
        }
        CHECK(dedup_hash(&frame, keys[vectors[i].key]) == vectors[i].hash);
    }
}

/* By one port the checksum comes filled in, by another it is left open. */
static void
an_open_checksum_counts_as_it_will_be(uint16_t field)
{
    const uint64_t key[DEDUP_KEY_WORDS] = {1, 2};
    const struct virtio_net_hdr offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 34,
        .csum_offset = (uint16_t)(field - 34)};
    uint8_t open[VNET_BYTES + 97], whole[VNET_BYTES + 97];
    struct frame one = {.head = open, .head_bytes = sizeof open};
    struct frame other = {.head = whole, .head_bytes = sizeof whole};

    check_about("open checksum", field);
    frame_make(open, field, 97);
    memcpy(open, &offload, sizeof offload);
    memcpy(whole, open, sizeof whole);
    memset(whole, 0, VNET_BYTES);
    CHECK(dedup_hash(&one, key) != dedup_hash(&other, key));
    frame_finish_checksum(&one, whole + VNET_BYTES);
    CHECK(dedup_hash(&one, key) == dedup_hash(&other, key));
    whole[VNET_BYTES + 96] ^= 1;
    CHECK(dedup_hash(&one, key) != dedup_hash(&other, key));
}

/* ---- copies and equals ------------------------------------------------------------
 */

static void
the_first_copy_goes_up_whichever_port_brings_it(void)
{
    struct dedup *table = table_make();

    check_about("first", 0);
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        for (uint32_t i = 0; i < LAGG_PORTS_MAX; i++) {
            CHECK(first(table, slot, (slot + i) % LAGG_PORTS_MAX, 0) == (i == 0));
        }
    }
    CHECK(first(table, 99, 0, 0));
    CHECK(dedup_first(table, 99, BYTES + 1, 1, 0)); /* longer, so another */
    CHECK(!first(table, 99, 1, 0));
    free(table);
}

static void
equal_frames_of_one_port_all_go_up(void)
{
    struct dedup *table = table_make();

    check_about("equal", 0);
    for (uint32_t i = 0; i < 100000; i++) {
        CHECK(first(table, 7, 0, 0));
    }
    for (uint32_t i = 0; i < 100000; i++) {
        CHECK(!first(table, 7, 1, 0));
    }
    CHECK(first(table, 7, 1, 0)); /* the next one */
    CHECK(!first(table, 7, 0, 0));
    free(table);
}

static void
a_copy_is_known_for_a_window_and_not_for_two(uint64_t since_ns)
{
    struct dedup *table = table_make();

    check_about("window", (uint32_t)since_ns);
    CHECK(first(table, 1, 0, since_ns));
    CHECK(first(table, 1, 0, since_ns + WINDOW_NS));
    CHECK(!first(table, 1, 1, since_ns + WINDOW_NS));
    CHECK(!first(table, 1, 1, since_ns + 2 * WINDOW_NS));
    CHECK(first(table, 2, 0, since_ns));
    CHECK(first(table, 2, 1, since_ns + 2 * WINDOW_NS));
    CHECK(first(table, 2, 1, since_ns + 9 * WINDOW_NS));
    free(table);
}

static void
what_a_port_has_lost_it_does_not_owe_for_ever(void)
{
    struct dedup *table = table_make();

    check_about("lost", 0);
    for (uint64_t i = 0; i < 5000; i++) {
        CHECK(first(table, 1, 0, i * WINDOW_NS / 1000));
        CHECK(i % 100 == 0 || !first(table, 1, 1, i * WINDOW_NS / 1000));
    }
    CHECK(!first(table, 1, 1, 5 * WINDOW_NS)); /* one of those, it may still be */
    CHECK(first(table, 1, 1, 7 * WINDOW_NS));
    free(table);
}

static void
another_port_in_the_slot_has_brought_nothing(void)
{
    struct dedup *table = table_make();

    check_about("slot", 0);
    CHECK(first(table, 1, 0, 0));
    CHECK(!first(table, 1, 1, 0));
    dedup_forget(table, 0);
    CHECK(!first(table, 1, 0, 0));
    CHECK(first(table, 1, 0, 0));
    dedup_forget(table, 0);
    CHECK(!first(table, 1, 0, 0));
    CHECK(!first(table, 1, 0, 0));
    CHECK(first(table, 1, 0, 0));
    free(table);
}

/* ---- bounds -----------------------------------------------------------------------
 */

static void
of_more_kinds_than_have_room_the_oldest_is_forgotten(void)
{
    struct dedup *table = table_make();
    uint64_t kinds = SEEN_MAX - 1;

    check_about("room", 0);
    for (uint64_t kind = 0; kind < 3 * kinds; kind++) {
        CHECK(first(table, kind * 0x9e3779b97f4a7c15, 0, 0));
        if (kind >= kinds / 2) {
            uint64_t before = kind - kinds / 2 + 1;

            CHECK(!first(table, before * 0x9e3779b97f4a7c15, 1, 0));
        }
    }
    CHECK(first(table, 0, 1, 0));
    free(table);
}

static void
a_kind_that_goes_on_is_remembered_among_others(void)
{
    struct dedup *table = table_make();

    check_about("goes on", 0);
    for (uint64_t i = 1; i < 5 * SEEN_MAX; i++) {
        first(table, i * 0x9e3779b97f4a7c15, 0, 0);
        if (i % 1000 == 0) {
            CHECK(first(table, 0, 0, 0));
        }
    }
    for (uint64_t i = 1000; i < 5 * SEEN_MAX; i += 1000) {
        CHECK(!first(table, 0, 1, 0));
    }
    CHECK(first(table, 0, 1, 0));
    free(table);
}

static uint64_t
random_word(uint64_t *seed)
{
    return (uint64_t)check_random(seed) << 32 | check_random(seed);
}

/* As a process that died might have left it. */
static void
whatever_is_in_the_table_new_frames_come_in_once(uint64_t *seed)
{
    struct dedup *table = table_make();
    uint64_t *words = (uint64_t *)(void *)table;

    check_about("garbage", 0);
    for (size_t i = 0; i < sizeof *table / sizeof words[0]; i++) {
        words[i] = random_word(seed);
    }
    for (uint64_t kind = 0; kind < 2 * SEEN_MAX; kind++) {
        uint64_t hash = random_word(seed);

        CHECK(first(table, hash, 0, kind));
        CHECK(!first(table, hash, 1, kind));
    }
    /* A kind that is known wrongly is known so for two windows. */
    for (uint32_t i = 0; i < SEEN_MAX; i += 97) {
        struct seen *seen = &table->seen[i];

        for (uint32_t word = 0; word < sizeof seen->had / sizeof seen->had[0]; word++) {
            seen->had[word] = check_random(seed);
        }
        seen->up = check_random(seed);
        for (uint64_t window = 1; window < 5; window++) {
            bool up = dedup_first(table, seen->hash, seen->bytes, 3, (uint32_t)window);

            CHECK(up || window < 3);
        }
    }
    free(table);
}

static void
a_turn_is_taken_once(void)
{
    struct dedup *table = table_make();

    check_about("turn", 0);
    CHECK(dedup_take(table));
    CHECK(!dedup_take(table));
    dedup_give(table);
    CHECK(dedup_take(table));
    free(table);
}

/* ---- a million frames ---------------------------------------------------------------
 * 100,000 a second, sent by three ports, each later than the others by what is drawn
 * anew now and then, up to a window; in turn one or two of the ports are lost, with all
 * that is under way.  In some stretches frames come in fours that are equal.
 */

enum {
    STORM_PORTS = 3,
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    STORM_FRAMES = 100000,
#else
    STORM_FRAMES = 1000000,
#endif
    STRETCH = STORM_FRAMES / 40,
    STEP_NS = 10000, /* 100 kpps */
};

struct path {
    uint32_t next;    /* the frame that comes by it next */
    uint64_t skew_ns; /* of this stretch */
    uint64_t due_ns;  /* when that comes */
    uint8_t *came;    /* by kind: how many */
};

struct storm {
    struct dedup *table;
    struct path paths[STORM_PORTS];
    uint8_t *up; /* by kind */
    uint64_t seed, copies;
};

static uint32_t
kind_of(uint32_t frame)
{
    return frame / STRETCH % 4 == 3 ? frame & ~3u : frame;
}

static void
path_advance(struct storm *storm, struct path *path)
{
    uint64_t due_ns;

    if (path->next % STRETCH == 0) {
        path->skew_ns = check_random(&storm->seed) % (WINDOW_NS + 1);
    }
    due_ns = 5 * WINDOW_NS + (uint64_t)path->next * STEP_NS + path->skew_ns;
    path->due_ns = due_ns > path->due_ns ? due_ns : path->due_ns; /* in order */
}

/* By the time: nobody, then each, then each two together. */
static bool
is_lost(uint32_t slot, uint64_t now_ns)
{
    static const uint8_t lost[] = {0, 1, 2, 4, 6, 5, 3};
    uint64_t turn = now_ns / (3 * WINDOW_NS / 2) % sizeof lost;

    return lost[turn] >> slot & 1;
}

static void
storm_arrive(struct storm *storm, uint32_t slot)
{
    const uint64_t key[DEDUP_KEY_WORDS] = {3, 4};
    struct path *path = &storm->paths[slot];
    uint32_t kind = kind_of(path->next);
    uint8_t bytes[VNET_BYTES + BYTES];
    struct frame frame = {.head = bytes, .head_bytes = sizeof bytes};

    if (!is_lost(slot, path->due_ns)) {
        frame_make(bytes, kind, BYTES);
        path->came[kind]++;
        storm->copies++;
        storm->up[kind] +=
            first(storm->table, dedup_hash(&frame, key), slot, path->due_ns);
    }
    path->next++;
    path_advance(storm, path);
}

static bool
storm_step(struct storm *storm)
{
    uint32_t soonest = 0;

    for (uint32_t slot = 1; slot < STORM_PORTS; slot++) {
        if (storm->paths[slot].due_ns < storm->paths[soonest].due_ns) {
            soonest = slot;
        }
    }
    if (storm->paths[soonest].next == STORM_FRAMES) {
        storm->paths[soonest].due_ns = UINT64_MAX;
        return storm->paths[0].due_ns != UINT64_MAX ||
               storm->paths[1].due_ns != UINT64_MAX ||
               storm->paths[2].due_ns != UINT64_MAX;
    }
    storm_arrive(storm, soonest);
    return true;
}

static void
of_a_million_frames_each_goes_up_once(uint64_t seed)
{
    struct storm storm = {.table = table_make(), .seed = seed};
    uint64_t went = 0;

    check_about("storm", STORM_FRAMES);
    storm.up = calloc(STORM_FRAMES, 1);
    for (uint32_t slot = 0; slot < STORM_PORTS; slot++) {
        storm.paths[slot].came = calloc(STORM_FRAMES, 1);
        path_advance(&storm, &storm.paths[slot]);
    }
    while (storm_step(&storm)) {
    }
    for (uint32_t kind = 0; kind < STORM_FRAMES; kind++) {
        uint8_t most = 0;

        for (uint32_t slot = 0; slot < STORM_PORTS; slot++) {
            uint8_t came = storm.paths[slot].came[kind];

            most = came > most ? came : most;
        }
        CHECK_EQ_U32(storm.up[kind], most);
        went += most;
    }
    /* They did come more than once, and but few by none. */
    CHECK(storm.copies > 3 * STORM_FRAMES / 2 && went > STORM_FRAMES * 9ull / 10);
    for (uint32_t slot = 0; slot < STORM_PORTS; slot++) {
        free(storm.paths[slot].came);
    }
    free(storm.up);
    free(storm.table);
}

/* ---- two at once --------------------------------------------------------------------
 * As a worker, and whoever empties a ring that was its.
 */

enum { TURNS = 20000 };

struct reader {
    struct dedup *table;
    uint32_t slot;
    uint8_t *first; /* by kind */
};

static void *
reader_run(void *argument)
{
    struct reader *reader = argument;

    for (uint32_t kind = 0; kind < TURNS; kind++) {
        while (!dedup_take(reader->table)) {
        }
        reader->first[kind] = first(reader->table, kind, reader->slot, 0);
        dedup_give(reader->table);
    }
    return NULL;
}

static void
who_takes_turns_agrees_on_what_was_first(void)
{
    static uint8_t went[2][TURNS];
    struct reader readers[2];
    struct dedup *table = table_make();
    pthread_t thread;

    check_about("two", TURNS);
    for (uint32_t i = 0; i < 2; i++) {
        readers[i] = (struct reader){.table = table, .slot = i, .first = went[i]};
    }
    if (pthread_create(&thread, NULL, reader_run, &readers[1]) != 0) {
        abort();
    }
    reader_run(&readers[0]);
    pthread_join(thread, NULL);
    for (uint32_t kind = 0; kind < TURNS; kind++) {
        CHECK(went[0][kind] + went[1][kind] == 1);
    }
    free(table);
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    the_hash_is_siphash();
    an_open_checksum_counts_as_it_will_be(34);
    an_open_checksum_counts_as_it_will_be(41);
    an_open_checksum_counts_as_it_will_be(50);
    the_first_copy_goes_up_whichever_port_brings_it();
    equal_frames_of_one_port_all_go_up();
    a_copy_is_known_for_a_window_and_not_for_two(0);
    a_copy_is_known_for_a_window_and_not_for_two(WINDOW_NS - 1);
    a_copy_is_known_for_a_window_and_not_for_two(WINDOW_NS / 2);
    what_a_port_has_lost_it_does_not_owe_for_ever();
    another_port_in_the_slot_has_brought_nothing();
    of_more_kinds_than_have_room_the_oldest_is_forgotten();
    a_kind_that_goes_on_is_remembered_among_others();
    whatever_is_in_the_table_new_frames_come_in_once(&seed);
    a_turn_is_taken_once();
    of_a_million_frames_each_goes_up_once(seed);
    who_takes_turns_agrees_on_what_was_first();
    return check_report();
}
