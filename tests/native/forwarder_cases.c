/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the forwarder answers, without a socket: each client's words, all that is no
 * request, the pages of the list, and that garbage changes nothing.
 */
#define _GNU_SOURCE /* pipe2 */
#include "says.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STRANGER = 3, GARBAGE = 20000 };

static const struct lagg_request EMPTY;

static void
check_letter(uint32_t number, int client, uint32_t what, int error)
{
    CHECK(number < outbox.count);
    CHECK(outbox.letters[number].client == client);
    CHECK_EQ_U32(outbox.letters[number].reply.what, what);
    CHECK(outbox.letters[number].reply.error == error);
}

static int
make_fd(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

/* ---- words ------------------------------------------------------------------------
 */

static void
hello_comes_first_and_says_who_speaks(void)
{
    const struct lagg_reply *reply = &outbox.letters[0].reply;

    begin("hello");
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_LIST}) == -EPROTO);
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_CLAIM}) == -EPROTO);
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_HELLO}) == -EPROTO);
    CHECK_EQ_U32(reply->major, LAGG_PROTOCOL_MAJOR);
    CHECK_EQ_U32(reply->argument, lagg_layout());
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_LIST}) == -EPROTO);
    CHECK(hello(STRANGER) == 0);
    CHECK(strcmp(reply->text, "1.2.3") == 0);
    CHECK_EQ_U32(reply->argument, lagg_layout());
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_LIST}) == 0);
    forwarder_gone(&forwarder, STRANGER, T0, &outbox);
    CHECK(say(STRANGER, (struct lagg_request){.what = LAGG_LIST}) == -EPROTO);
}

static void
only_the_owner_changes_anything(void)
{
    begin("owner");
    for (uint32_t what = LAGG_PUT; what <= LAGG_END; what++) {
        struct lagg_request request = {.what = what};
        bool takes_name = what == LAGG_PUT || what == LAGG_DEL;
        bool of_port = what == LAGG_MAP || what == LAGG_MAP_RINGS ||
                       what == LAGG_UNMAP || what == LAGG_DRAIN || what == LAGG_LEASE;
        int fd = what == LAGG_PUT ? make_fd() : -1;

        check_about("not the owner", what);
        request.lagg = takes_name || what == LAGG_END ? 0 : 1;
        request.slot = of_port ? 1 : 0;
        snprintf(request.name, sizeof request.name, "%s", takes_name ? "a" : "");
        CHECK(!say_with(NEW, &request, fd, T0));
        check_letter(0, NEW, what, -EPERM);
        if (fd >= 0) {
            close(fd);
        }
    }
    CHECK(!forwarder.ended && forwarder.store.count == 0);
}

static void
a_descriptor_is_kept_replaced_and_closed(void)
{
    int fd = make_fd(), other = make_fd();

    begin("put");
    CHECK(put("lock", fd) == 0);
    CHECK(store_get(&forwarder.store, "lock") == fd);
    CHECK(put("lock", other) == 0);
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_DEL, .name = "lock"}) == 0);
    CHECK(fcntl(other, F_GETFD) < 0);
    CHECK(
        say(OWNER, (struct lagg_request){.what = LAGG_DEL, .name = "lock"}) == -ENOENT);
}

/* Each name once, with its own descriptor, whoever asks. */
static void
the_list_comes_in_pages(void)
{
    enum { NAMES = 2 * LAGG_PAGE_NAMES + 7 };
    bool seen[NAMES] = {false};
    uint32_t listed = 0;

    begin("list");
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[LAGG_NAME_BYTES];

        snprintf(name, sizeof name, "%" PRIu32, i);
        CHECK(put(name, make_fd()) == 0);
    }
    while (listed < NAMES) {
        const struct letter *page = &outbox.letters[0];

        check_about("page", listed);
        CHECK(say(NEW, (struct lagg_request){.what = LAGG_LIST, .argument = listed}) ==
              0);
        CHECK_EQ_U32(page->reply.argument, NAMES);
        CHECK_EQ_U32(page->reply.generation, forwarder.store.generation);
        CHECK(page->reply.count > 0 && page->reply.count <= LAGG_PAGE_NAMES);
        for (uint32_t i = 0; i < page->reply.count; i++) {
            uint32_t which = (uint32_t)strtoul(page->reply.names[i], NULL, 10);

            CHECK(!seen[which]);
            seen[which] = true;
            CHECK(store_get(&forwarder.store, page->reply.names[i]) == page->fds[i]);
        }
        listed += page->reply.count;
    }
    CHECK_EQ_U32(listed, NAMES);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_LIST, .argument = NAMES}) == 0);
    CHECK(outbox.letters[0].reply.count == 0);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_LIST, .argument = NAMES + 1}) ==
          -EINVAL);
}

static void
a_claim_is_answered_when_the_owner_goes(void)
{
    const struct lagg_request claim = {.what = LAGG_CLAIM};

    begin("claim");
    CHECK(!say_with(NEW, &claim, -1, T0));
    CHECK_EQ_U32(outbox.count, 1);
    check_letter(0, OWNER, LAGG_YIELD, 0);
    CHECK(put("late", make_fd()) == 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_GO}) == 0);
    CHECK_EQ_U32(outbox.count, 2);
    check_letter(1, NEW, LAGG_CLAIM, 0);
    CHECK_EQ_U32(outbox.letters[1].reply.generation, forwarder.store.generation);
    CHECK(put("later", make_fd()) == -EPERM);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_COMMIT}) == 0);
    CHECK_EQ_U32(outbox.count, 2);
    check_letter(1, OWNER, LAGG_DONE, 0);
    CHECK(put("later", make_fd()) == -EPERM);
}

static void
an_owner_that_leaves_is_none_any_more(void)
{
    const struct lagg_request leave = {.what = LAGG_LEAVE};

    begin("leave");
    CHECK(say(NEW, leave) == -EPERM);
    CHECK(say(OWNER, leave) == 0);
    CHECK_EQ_U32(outbox.count, 1);
    CHECK(put("late", make_fd()) == -EPERM);
    CHECK(say(OWNER, leave) == -EPERM);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_CLAIM}) == 0);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_COMMIT}) == 0);
    CHECK_EQ_U32(outbox.count, 1);
}

static void
a_refusal_says_why(void)
{
    const struct lagg_request claim = {.what = LAGG_CLAIM};

    begin("refuse");
    CHECK(!say_with(NEW, &claim, -1, T0));
    CHECK(say(OWNER, (struct lagg_request){
                         .what = LAGG_REFUSE, .name = "A flow is on its way!"}) == 0);
    check_letter(1, NEW, LAGG_CLAIM, -ECANCELED);
    CHECK(strcmp(outbox.letters[1].reply.text, "A flow is on its way!") == 0);
    CHECK(put("after", make_fd()) == 0);
}

static void
a_silent_owner_is_named_after_two_seconds(void)
{
    const struct lagg_request claim = {.what = LAGG_CLAIM};

    begin("silent");
    CHECK(!say_with(NEW, &claim, -1, T0));
    CHECK(forwarder_due_ns(&forwarder) == T0 + ANSWER_NS_MAX);
    outbox.count = 0;
    forwarder_tick(&forwarder, T0 + ANSWER_NS_MAX - 1, &outbox);
    CHECK_EQ_U32(outbox.count, 0);
    forwarder_tick(&forwarder, T0 + ANSWER_NS_MAX, &outbox);
    CHECK_EQ_U32(outbox.count, 2);
    check_letter(0, NEW, LAGG_CLAIM, -ETIMEDOUT);
    CHECK(outbox.letters[0].reply.text[0] != '\0');
    check_letter(1, OWNER, LAGG_RESUME, 0);
    CHECK(forwarder_due_ns(&forwarder) == NEVER_NS);
}

static void
the_end_closes_all(void)
{
    int fd = make_fd();

    begin("end");
    CHECK(put("lock", fd) == 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_END}) == 0);
    CHECK(forwarder.ended);
    CHECK(fcntl(fd, F_GETFD) < 0 && forwarder.store.count == 0);
}

/* ---- what is no request -----------------------------------------------------------
 */

static void
a_message_of_another_size_is_none(void)
{
    static const uint8_t bytes[sizeof(struct lagg_request) + 1];

    begin("size");
    for (size_t size = 1; size <= sizeof bytes; size++) {
        const struct parcel parcel = {
            .client = OWNER, .bytes = bytes, .bytes_count = size};

        check_about("size", (uint32_t)size);
        outbox.count = 0;
        CHECK(forwarder_handle(&forwarder, &parcel, T0, &outbox) == 0);
        check_letter(0, OWNER, size == sizeof EMPTY ? LAGG_HELLO : LAGG_WORDS_COUNT,
            size == sizeof EMPTY ? -EPROTO : -EBADMSG);
    }
}

static void
what_a_word_does_not_take_must_be_nought(void)
{
    static const struct lagg_request wrong[] = {
        {.what = LAGG_CLAIM, .lagg = 1},
        {.what = LAGG_CLAIM, .slot = 1},
        {.what = LAGG_CLAIM, .argument = 1},
        {.what = LAGG_CLAIM, .bytes_count = 1},
        {.what = LAGG_CLAIM, .name = "a"},
        {.what = LAGG_CLAIM, .name = "\0a"},
        {.what = LAGG_CLAIM, .bytes = {[123] = 1}},
        {.what = LAGG_DEL},
        {.what = LAGG_DEL, .name = "A"},
        {.what = LAGG_DEL, .name = "a", .lagg = 1},
        {.what = LAGG_PUT, .name = "a"}, /* without a descriptor */
        {.what = LAGG_OPEN},
        {.what = LAGG_OPEN, .lagg = LAGG_IDS_MAX + 1},
        {.what = LAGG_OPEN, .lagg = 1, .argument = LAGG_AGES_COUNT},
        {.what = LAGG_MAP, .lagg = 1, .slot = LAGG_PORTS_MAX},
        {.what = LAGG_DRAIN, .lagg = 1, .argument = 2},
        {.what = LAGG_RUN, .lagg = 1, .argument = LAGG_BUSY_POLL_US_MAX + 1},
        {.what = LAGG_LEASE,
            .lagg = 1,
            .argument = 1,
            .bytes_count = 1,
            .bytes = {1, 1}},
    };

    begin("wrong");
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        check_about("wrong", i);
        CHECK(say(OWNER, wrong[i]) == -EINVAL);
    }
    for (uint32_t what = LAGG_YIELD; what < LAGG_WORDS_COUNT + 10; what++) {
        if (what != LAGG_LEAVE) {
            check_about("no word", what);
            CHECK(say(OWNER, (struct lagg_request){.what = what}) == -ENOSYS);
        }
    }
    CHECK(say(OWNER, (struct lagg_request){.what = UINT32_MAX}) == -ENOSYS);
}

/* From a stranger and from the owner, who may do what makes sense, and so is not given
 * what does: its laggs are not open, and END is not said. */
static void
garbage_is_answered_and_changes_nothing(uint64_t seed)
{
    uint64_t state = seed;
    uint32_t generation;

    begin("garbage");
    CHECK(put("lock", make_fd()) == 0);
    generation = forwarder.store.generation;
    for (uint32_t step = 0; step < GARBAGE; step++) {
        struct lagg_request request = {.what = check_random(&state) % 24};
        uint8_t *bytes = (uint8_t *)&request;
        uint32_t changes = check_random(&state) % 4;

        check_about("garbage", step);
        request.lagg = check_random(&state) % 3;
        request.slot = check_random(&state) % 3;
        for (uint32_t i = 0; i < changes; i++) {
            bytes[4 + check_random(&state) % (sizeof request - 4)] =
                (uint8_t)check_random(&state);
        }
        if (request.what == LAGG_END || request.what == LAGG_CLAIM ||
            request.what == LAGG_LEAVE) {
            continue;
        }
        CHECK(!say_with(step % 2 == 0 ? OWNER : STRANGER, &request, -1, T0));
        CHECK_EQ_U32(outbox.count, 1);
        CHECK_EQ_U32(forwarder.store.generation, generation);
        CHECK(forwarder.ownership.owner == OWNER && !forwarder.ended);
    }
    CHECK_EQ_U32(forwarder_next(&forwarder, 1), 0);
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    hello_comes_first_and_says_who_speaks();
    only_the_owner_changes_anything();
    a_descriptor_is_kept_replaced_and_closed();
    the_list_comes_in_pages();
    a_claim_is_answered_when_the_owner_goes();
    an_owner_that_leaves_is_none_any_more();
    a_refusal_says_why();
    a_silent_owner_is_named_after_two_seconds();
    the_end_closes_all();
    a_message_of_another_size_is_none();
    what_a_word_does_not_take_must_be_nought();
    garbage_is_answered_and_changes_nothing(seed);
    store_clear(&forwarder.store);
    return check_report();
}
