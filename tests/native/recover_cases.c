/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datapath goes on where a process was that was killed within a burst.
 */
#include "halves.h"

/* As a worker that was killed within a burst: inside of a section, its counts moving,
 * and frames read that it did not give back; 'given' of them it did. */
static void
halves_die(struct halves *halves, uint32_t given)
{
    static struct frame_buffer buffers[BURST_MAX];
    static struct frame frames[BURST_MAX];
    struct ring *ring = &halves->port->rings[0][0];
    struct ring_losses losses = {0};
    uint32_t sequence = atomic_load(&halves->work->workers[0].sequence);

    snapshot_enter(&halves->datapath->store, 0);
    atomic_store(&halves->work->workers[0].sequence, sequence | 1);
    CHECK_EQ_U32(ring_read(ring, buffers, frames, BURST_MAX, &losses), BURST_MAX);
    ring->place->release_count = given;
    ring_release(ring);
    ring->place->release_count = BURST_MAX;
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
    CHECK(lagg_port_adopt(&fds, &halves->port) == 0);
    halves->port->wish = &halves->plans->wishes[3];
    datapath_add(halves->datapath, 3, halves->port, false);
    datapath_recover(halves->datapath);
    CHECK(pthread_create(&halves->worker, NULL, halves_run, halves) == 0);
}

static void
what_was_not_given_back_is_read_again(uint32_t given)
{
    struct halves halves;
    struct lagg_reading reading;
    uint64_t ticket;
    uint32_t worker;

    check_about("recovered", given);
    halves_start(&halves);
    publish(halves.device, 1u << 3);
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == FRAMES));
    halves_halt(&halves);
    lo_send(FRAMES);
    halves_die(&halves, given);
    ticket = publish(halves.device, 1u << 3);
    CHECK(!lagg_device_passed(halves.device, ticket, &worker));
    halves_recover(&halves);
    WAIT_UNTIL(lagg_device_passed(halves.device, ticket, &worker));
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 2 * FRAMES - given));
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 3 * FRAMES - given));
    CHECK(reading.total.rx_out == reading.total.rx_in);
    halves_end(&halves);
}

int
main(void)
{
    namespace_enter();
    link_up("lo");
    what_was_not_given_back_is_read_again(0);
    what_was_not_given_back_is_read_again(5);
    what_was_not_given_back_is_read_again(BURST_MAX);
    return check_report();
}
