/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that carry a lagg and are killed, and what outlives them: memory that is
 * shared, socket pairs for the TAP and the wires.
 *
 * Owns the moment of a death.  The system calls are the kernel's, but for a port that
 * is down.  Include it first.
 */
#ifndef DEATHS_H
#define DEATHS_H

#define _GNU_SOURCE /* sendmmsg */
#include "device.h"

#include "numbers.h"

#include <linux/if_packet.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PORTS = 3,
    OUT = 34,       /* frames from the TAP before the death */
    OUT_AFTER = 10, /* and after it */
    IN = 6,         /* to each port */
    LARGE = 3,      /* each such one is larger than a ring's entry */
    ENTRY_BYTES = 2048,
    ENTRY_MAC = 96,
    ENTRY_ROOM = ENTRY_BYTES - ENTRY_MAC,
    RINGS_BYTES = RING_FRAMES * ENTRY_BYTES,
    POLLS = 6,
    NEVER = 1 << 30,
};

/* What happens to a lagg whose process dies. */
struct story {
    const char *name;
    uint32_t spread, spread_after; /* enum lagg_spread */
    uint8_t held, held_after;      /* of the first entries of the table */
    uint32_t down;                 /* slots that are down, as bits */
    uint32_t refusing;             /* slots that refuse each frame */
    uint32_t ports_after;          /* in the table by then; else all of them */
    bool tagged;                   /* what comes in has a tag beside it */
};

static struct {
    struct plans *plans;
    struct work *work;
    struct lagg_device_fds fds;
    struct snapshot_store store;
    struct lagg_port ports[PORTS];
    int host_fd, far_fd[PORTS], large_fd[PORTS];
    uint8_t *rings[PORTS];
    uint32_t down; /* for sendmmsg(2) below */
} world;

/* A port that is down says so, before it looks at any frame. */
int
sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        if (fd == world.ports[slot].tx_fd && (world.down >> slot & 1)) {
            errno = ENETDOWN;
            return -1;
        }
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

/* ---- the world --------------------------------------------------------------------
 */

static inline void *
shared(size_t bytes)
{
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        abort();
    }
    return memory;
}

static inline void
pair(int *one, int *other)
{
    int fds[2], bytes = 1 << 20;

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        abort();
    }
    for (uint32_t i = 0; i < 2; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    *one = fds[0];
    *other = fds[1];
}

static inline struct lagg_plan
plan_make(uint32_t spread, uint8_t held, uint32_t ports)
{
    const uint32_t accepted = (1u << (PORTS - 1)) - 1; /* the last is a standby */
    const bool once = spread == LAGG_SPREAD_ALL;       /* as with dedup */
    struct lagg_plan plan = {
        .spread = spread,
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .ports = (1u << PORTS) - 1,
        .rx_accept = once ? 0 : accepted,
        .rx_once = once ? accepted : 0,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .tx_slots_count = ports,
        .tx_slots = {0, 1, 2},
        .held = {held},
    };

    return plan;
}

static inline void
publish(const struct lagg_plan *plan)
{
    uint64_t ticket;

    CHECK(snapshot_publish(&world.store, plan, (1u << PORTS) - 1, &ticket) == 0);
}

static inline void
port_make(uint32_t slot)
{
    struct lagg_port *port = &world.ports[slot];

    *port = (struct lagg_port){.rings_count = 1, .wish = &world.plans->wishes[slot]};
    pair(&port->tx_fd, &world.far_fd[slot]);
    pair(&port->rings[0][0].fd, &world.large_fd[slot]);
    world.rings[slot] = shared(RINGS_BYTES);
    port->rings[0][0].map = world.rings[slot];
}

static inline void
world_make(const struct story *story)
{
    const struct lagg_plan plan = plan_make(story->spread, story->held, PORTS);

    world.plans = shared(plans_bytes());
    world.work = shared(work_bytes(1));
    layout_write(&world.plans->layout, 1);
    world.work->layout = world.plans->layout;
    world.store = snapshot_store_of(&world.plans->pool, world.work->readers);
    snapshot_store_init(&world.store);
    memset(&world.fds, -1, sizeof world.fds);
    pair(&world.fds.tap[0], &world.host_fd);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        port_make(slot);
        if (story->refusing >> slot & 1) {
            close(world.far_fd[slot]);
            world.far_fd[slot] = -1;
        }
    }
    world.down = story->down;
    publish(&plan);
}

static inline void
world_end(void)
{
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        close(world.ports[slot].tx_fd);
        close(world.ports[slot].rings[0][0].fd);
        close(world.large_fd[slot]);
        if (world.far_fd[slot] >= 0) {
            close(world.far_fd[slot]);
        }
        munmap(world.rings[slot], RINGS_BYTES);
    }
    close(world.fds.tap[0]);
    close(world.host_fd);
    munmap(world.plans, plans_bytes());
    munmap(world.work, work_bytes(1));
}

/* ---- frames -----------------------------------------------------------------------
 */

static inline uint32_t
size_of(uint32_t number)
{
    return number % LARGE == 0 ? 3000 + number : FRAME_BYTES_MIN + number * 7 % 200;
}

static inline void
host_send(uint32_t first, uint32_t end)
{
    static uint8_t bytes[WIRE_BYTES_MAX];

    for (uint32_t number = first; number < end; number++) {
        frame_make(bytes, number, size_of(number));
        fd_put(world.host_fd, bytes, VNET_BYTES + size_of(number));
    }
}

/* As the kernel does, which strips the tag of a frame that has one: its four bytes are
 * then beside it, where frame_make() has the second half of its source address. */
static inline void
ring_put(uint32_t slot, uint32_t index, uint32_t number, bool tagged)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    uint8_t *map = world.rings[slot] + (size_t)index * ENTRY_BYTES;
    struct tpacket2_hdr *entry = (struct tpacket2_hdr *)(void *)map;
    uint32_t size = size_of(number), kept = size < ENTRY_ROOM ? size : ENTRY_ROOM;

    frame_make(bytes, number, size);
    *entry = (struct tpacket2_hdr){
        .tp_status = TP_STATUS_USER,
        .tp_len = size,
        .tp_snaplen = kept,
        .tp_mac = ENTRY_MAC,
    };
    if (tagged) {
        entry->tp_status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
        entry->tp_vlan_tpid = 0x8100;
        entry->tp_vlan_tci = 42;
    }
    memcpy(map + ENTRY_MAC - VNET_BYTES, bytes, VNET_BYTES + kept);
    if (kept < size) {
        fd_put(world.large_fd[slot], bytes, VNET_BYTES + size);
        entry->tp_status |= TP_STATUS_COPY;
    }
}

static inline void
rings_fill(bool tagged)
{
    for (uint32_t i = 0; i < PORTS * IN; i++) {
        ring_put(i / IN, i % IN, i, tagged);
    }
}

/* ---- a process --------------------------------------------------------------------
 */

static inline void
ports_add(struct datapath *datapath, bool fresh)
{
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        datapath_add(datapath, slot, &world.ports[slot], fresh);
    }
}

/* Carries frames until there are none.  'again': after another one's death. */
static inline void
carry(bool again)
{
    struct datapath *datapath;

    if (datapath_open(world.plans, world.work, &world.fds, &datapath) != 0) {
        _exit(1);
    }
    ports_add(datapath, !again);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(1);
    }
    raise(SIGSTOP);
    if (again) {
        datapath_recover(datapath);
    }
    for (uint32_t i = 0; i < POLLS; i++) {
        worker_poll(datapath->workers[0]);
    }
    _exit(0);
}

/* One that is killed after so many steps: of system calls a step into each and one out
 * of it, or of instructions.  False when it came to its end before. */
static inline bool
process_dies(bool again, bool instructions, uint32_t steps)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        carry(again);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    for (uint32_t i = 0; i < steps && WIFSTOPPED(status); i++) {
        /* What is no step of ours, as an abort(3), is its own. */
        long own = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP
                       ? 0
                       : WSTOPSIG(status);

        ptrace(instructions ? PTRACE_SINGLESTEP : PTRACE_SYSCALL, pid, NULL, own);
        CHECK(waitpid(pid, &status, 0) == pid);
    }
    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        CHECK(waitpid(pid, &status, 0) == pid);
        return true;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

#endif
