/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device on a real TAP and real packet sockets: what may be made, what a failure
 * leaves behind (nothing), and how a port is taken away.  No worker runs here.
 */
#include "namespace.h"

#include <sys/resource.h>

enum { LO = 1 /* the index of every namespace's loopback */ };

static struct lagg_device *
device_make(const char *name, uint32_t workers)
{
    struct lagg_device *device = NULL;

    if (lagg_device_create(name, workers, LAGG_INSIDE, &device) != 0) {
        fprintf(stderr, "no device %s\n", name);
        abort();
    }
    return device;
}

/* ---- creation ---------------------------------------------------------------------
 */

struct name_case {
    const char *name;
    uint32_t workers;
    int result;
};

static const struct name_case name_cases[] = {
    {"", 1, -EINVAL},
    {"sixteen-letters-", 1, -EINVAL},
    {"much-longer-than-sixteen-letters", 1, -EINVAL},
    {"a/b", 1, -EINVAL},
    {"a b", 1, -EINVAL},
    {"a:b", 1, -EINVAL},
    {".", 1, -EINVAL},
    {"..", 1, -EINVAL},
    {"lagg%d", 1, -EINVAL}, /* or the kernel would choose another name */
    {"lagg%d", 2, -EINVAL},
    {"%", 1, -EINVAL},
    {"lo", 1, -EBUSY},
    {"lagg0", 0, -EINVAL},
    {"lagg0", LAGG_WORKERS_MAX + 1, -EINVAL},
    {"lagg0", UINT32_MAX, -EINVAL},
    {"fifteen-letters", 1, 0},
    {"\xce\xbb", 1, 0}, /* a name is bytes to Linux */
    {"lagg0", 1, 0},
    {"lagg0", LAGG_WORKERS_MAX, 0},
};

static void
only_good_names_make_a_device(void)
{
    uint32_t fds = fds_count(), links = links_count();

    for (size_t i = 0; i < sizeof name_cases / sizeof name_cases[0]; i++) {
        const struct name_case *row = &name_cases[i];
        struct lagg_device *device = NULL;

        check_about(row->name, row->workers);
        CHECK(lagg_device_create(row->name, row->workers, LAGG_INSIDE, &device) ==
              row->result);
        CHECK((device == NULL) == (row->result != 0));
        if (device != NULL) {
            CHECK(if_nametoindex(row->name) != 0);
            CHECK(lagg_device_destroy(device) == 0);
        }
        CHECK_EQ_U32(fds_count(), fds);
        CHECK_EQ_U32(links_count(), links);
    }
}

/* Destruction waits for the kernel, and on a busy machine long: then fewer, each of
 * which must leave nothing, will do.  So not every device gets a port, either. */
static void
two_hundred_devices_leave_nothing(void)
{
    uint32_t fds = fds_count(), links = links_count();
    uint64_t enough_ms = clock_ms() + 3000;

    for (uint32_t i = 0; i < 20 || (i < 200 && clock_ms() < enough_ms); i++) {
        struct lagg_device *device = device_make("lagg0", 1);

        check_about("again", i);
        if (i % 10 == 0) {
            CHECK(attach_port(device, i % LAGG_PORTS_MAX, LO) == 0);
            CHECK_EQ_U32(fds_count(), fds + 7);
            CHECK_EQ_U32(rings_count(), 2);
        }
        CHECK(lagg_device_destroy(device) == 0); /* with the port still open */
        CHECK_EQ_U32(links_count(), links);
        CHECK_EQ_U32(fds_count(), fds);
        CHECK_EQ_U32(rings_count(), 0);
    }
    printf("%" PRIu32 " devices made and destroyed\n", check_state.step + 1);
}

static void
a_taken_name_is_busy(uint32_t workers)
{
    struct lagg_device *first = device_make("lagg0", workers), *second = NULL;
    uint32_t fds = fds_count();

    check_about("busy", workers);
    CHECK(lagg_device_create("lagg0", 1, LAGG_INSIDE, &second) == -EBUSY);
    CHECK(lagg_device_create("lagg0", 2, LAGG_INSIDE, &second) == -EBUSY);
    CHECK(second == NULL);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK(if_nametoindex("lagg0") != 0);
    CHECK(lagg_device_destroy(first) == 0);
}

static void
another_programs_tap_is_not_taken_over(void)
{
    struct lagg_device *device = NULL;
    int fd = tap_make("other0", true);

    check_about("persistent", 0);
    close(fd);
    CHECK(if_nametoindex("other0") != 0);
    CHECK(lagg_device_create("other0", 1, LAGG_INSIDE, &device) == -EBUSY);
    CHECK(device == NULL);
    CHECK(if_nametoindex("other0") != 0);
    link_delete("other0");
}

static void
carrier_is_what_it_is_told(void)
{
    struct lagg_device *device = device_make("lagg0", 1);

    check_about("carrier", 0);
    CHECK(!(link_flags("lagg0", 0, 0) & IFF_RUNNING));
    link_up("lagg0");
    WAIT_UNTIL(!(link_flags("lagg0", 0, 0) & IFF_RUNNING));
    CHECK(lagg_device_set_carrier(device, 4711) == 0);
    WAIT_UNTIL(link_flags("lagg0", 0, 0) & IFF_RUNNING);
    CHECK(lagg_device_set_carrier(device, 0) == 0);
    WAIT_UNTIL(!(link_flags("lagg0", 0, 0) & IFF_RUNNING));
    CHECK(lagg_device_destroy(device) == 0);
}

/* ---- descriptors run out ----------------------------------------------------------
 */

static void
fds_unlimited(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Leaves 'more' descriptors to be opened.  The limit is on their numbers. */
static void
fds_limit(uint32_t more)
{
    struct rlimit limit;
    int fds[16], lowest = dup(0), highest = lowest - 1;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    close(lowest);
    for (uint32_t i = 0; i < more; i++) {
        highest = fds[i] = dup(0);
    }
    for (uint32_t i = 0; i < more; i++) {
        close(fds[i]);
    }
    limit.rlim_cur = (rlim_t)highest + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void
no_descriptor_no_change(uint32_t workers)
{
    struct lagg_device *device = NULL;
    uint32_t fds = fds_count();

    const uint32_t needed = 2 + 2 * workers; /* memories, and what a worker has */

    for (uint32_t more = 0; more <= needed; more++) {
        int result;

        check_about("descriptors for a device", more);
        fds_limit(more);
        result = lagg_device_create("lagg0", workers, LAGG_INSIDE, &device);
        fds_unlimited();
        CHECK(result == (more < needed ? -EMFILE : 0));
        CHECK((device == NULL) == (more < needed));
        CHECK(fds_count() == (device == NULL ? fds : fds + more));
    }
    for (uint32_t more = 0; more <= 1 + workers; more++) {
        int result;

        check_about("descriptors for a port", more);
        fds_limit(more);
        result = attach_port(device, 7, LO);
        fds_unlimited();
        CHECK(result == (more < 1 + workers ? -EMFILE : 0));
        CHECK(fds_count() == fds + needed + (result == 0 ? more : 0));
    }
    CHECK(lagg_device_destroy(device) == 0);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK_EQ_U32(rings_count(), 0);
}

/* ---- ports ------------------------------------------------------------------------
 */

static void
only_real_interfaces_become_ports(void)
{
    struct lagg_device *device = device_make("lagg0", 2);
    uint32_t fds = fds_count();

    check_about("ports", 0);
    CHECK(attach_port(device, 0, 999999) == -ENODEV);
    CHECK(attach_port(device, 0, INT32_MAX) == -ENODEV);
    CHECK(attach_port(device, 0, 0) == -EINVAL); /* else: all interfaces */
    CHECK(attach_port(device, 0, -1) == -EINVAL);
    CHECK(attach_port(device, LAGG_PORTS_MAX, LO) == -EINVAL);
    CHECK(attach_port(device, UINT32_MAX, LO) == -EINVAL);
    CHECK(detach_port(device, 0) == -ENOENT);
    CHECK(detach_port(device, LAGG_PORTS_MAX) == -ENOENT);
    CHECK(detach_port(device, UINT32_MAX) == -ENOENT);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK(attach_port(device, 31, LO) == 0);
    CHECK_EQ_U32(fds_count(), fds + 5);
    CHECK(attach_port(device, 31, LO) == -EEXIST);
    CHECK_EQ_U32(fds_count(), fds + 5);
    CHECK(detach_port(device, 31) == 0);
    CHECK(detach_port(device, 31) == -ENOENT);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK(lagg_device_destroy(device) == 0);
}

static uint64_t
publish(struct lagg_device *device, uint32_t slots, uint32_t accept)
{
    const struct lagg_plan plan = plan_with(slots, accept);
    uint64_t ticket = 0;

    CHECK(lagg_device_publish(device, &plan, &ticket) == 0);
    return ticket;
}

static void
a_published_port_is_not_closed(void)
{
    struct lagg_device *device = device_make("lagg0", 1);
    const struct lagg_plan wrong = plan_with(1u << 4, 0);
    struct lagg_reading reading;
    uint64_t ticket = 4711;
    uint32_t worker = 99;

    check_about("published", 0);
    CHECK(lagg_device_publish(device, &wrong, &ticket) == -EINVAL); /* not open */
    CHECK(ticket == 4711);
    CHECK(attach_port(device, 3, LO) == 0);
    publish(device, 1u << 3, 0);
    CHECK(detach_port(device, 3) == -EBUSY);
    ticket = publish(device, 0, 0);
    CHECK(lagg_device_passed(device, ticket, &worker) == 1); /* no worker, no reader */
    CHECK(lagg_device_reclaim(device) == 0);
    lagg_device_read(device, &reading);
    CHECK(reading.generation == 2);
    CHECK(detach_port(device, 3) == 0);
    CHECK(lagg_device_destroy(device) == 0);
}

/* ---- what the ring still holds ----------------------------------------------------
 */

static bool
conserved(const struct lagg_reading *reading)
{
    uint64_t out = reading->total.tx_out + reading->total.rx_out;

    for (uint32_t i = 0; i < LAGG_DROP_COUNT; i++) {
        out += reading->total.drops[i];
    }
    return reading->total.tx_in + reading->total.rx_in == out;
}

/* Frames that go out of lo come in by it.  Returns when every ring on it has got them:
 * packet(7) serves older sockets last, and 'witness' must be older than the port. */
static void
lo_send(int witness, uint32_t count)
{
    int sender = raw_open("lo");
    uint8_t byte;

    for (uint32_t i = 0; i < count; i++) {
        WAIT_UNTIL(raw_send(sender));
        WAIT_UNTIL(recv(witness, &byte, 1, 0) == 1);
    }
    close(sender);
}

/* Closes a port that 'count' frames came to; reads what became of them, and with
 * 'early' what its ring had no room for, before that. */
static void
close_port_with(
    uint32_t count, uint32_t accept, bool early, struct lagg_reading *reading)
{
    struct lagg_device *device = device_make("lagg0", 1);
    int witness = raw_open("lo");

    link_up("lagg0");
    CHECK(attach_port(device, 3, LO) == 0);
    publish(device, 1u << 3, accept);
    lo_send(witness, count);
    publish(device, 0, 0);
    if (early) {
        lagg_device_read(device, reading);
        CHECK(conserved(reading));
        CHECK(reading->total.rx_in == count - RING_FRAMES);
        CHECK(reading->ports[3].rx_frames == count - RING_FRAMES);
        CHECK(reading->ports[3].drops[LAGG_DROP_RING_OVERRUN] == count - RING_FRAMES);
    }
    CHECK(detach_port(device, 3) == 0);
    lagg_device_read(device, reading);
    CHECK(conserved(reading));
    CHECK(reading->total.rx_in == count);
    CHECK(reading->ports[3].rx_frames == 0); /* closed */
    close(witness);
    CHECK(lagg_device_destroy(device) == 0);
}

static void
closing_delivers_what_the_ring_holds(void)
{
    struct lagg_reading reading;

    check_about("drain", 100);
    close_port_with(100, 1u << 3, false, &reading);
    CHECK(reading.total.rx_out == 100);
    close_port_with(100, 0, false, &reading);
    CHECK(reading.total.drops[LAGG_DROP_NOT_ACCEPTED] == 100);
    for (uint32_t early = 0; early < 2; early++) {
        check_about("drain an overrun ring", early);
        close_port_with(RING_FRAMES + 100, 1u << 3, early, &reading);
        CHECK(reading.total.rx_out == RING_FRAMES);
        CHECK(reading.total.drops[LAGG_DROP_RING_OVERRUN] == 100);
    }
}

int
main(void)
{
    namespace_enter();
    link_up("lo");
    only_good_names_make_a_device();
    a_taken_name_is_busy(1);
    a_taken_name_is_busy(2);
    another_programs_tap_is_not_taken_over();
    carrier_is_what_it_is_told();
    no_descriptor_no_change(1);
    no_descriptor_no_change(3);
    only_real_interfaces_become_ports();
    a_published_port_is_not_closed();
    closing_delivers_what_the_ring_holds();
    two_hundred_devices_leave_nothing();
    return check_report();
}
