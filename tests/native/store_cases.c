/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder's store: what is put is found, what is taken away is closed, and a long
 * random life of it agrees with a plain table.
 */
#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */
#include "forwarder.h"

#include "check.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NAMES = 300, STEPS = 20000 };

static struct store store; /* too large for a stack */

static int
make_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    CHECK(fd >= 0);
    return fd;
}

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void
what_is_put_is_there_until_it_is_taken_away(void)
{
    int fd = make_fd(), other = make_fd(), copy;
    uint32_t generation = store.generation;

    check_about("put", 0);
    CHECK(store_put(&store, "1/plans", fd) == 0);
    CHECK(store_get(&store, "1/plans") == fd);
    CHECK(store_get(&store, "1/plan") == -1);
    CHECK(store_get(&store, "1/planss") == -1);
    CHECK(store_copy(&store, "1/plan") == -1);
    copy = store_copy(&store, "1/plans");
    CHECK(copy >= 0 && copy != fd);
    close(copy);

    check_about("put again", 0);
    CHECK(store_put(&store, "1/plans", other) == 0);
    CHECK(!is_open(fd) && is_open(other));
    CHECK(store.count == 1);

    check_about("del", 0);
    CHECK(store_del(&store, "1/work") == -ENOENT);
    CHECK(store_del(&store, "1/plans") == 0);
    CHECK(!is_open(other));
    CHECK(store.count == 0 && store_get(&store, "1/plans") == -1);
    CHECK(store_del(&store, "1/plans") == -ENOENT);
    CHECK_EQ_U32(store.generation, generation + 3);
}

static void
a_random_life_agrees_with_a_plain_table(uint64_t seed)
{
    static int model[NAMES];
    uint64_t state = seed;
    uint32_t count = 0;

    memset(model, -1, sizeof model);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t which = check_random(&state) % NAMES;
        char name[LAGG_NAME_BYTES];

        check_about("random", step);
        snprintf(name, sizeof name, "%" PRIu32 "/%" PRIu32 "/tx", which % 7, which);
        CHECK(store_get(&store, name) == model[which]);
        if (check_random(&state) % 2 == 0) {
            int fd = make_fd();

            count += model[which] < 0;
            CHECK(store_put(&store, name, fd) == 0);
            model[which] = fd;
        } else {
            CHECK(store_del(&store, name) == (model[which] < 0 ? -ENOENT : 0));
            count -= model[which] >= 0;
            model[which] = -1;
        }
        CHECK_EQ_U32(store.count, count);
    }
    for (uint32_t i = 0; i < store.count; i++) {
        CHECK(is_open(store.entries[i].fd));
        CHECK(store_get(&store, store.entries[i].name) == store.entries[i].fd);
    }
    store_clear(&store);
    for (uint32_t which = 0; which < NAMES; which++) {
        CHECK(model[which] < 0 || !is_open(model[which]));
    }
}

/* It keeps descriptors without looking at them, so one number will do for all. */
static void
a_full_store_refuses_and_still_replaces(void)
{
    char name[LAGG_NAME_BYTES];

    for (uint32_t i = 0; i < LAGG_NAMES_MAX; i++) {
        check_about("fill", i);
        snprintf(name, sizeof name, "%" PRIu32, i);
        CHECK(store_put(&store, name, -1) == 0);
    }
    check_about("full", 0);
    CHECK(store_put(&store, "one.more", -1) == -ENOSPC);
    CHECK(store.count == LAGG_NAMES_MAX);
    CHECK(store_put(&store, "0", -1) == 0);
    CHECK(store_del(&store, "1") == 0);
    CHECK(store_put(&store, "one.more", -1) == 0);
    store_clear(&store);
    CHECK(store.count == 0 && store_get(&store, "one.more") == -1);
}

static void
only_good_names_are_names(void)
{
    static const char good[][LAGG_NAME_BYTES] = {
        "lock",
        "1/tap.0",
        "1024/31/ring.1.7",
        "a-b",
        "01234567890123456789012345678901234567890123456",
    };
    static const char bad[][LAGG_NAME_BYTES] = {
        "",
        "A",
        "a b",
        "a\0b",
        "\xff",
        "a\n",
        "1/\x7f",
        {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', '1', '2', '3', '4', '5',
            '6', '7', '8', '9', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0',
            '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', '1', '2', '3', '4', '5',
            '6', '7'},
    };

    for (uint32_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        check_about("good name", i);
        CHECK(store_name_sound(good[i]));
    }
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_about("bad name", i);
        CHECK(!store_name_sound(bad[i]));
    }
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    only_good_names_are_names();
    what_is_put_is_there_until_it_is_taken_away();
    a_random_life_agrees_with_a_plain_table(seed);
    a_full_store_refuses_and_still_replaces();
    return check_report();
}
