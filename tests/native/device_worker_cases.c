/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device with its workers running: they start once, stop when told, sleep when idle
 * and whatever happens to the links, and their counters can be read at any moment.
 */
#include "namespace.h"

enum {
    LO = 1,
    PORT = 5,
    WORKERS = 2,
    READINGS = 10000,
    MOVED_MIN = 100,
    IDLE_CPU_US_MAX = 2000, /* in 200 ms */
};

struct lagg {
    struct lagg_device *device;
    uint32_t workers;
    struct carrier carriers[LAGG_WORKERS_MAX];
};

static void
lagg_start(struct lagg *lagg, uint32_t workers)
{
    *lagg = (struct lagg){.workers = workers};
    if (lagg_device_create("lagg0", workers, LAGG_INSIDE, &lagg->device) != 0) {
        fprintf(stderr, "no device\n");
        abort();
    }
    for (uint32_t i = 0; i < workers; i++) {
        carrier_start(&lagg->carriers[i], lagg->device, i);
    }
}

static void
lagg_end(struct lagg *lagg)
{
    lagg_device_stop(lagg->device);
    for (uint32_t i = 0; i < lagg->workers; i++) {
        carrier_join(&lagg->carriers[i]);
    }
    CHECK(lagg_device_destroy(lagg->device) == 0);
}

/* Publishes one port that sends and is heard, or none. */
static uint64_t
publish(struct lagg_device *device, bool port)
{
    const struct lagg_plan plan = {
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = (uint32_t)port << PORT,
        .rx_accept = (uint32_t)port << PORT,
        .tx_slots_count = port,
        .tx_slots = {PORT},
    };
    uint64_t ticket = 0;

    CHECK(lagg_device_publish(device, &plan, &ticket) == 0);
    return ticket;
}

static void
lagg_add_port(struct lagg *lagg, int ifindex)
{
    CHECK(attach_port(lagg->device, PORT, ifindex) == 0);
    publish(lagg->device, true);
}

static void
lagg_remove_port(struct lagg *lagg)
{
    uint64_t ticket = publish(lagg->device, false);
    uint32_t worker;

    WAIT_UNTIL(lagg_device_passed(lagg->device, ticket, &worker));
    CHECK(detach_port(lagg->device, PORT) == 0);
}

static struct lagg_reading
lagg_read(struct lagg *lagg)
{
    struct lagg_reading reading;

    lagg_device_read(lagg->device, &reading);
    return reading;
}

/* ---- starting and stopping --------------------------------------------------------
 */

static void
a_worker_runs_once_until_it_is_stopped(void)
{
    struct lagg lagg;

    check_about("run", WORKERS);
    lagg_start(&lagg, WORKERS);
    CHECK(lagg_worker_run(lagg.device, 0, 50) == -EBUSY);
    CHECK(lagg_worker_run(lagg.device, 1, 0) == -EBUSY);
    CHECK(lagg_worker_run(lagg.device, WORKERS, 0) == -EINVAL);
    CHECK(lagg_worker_run(lagg.device, UINT32_MAX, 0) == -EINVAL);
    CHECK(lagg_worker_run(lagg.device, 0, LAGG_BUSY_POLL_US_MAX + 1) == -EINVAL);
    CHECK(lagg_device_destroy(lagg.device) == -EBUSY);
    lagg_device_stop(lagg.device);
    lagg_device_stop(lagg.device);
    carrier_join(&lagg.carriers[0]);
    carrier_join(&lagg.carriers[1]);
    CHECK(lagg_worker_run(lagg.device, 0, 50) == 0); /* it stays stopped */
    lagg.workers = 0;
    lagg_end(&lagg);
}

/* ---- sleeping ---------------------------------------------------------------------
 */

static bool
all_asleep(struct lagg *lagg)
{
    for (uint32_t i = 0; i < lagg->workers; i++) {
        if (!carrier_asleep(&lagg->carriers[i])) {
            return false;
        }
    }
    return true;
}

/* Whether they do nothing for 200 ms. */
static bool
all_idle(struct lagg *lagg)
{
    uint64_t before[LAGG_WORKERS_MAX];
    bool idle = true;

    for (uint32_t i = 0; i < lagg->workers; i++) {
        before[i] = carrier_cpu_us(&lagg->carriers[i]);
    }
    poll(NULL, 0, 200);
    for (uint32_t i = 0; i < lagg->workers; i++) {
        idle = idle && carrier_cpu_us(&lagg->carriers[i]) - before[i] < IDLE_CPU_US_MAX;
    }
    return idle && all_asleep(lagg);
}

/* They may still have something to do now, but come to rest; who spins does not. */
static void
expect_idle(struct lagg *lagg)
{
    WAIT_UNTIL(all_idle(lagg));
}

static void
a_sleeping_worker_delays_no_ticket(void)
{
    struct lagg lagg;
    uint32_t worker;

    check_about("tickets", WORKERS);
    lagg_start(&lagg, WORKERS);
    for (uint32_t i = 0; i < 50; i++) {
        uint64_t ticket;

        WAIT_UNTIL(all_asleep(&lagg));
        ticket = publish(lagg.device, false);
        /* At once: a worker that wakes now enters with the new snapshot. */
        CHECK(lagg_device_passed(lagg.device, ticket, &worker) == 1);
        CHECK(lagg_device_reclaim(lagg.device) == 0);
    }
    expect_idle(&lagg);
    lagg_end(&lagg);
}

static void
links_that_go_down_wake_nobody_for_long(void)
{
    struct lagg lagg;
    int raw = raw_open("lo");

    check_about("lo down and up", 0);
    lagg_start(&lagg, WORKERS);
    lagg_add_port(&lagg, LO);
    link_up("lagg0");
    expect_idle(&lagg);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t received = lagg_read(&lagg).total.rx_in;

        link_down("lo");
        expect_idle(&lagg);
        link_up("lo");
        WAIT_UNTIL(raw_send(raw));
        WAIT_UNTIL(lagg_read(&lagg).total.rx_in > received);
        expect_idle(&lagg);
    }
    lagg_remove_port(&lagg);
    close(raw);
    lagg_end(&lagg);
}

static void
a_port_that_vanishes_is_tx_down_and_no_spin(void)
{
    int tap = tap_make("port0", false), raw;
    struct lagg lagg;

    check_about("port gone", 0);
    link_up("port0");
    lagg_start(&lagg, 1);
    lagg_add_port(&lagg, (int)if_nametoindex("port0"));
    link_up("lagg0");
    CHECK(lagg_device_set_carrier(lagg.device, 1) == 0);
    raw = raw_open("lagg0");
    WAIT_UNTIL(raw_send(raw) && lagg_read(&lagg).total.tx_out > 0);
    close(tap);
    CHECK(if_nametoindex("port0") == 0);
    expect_idle(&lagg);
    WAIT_UNTIL(raw_send(raw) && lagg_read(&lagg).total.drops[LAGG_DROP_TX_DOWN] > 0);
    expect_idle(&lagg);
    lagg_remove_port(&lagg);
    expect_idle(&lagg);
    close(raw);
    lagg_end(&lagg);
}

static void
a_lagg_deleted_by_someone_else_is_tap_down_and_no_spin(void)
{
    struct lagg lagg;
    int raw = raw_open("lo");

    check_about("lagg gone", 0);
    lagg_start(&lagg, WORKERS);
    lagg_add_port(&lagg, LO);
    link_up("lagg0");
    expect_idle(&lagg);
    link_delete("lagg0");
    expect_idle(&lagg);
    CHECK(raw_send(raw));
    WAIT_UNTIL(lagg_read(&lagg).total.drops[LAGG_DROP_TAP_DOWN] > 0);
    expect_idle(&lagg);
    CHECK(lagg_device_set_carrier(lagg.device, 1) == -EBADFD);
    lagg_remove_port(&lagg);
    close(raw);
    lagg_end(&lagg);
}

/* ---- what a port hears ------------------------------------------------------------
 */

static void
a_port_does_not_hear_what_it_sends(uint32_t workers)
{
    int tap = tap_make("port0", false), raw;
    struct lagg_reading reading;
    struct lagg lagg;

    check_about("own frames", workers);
    link_up("port0");
    lagg_start(&lagg, workers);
    lagg_add_port(&lagg, (int)if_nametoindex("port0"));
    link_up("lagg0");
    CHECK(lagg_device_set_carrier(lagg.device, 1) == 0);
    raw = raw_open("lagg0");
    WAIT_UNTIL(raw_send(raw) && lagg_read(&lagg).total.tx_out >= 100);
    WAIT_UNTIL(all_asleep(&lagg));
    reading = lagg_read(&lagg);
    CHECK(reading.ports[PORT].tx_frames >= 100);
    CHECK(reading.ports[PORT].rx_frames == 0 && reading.total.rx_in == 0);
    lagg_remove_port(&lagg);
    close(raw);
    close(tap);
    lagg_end(&lagg);
}

/* ---- a port opened under load -----------------------------------------------------
 */

enum { NUMBERS = 4000000, OPEN_WORKERS = 8, SENT_MIN = 50 };

struct counting {
    pthread_t thread;
    _Atomic bool stop;
    int fd;
    _Atomic uint32_t sent;
};

/* Frames that carry their number, until told. */
static void *
counting_run(void *argument)
{
    struct counting *counting = argument;
    uint8_t bytes[TEST_FRAME_BYTES] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, TEST_TYPE >> 8, TEST_TYPE & 0xff};

    while (!atomic_load(&counting->stop) && counting->sent < NUMBERS) {
        uint32_t number = counting->sent;

        memcpy(bytes + ETHER_BYTES, &number, sizeof number);
        if (send(counting->fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes) {
            counting->sent++;
        }
    }
    return NULL;
}

/* Opens a port while frames come in by lo.  Returns how many it sent. */
static uint32_t
open_under_load(struct lagg *lagg)
{
    struct counting counting = {.fd = raw_open("lo")};
    uint32_t before;

    CHECK(pthread_create(&counting.thread, NULL, counting_run, &counting) == 0);
    lagg_add_port(lagg, LO);
    before = counting.sent;
    WAIT_UNTIL(counting.sent > before + SENT_MIN);
    atomic_store(&counting.stop, true);
    CHECK(pthread_join(counting.thread, NULL) == 0);
    close(counting.fd);
    return counting.sent;
}

/* The rings share the port's frames, and none gets one that another got. */
static void
a_port_opened_under_load_hears_each_frame_once(void)
{
    static uint8_t heard[NUMBERS];
    struct lagg lagg = {.workers = 0};
    uint8_t bytes[TEST_FRAME_BYTES];
    uint32_t number, frames = 0, again = 0, sent;
    int host, bytes_max = 64 << 20;

    check_about("open", OPEN_WORKERS);
    CHECK(lagg_device_create("lagg0", OPEN_WORKERS, LAGG_INSIDE, &lagg.device) == 0);
    link_up("lagg0");
    host = raw_open("lagg0");
    CHECK(setsockopt(host, SOL_SOCKET, SO_RCVBUFFORCE, &bytes_max, sizeof bytes_max) ==
          0);
    sent = open_under_load(&lagg);
    lagg_remove_port(&lagg); /* which delivers all that its rings hold */
    while (recv(host, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes) {
        memcpy(&number, bytes + ETHER_BYTES, sizeof number);
        again += heard[number % NUMBERS];
        heard[number % NUMBERS] = 1;
        frames++;
    }
    CHECK(frames > 0);
    CHECK_EQ_U32(again, 0);
    CHECK(lagg_read(&lagg).total.rx_in <= sent);
    close(host);
    lagg_end(&lagg);
}

/* ---- reading while they count -----------------------------------------------------
 */

/* Frames into lagg0, and by way of lo to its port. */
struct hammer {
    pthread_t thread;
    _Atomic bool stop;
    int lagg_fd, port_fd;
};

static void *
hammer_run(void *argument)
{
    struct hammer *hammer = argument;

    while (!atomic_load(&hammer->stop)) {
        raw_send(hammer->lagg_fd);
        raw_send(hammer->port_fd);
    }
    return NULL;
}

static void
hammer_start(struct hammer *hammer)
{
    atomic_store(&hammer->stop, false);
    hammer->lagg_fd = raw_open("lagg0");
    hammer->port_fd = raw_open("lo");
    CHECK(pthread_create(&hammer->thread, NULL, hammer_run, hammer) == 0);
}

static void
hammer_end(struct hammer *hammer)
{
    atomic_store(&hammer->stop, true);
    CHECK(pthread_join(hammer->thread, NULL) == 0);
    close(hammer->lagg_fd);
    close(hammer->port_fd);
}

/* What was wrong with one reading: nothing may be from another burst than the rest. */
static uint32_t
reading_faults(const struct lagg_reading *reading, const struct lagg_reading *before)
{
    const struct lagg_counters *total = &reading->total;
    const struct lagg_port_counters *port = &reading->ports[PORT];
    uint64_t out = total->tx_out + total->rx_out;
    uint32_t faults = 0;

    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        faults += ((const uint64_t *)total)[i] < ((const uint64_t *)&before->total)[i];
    }
    for (uint32_t i = 0; i < LAGG_DROP_COUNT; i++) {
        out += total->drops[i];
    }
    faults += total->tx_in + total->rx_in != out;
    faults += port->tx_frames != total->tx_out || port->rx_frames != total->rx_in;
    faults += port->tx_bytes != port->tx_frames * TEST_FRAME_BYTES;
    faults +=
        port->rx_bytes !=
        (port->rx_frames - port->drops[LAGG_DROP_RING_OVERRUN]) * TEST_FRAME_BYTES;
    return faults;
}

/* Reads until enough readings were new, each against the one before. */
static void
check_readings(struct lagg *lagg)
{
    struct lagg_reading before = lagg_read(lagg);
    const struct lagg_counters first = before.total;
    uint64_t deadline_ms = clock_ms() + WAIT_MS_MAX;
    uint32_t faults = 0, moved = 0;

    for (uint32_t i = 0; i < READINGS || moved < MOVED_MIN; i++) {
        struct lagg_reading reading = lagg_read(lagg);

        faults += reading_faults(&reading, &before);
        moved += memcmp(&reading, &before, sizeof reading) != 0;
        before = reading;
        if (clock_ms() > deadline_ms) {
            break;
        }
    }
    CHECK_EQ_U32(faults, 0);
    CHECK(moved >= MOVED_MIN);
    CHECK(before.total.tx_out > first.tx_out);
    CHECK(before.total.rx_out > first.rx_out);
    printf("%" PRIu32 " workers: %" PRIu32 " readings were new, of %" PRIu64
           " frames\n",
        lagg->workers, moved, before.total.tx_in + before.total.rx_in);
}

static void
every_reading_is_of_one_moment(uint32_t workers)
{
    struct hammer hammer;
    struct lagg lagg;

    check_about("readings", workers);
    lagg_start(&lagg, workers);
    lagg_add_port(&lagg, LO);
    link_up("lagg0");
    CHECK(lagg_device_set_carrier(lagg.device, 1) == 0);
    hammer_start(&hammer);
    WAIT_UNTIL(lagg_read(&lagg).total.tx_out > 100);
    check_readings(&lagg);
    hammer_end(&hammer);
    lagg_remove_port(&lagg);
    lagg_end(&lagg);
}

int
main(void)
{
    namespace_enter();
    link_up("lo");
    a_worker_runs_once_until_it_is_stopped();
    a_sleeping_worker_delays_no_ticket();
    links_that_go_down_wake_nobody_for_long();
    a_port_that_vanishes_is_tx_down_and_no_spin();
    a_lagg_deleted_by_someone_else_is_tap_down_and_no_spin();
    a_port_does_not_hear_what_it_sends(1);
    a_port_does_not_hear_what_it_sends(WORKERS);
    a_port_opened_under_load_hears_each_frame_once();
    every_reading_is_of_one_moment(1);
    every_reading_is_of_one_moment(WORKERS);
    return check_report();
}
