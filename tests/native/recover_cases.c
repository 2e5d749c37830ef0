/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datapath goes on where a process was that was killed within a burst.
 */
#include "halves.h"

/* As a worker that was killed within a burst: inside of a section, its counts moving,
 * and 'decided' frames that it did not give back; or it did. */
static void
halves_die(struct halves *halves, uint32_t decided, bool given)
{
    static struct frame_buffer buffers[2];
    struct frame frame;
    struct ring *ring = &halves->port->rings[0][0];
    uint32_t refusal, sequence = atomic_load(&halves->work->workers[0].sequence);

    snapshot_enter(&halves->datapath->store, 0);
    atomic_store(&halves->work->workers[0].sequence, sequence | 1);
    ring_begin(ring, 0, sequence + 1);
    for (uint32_t i = 0; i < decided; i++) {
        CHECK(ring_read(ring, buffers, &frame, &refusal));
        ring_decide(ring, RING_DELIVERED);
    }
    if (given) {
        ring_end(ring);
        ring_release(ring);
    }
}

/* Another process makes it anew of the same descriptors, and carries on. */
static void
halves_recover(struct halves *halves)
{
    struct lagg_port_fds fds = port_fds_dup(halves->port);

    lagg_port_close(halves->port);
    datapath_remove(halves->datapath, 3);
    CHECK(datapath_close(halves->datapath) == 0);
    CHECK(datapath_open(halves->plans, halves->work, &halves->fds, &halves->datapath) ==
          0);
    CHECK(lagg_port_adopt(&fds, LAGG_INSIDE, &halves->port) == 0);
    halves->port->wish = &halves->plans->wishes[3];
    datapath_add(halves->datapath, 3, halves->port, false);
    datapath_recover(halves->datapath);
    CHECK(pthread_create(&halves->worker, NULL, halves_run, halves) == 0);
}

static void
what_was_not_decided_is_read_again(uint32_t decided, bool given)
{
    struct halves halves;
    struct lagg_reading reading;
    uint64_t ticket;
    uint32_t worker;

    check_about("recovered", decided);
    halves_start(&halves);
    publish(halves.device, 1u << 3);
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == FRAMES));
    halves_halt(&halves);
    lo_send(FRAMES);
    halves_die(&halves, decided, given);
    lagg_device_read(halves.device, &reading); /* and does not wait for the dead */
    CHECK(reading.ports[3].rx_frames == FRAMES && reading.total.rx_in == FRAMES);
    ticket = publish(halves.device, 1u << 3);
    CHECK(!lagg_device_passed(halves.device, ticket, &worker));
    halves_recover(&halves);
    WAIT_UNTIL(lagg_device_passed(halves.device, ticket, &worker));
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 2 * FRAMES - decided));
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 3 * FRAMES - decided));
    CHECK(reading.total.rx_out == reading.total.rx_in);
    halves_end(&halves);
}

int
main(void)
{
    namespace_enter();
    link_up("lo");
    what_was_not_decided_is_read_again(0, false);
    what_was_not_decided_is_read_again(5, false);
    what_was_not_decided_is_read_again(5, true);
    what_was_not_decided_is_read_again(BURST_MAX, false);
    what_was_not_decided_is_read_again(BURST_MAX, true);
    return check_report();
}
