/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public face of the hot path, and the only header Python sees.
 *
 * Owns the contract: what a plan is, who may call what, and every reason a frame may be
 * dropped for.  The block between the two markers is read by build.py as the cdef, so
 * it keeps to what cffi parses: no macros, no attributes.
 *
 * One writer: every lagg_device_* function is for the control thread alone.  A worker
 * thread calls only lagg_worker_run().  Functions return 0 or -errno; on an error
 * nothing has changed.
 */
#ifndef LAGG_H
#define LAGG_H

#include <stdint.h>

/* [abi] */
/* SO_MARK of what leaves by a port's packet socket: "lagg". */
enum lagg_mark { LAGG_MARK = 0x6c616767 };

enum lagg_limit {
    LAGG_PORTS_MAX = 32,  /* as lagg(4) */
    LAGG_BUCKETS = 256,   /* entries of a plan's table */
    LAGG_WORKERS_MAX = 8, /* threads that may carry one lagg */
    LAGG_BUSY_POLL_US_MAX = 1000,
    LAGG_KEPT_OUT_MAX = 40, /* MACs: one of each port's, and a watch's groups */
    LAGG_OWN_MAX = 33,      /* MACs: the lagg's, and one of each port's */
    LAGG_SNAPSHOTS_MAX = 16 /* published and in limbo; more is -EAGAIN */
};

/* How the index into tx_slots[] is formed. */
enum lagg_spread {
    LAGG_SPREAD_FIRST, /* failover: entry 0, the others stand in for it */
    LAGG_SPREAD_TURN,  /* roundrobin: 'stride' frames each, in turn or by chance */
    LAGG_SPREAD_FLOW,  /* loadbalance, lacp: by flow hash */
    LAGG_SPREAD_ALL,   /* broadcast: a copy to each */
    LAGG_SPREAD_COUNT
};

/* Why a frame was not delivered; lagg.model.Drop has the same order and the names. */
enum lagg_drop {
    LAGG_DROP_NO_PORT,        /* tx: the lagg has no port at all */
    LAGG_DROP_NO_ACTIVE_PORT, /* tx: it has, but none is active */
    LAGG_DROP_PROTO_NONE,     /* tx, rx: laggproto none */
    LAGG_DROP_TX_DOWN,        /* tx: the port died and no other stands in */
    LAGG_DROP_TX_FULL,        /* tx: the port's queue stayed full */
    LAGG_DROP_TX_ERROR,       /* tx: the kernel refused this frame */
    LAGG_DROP_NOT_ACCEPTED,   /* rx: the plan does not accept from this port */
    LAGG_DROP_RUNT,           /* shorter than an Ethernet header */
    LAGG_DROP_OVERSIZE,       /* longer than rx_bytes_max or any buffer; never cut */
    LAGG_DROP_BAD_OFFLOAD,    /* an offload header that contradicts its frame */
    LAGG_DROP_TAP_DOWN,       /* rx: the lagg is administratively down or gone */
    LAGG_DROP_TAP_FULL,       /* rx: the kernel had no room for it */
    LAGG_DROP_TAP_ERROR,      /* rx: the kernel refused it for another reason */
    LAGG_DROP_TAP_OVERRUN,    /* tx: the kernel dropped it before we could take it */
    LAGG_DROP_RING_OVERRUN,   /* rx: the port's ring, or the room beside it, was full */
    LAGG_DROP_HOLD_FULL,      /* tx: its flow was on the move, and no room to wait */
    LAGG_DROP_TX_FILTERED,    /* tx: an egress filter of the port's dropped it */
    LAGG_DROP_WORKER_DIED,    /* tx: the worker's process was killed as it took it */
    LAGG_DROP_OWN_SOURCE,     /* rx: the lagg sent it, and it came back */
    LAGG_DROP_DUPLICATE,      /* rx: another port brought a copy of it before */
    LAGG_DROP_LINK_LOCAL,     /* rx: to the port itself, by its group */
    LAGG_DROP_COUNT
};

enum lagg_hash_kind { LAGG_HASH_FNV1, LAGG_HASH_CRC32C, LAGG_HASH_COUNT };

/* Which headers count.  Beside them, INNER: those of the frame or packet that tunnels
 * carry; EITHER_WAY: alike in both directions. */
enum lagg_hash_layer {
    LAGG_LAYER_L2 = 1,
    LAGG_LAYER_L3 = 2,
    LAGG_LAYER_L4 = 4,
    LAGG_LAYER_EITHER_WAY = 8,
    LAGG_LAYER_INNER = 16
};

/* What carries a frame or a packet in another one. */
enum lagg_tunnel {
    LAGG_TUNNEL_VXLAN,
    LAGG_TUNNEL_GENEVE,
    LAGG_TUNNEL_GTP_U,
    LAGG_TUNNEL_GRE,
    LAGG_TUNNEL_IP, /* IPv4 or IPv6 in either */
    LAGG_TUNNEL_MPLS,
    LAGG_TUNNEL_PPPOE,
    LAGG_TUNNEL_NONE
};

enum lagg_tunnels_limit { LAGG_TUNNELS_MAX = 4 /* one in another */ };

/* How frames leave a port.  With LAGG_TRANSMIT_XDP, those that are short and not to be
 * segmented leave by AF_XDP, which passes the port's queueing discipline, egress
 * filters and sniffers by; the others always by the packet socket. */
enum lagg_transmit { LAGG_TRANSMIT_PACKET, LAGG_TRANSMIT_XDP, LAGG_TRANSMIT_COUNT };

/* What the workers do from the next burst on.  By value: publish copies it. */
struct lagg_plan {
    uint32_t spread;         /* enum lagg_spread */
    uint32_t tx_drop;        /* enum lagg_drop, counted while tx_slots_count is 0 */
    uint32_t rx_drop;        /* enum lagg_drop, counted where neither below says yes */
    uint32_t stride;         /* frames per turn; 0: each by an entry drawn by chance */
    uint32_t ports;          /* bit s: slot s is read from; the slot must be open */
    uint32_t rx_accept;      /* bit s: frames from slot s go up; a subset of ports */
    uint32_t rx_once;        /* bit s: the same, but for copies of what came by another
                              * of these; none is in rx_accept, too */
    uint32_t hash_kind;      /* enum lagg_hash_kind */
    uint32_t hash_layers;    /* LAGG_LAYER_* or-ed, at least one of L2 ... L4 */
    uint32_t hash_seed;      /* any */
    uint32_t rx_bytes_max;   /* of a frame in that is not to be segmented, with its
                              * Ethernet header; a longer one is LAGG_DROP_OVERSIZE */
    uint32_t tx_slots_count; /* 0 ... LAGG_BUCKETS; 0 when no port distributes */
    uint32_t own_count;      /* 0 ... LAGG_OWN_MAX */
    uint32_t passes_local;   /* not 0: frames to 01-80-C2-00-00-00 ... -0F go up, but to
                              * -01 (PAUSE); else to -02 (slow protocols) alone */
    uint64_t
        own_mask; /* publish fills in: the bits that are alike in all of own[], as */
    uint64_t own_bits;     /* they lie in a frame from 2 bytes before its source on */
    uint8_t tx_slots[256]; /* slots, each in ports; may repeat.  LAGG_BUCKETS */
    uint8_t held[32]; /* bit i % 8 of held[i / 8]: the frames of entry i wait for a plan
                       * that does not hold it, in order.  LAGG_SPREAD_FLOW only */
    /* For a switch that knows no aggregation, to which each port is a host of its own:
     * see station.c.  LAGG_SPREAD_FLOW only. */
    uint32_t stations;   /* not 0: so they are, and what follows counts */
    uint32_t home;       /* the slot at which the lagg's own MAC is; in ports */
    uint8_t mac[6];      /* the lagg's */
    uint8_t macs[32][6]; /* by slot: of what leaves there, but at home; all differ */
    uint8_t own[33][6];  /* MACs: what has one as its source is LAGG_DROP_OWN_SOURCE
                          * where it would go up.  LAGG_OWN_MAX */
    /* With stations: whether peers are taught to send to all of them: see lesson.c.
     * Each port accepts what is for its own MAC then, whatever rx_accept says, and that
     * goes up as the lagg's. */
    uint32_t teaches;      /* not 0: so it is, and what follows counts */
    uint8_t rx_slots[256]; /* by peer: the slot whose MAC it is taught; each in ports */
};

struct lagg_counters {
    uint64_t tx_in, tx_out, rx_in, rx_out; /* frames */
    uint64_t drops[21];                    /* frames, by enum lagg_drop */
};

/* What went out by one entry of a table. */
struct lagg_bucket {
    uint64_t frames, bytes;
};

struct lagg_port_counters {
    uint64_t tx_frames, tx_bytes, rx_frames,
        rx_bytes;       /* bytes without offload header */
    uint64_t drops[21]; /* frames, by enum lagg_drop */
};

/* One consistent reading: no counter is of another burst than the next one. */
struct lagg_reading {
    uint64_t generation;   /* of the snapshot published last */
    uint32_t xdp;          /* bit s: slot s transmits as LAGG_TRANSMIT_XDP says */
    uint32_t reopened[32]; /* by slot: times that its receive rings were changed */
    struct lagg_counters total;
    struct lagg_port_counters ports[32]; /* since the slot was opened; 0 when closed */
};

struct lagg_device;
struct lagg_port; /* an interface's sockets */

/* Who runs a device's workers: threads of this process, or another process, which the
 * caller then tells what is said of each function below. */
enum lagg_where { LAGG_INSIDE, LAGG_APART, LAGG_WHERE_COUNT };

/* All that another process needs to run or to adopt a device or a port.  Descriptors
 * are -1 where there is none. */
struct lagg_device_fds {
    int plans, work;     /* shared memories */
    int tap[8], wake[8]; /* by worker: a TAP queue and an eventfd.  LAGG_WORKERS_MAX */
};

struct lagg_port_fds {
    int ifindex;
    uint32_t rings_count; /* of a set: workers of its device */
    int tx, xdp, chunks;  /* packet socket, AF_XDP socket and its memory */
    int rings[2][8];      /* by set and worker; of one set mostly */
    int txrings[8];       /* by worker */
};

/* Makes a TAP named 'name' (at most 15 bytes) and what 'workers' threads (1 ...
 * LAGG_WORKERS_MAX) need to carry it, with the empty plan published.  'where': enum
 * lagg_where.  -EINVAL, -ENOMEM, or what open(2) of /dev/net/tun and TUNSETIFF answer
 * (-EBUSY, -EPERM, -ENOENT). */
int lagg_device_create(
    const char *name, uint32_t workers, uint32_t where, struct lagg_device **device);

/* Makes a device of what another process left: the same TAP, the same snapshots, counts
 * that go on.  Whoever had it must have ended, or never touch it again.  The device has
 * the descriptors when it succeeds, the caller when not: -EPROTO when one is not what
 * it should be or the memory is of another layout, -EINVAL, -ENOMEM.  A TAP, or the
 * interface of a port, that was deleted meanwhile is no reason to refuse. */
int lagg_device_adopt(
    const struct lagg_device_fds *fds, uint32_t where, struct lagg_device **device);

/* What the device has, which it keeps. */
void lagg_device_fds(const struct lagg_device *device, struct lagg_device_fds *fds);

/* Closes and frees everything; with LAGG_APART what is of this process.  Every worker
 * must have returned (-EBUSY otherwise). */
int lagg_device_destroy(struct lagg_device *device);

/* lagg0's carrier, as the kernel and users see it. */
int lagg_device_set_carrier(struct lagg_device *device, int up);

/* Opens the sockets of the interface 'ifindex' for the workers of 'device'.  Slow: the
 * kernel waits for grace periods of its own; so any thread may call it.  'transmit'
 * (enum lagg_transmit) is a wish: without AF_XDP, or with more than one worker, the
 * packet socket sends all; lagg_device_read() tells.  -EINVAL, -ENOMEM, or what
 * packet(7) answers. */
int lagg_port_open(const struct lagg_device *device, int ifindex, uint32_t transmit,
    struct lagg_port **port);

/* Makes a port of the sockets that another process opened for it; who has the
 * descriptors afterwards, and errors, as lagg_device_adopt().  'where': enum
 * lagg_where, of its workers; with LAGG_APART nothing of it is mapped. */
int lagg_port_adopt(
    const struct lagg_port_fds *fds, uint32_t where, struct lagg_port **port);

/* What the port has, which it keeps. */
void lagg_port_fds(const struct lagg_port *port, struct lagg_port_fds *fds);

/* Closes the sockets of a port that no device has.  As slow, and for any thread. */
void lagg_port_close(struct lagg_port *port);

/* Puts an open port into the free slot 'slot'; the device owns it then.  No worker sees
 * it before a plan names it.  -EINVAL, -EEXIST. */
int lagg_device_add_port(
    struct lagg_device *device, uint32_t slot, struct lagg_port *port);

/* Lets frames leave it by AF_XDP, as far as they can, once its workers have it: what
 * was opened for workers of another process is of no queue before.  For any thread,
 * within 100 ms.  -ENOENT. */
int lagg_device_bind_port(const struct lagg_device *device, uint32_t slot);

/* The same for an adopted port, whose slot it was before. */
int lagg_device_add_adopted(
    struct lagg_device *device, uint32_t slot, struct lagg_port *port);

/* How frames leave an open port from the next burst on, as far as lagg_port_open()
 * could make it possible.  No frame overtakes one of its flow, but by AF_XDP while the
 * port has more than one transmit queue, so that is the caller's to see to.  -EINVAL,
 * -ENOENT. */
int lagg_device_set_transmit(
    struct lagg_device *device, uint32_t slot, uint32_t transmit);

/* Whether frames that leave the port pass a filter that is not ours: what is refused
 * for want of room then counts as LAGG_DROP_TX_FILTERED, because the kernel tells the
 * two from each other to nobody.  -ENOENT. */
int lagg_device_set_filtered(struct lagg_device *device, uint32_t slot, int filtered);

/* Whether LACP and Marker PDUs that the port receives are frames of the lagg, as they
 * are at first; else its workers do not see them.  Live.  -ENOENT, or what
 * SO_ATTACH_FILTER answers. */
int lagg_device_admit_lacp(struct lagg_device *device, uint32_t slot, int admit);

/* Has 'count' MACs, of 6 bytes each, be those whose frames, coming in by the port, are
 * none of the lagg's, in place of those before: somebody else hears them, and its
 * workers do not see them.  Live.  -ENOENT, -E2BIG for more than LAGG_KEPT_OUT_MAX, or
 * what SO_ATTACH_FILTER answers. */
int lagg_device_keep_out(
    struct lagg_device *device, uint32_t slot, const uint8_t *macs, uint32_t count);

/* Whether a snapshot names the slot that some worker may still read: 1 or 0; -ENOENT
 * when there is no port. */
int lagg_device_names(const struct lagg_device *device, uint32_t slot);

/* Delivers what the port's ring still holds and takes it out; the caller closes it.
 * -EBUSY while a snapshot that names it may still be read; -ENOENT.  With LAGG_APART
 * the other process has delivered it before, and let go of the port. */
int lagg_device_remove_port(
    struct lagg_device *device, uint32_t slot, struct lagg_port **port);

/* The slots, as bits, whose receive rings cannot move: the kernel drops all that comes.
 * So it is, for good, after a frame whose offload packet(7) cannot describe. */
uint32_t lagg_device_stuck(struct lagg_device *device);

/* Opens receive rings for an open port beside those it has.  Slow, and for any thread
 * while the slot is this port's.  -ENOENT, -EBUSY when there are such already, or what
 * packet(7) answers. */
int lagg_device_open_rings(struct lagg_device *device, uint32_t slot);

/* Has the port's frames come in by those opened last.  To be followed by a publication:
 * once its ticket has passed, no worker sees the rings before.  -ENOENT, or what
 * SO_ATTACH_FILTER answers. */
int lagg_device_change_rings(struct lagg_device *device, uint32_t slot);

/* Delivers what the rings before still hold, when no worker sees them.  -ENOENT. */
int lagg_device_drain_rings(struct lagg_device *device, uint32_t slot);

/* Closes them, as slow and as lagg_device_open_rings().  -ENOENT. */
int lagg_device_close_rings(struct lagg_device *device, uint32_t slot);

/* Publishes a copy of 'plan' and wakes the workers; never blocks.  '*ticket' passes
 * once no worker can still see the snapshot before.  -EINVAL when the plan is not
 * sound, -EAGAIN when LAGG_SNAPSHOTS_MAX snapshots are still in use. */
int lagg_device_publish(
    struct lagg_device *device, const struct lagg_plan *plan, uint64_t *ticket);

/* Frees what has passed; never blocks.  Returns the number still in limbo. */
int lagg_device_reclaim(struct lagg_device *device);

/* Whether 'ticket' has passed: 1 or 0.  With 0, '*worker' is one that holds it up. */
int lagg_device_passed(struct lagg_device *device, uint64_t ticket, uint32_t *worker);

/* Copies all counters, consistently, while the workers run. */
void lagg_device_read(struct lagg_device *device, struct lagg_reading *reading);

/* What went out by each entry of the table, LAGG_SPREAD_FLOW's, since creation: of
 * whatever plan ruled then, and whichever port stood in for a dead one. */
void lagg_device_buckets(struct lagg_device *device, struct lagg_bucket buckets[256]);

/* Frames that came in so far, both ways: cheap, to see whether any flow. */
uint64_t lagg_device_frames(struct lagg_device *device);

/* The next frame that comes in, either way, has its worker write to the eventfd 'fd',
 * once for all workers; -1: none has.  'fd' is open until it was told or taken back. */
void lagg_device_alert(struct lagg_device *device, int fd);

/* Carries frames until lagg_device_stop().  One thread for each worker index; it makes
 * no call into Python.  'busy_poll_us' (0 ... LAGG_BUSY_POLL_US_MAX): how long it looks
 * on before it sleeps, while frames come closely.  -EBUSY when that worker runs
 * already, -EINVAL, else 0. */
int lagg_worker_run(struct lagg_device *device, uint32_t worker, uint32_t busy_poll_us);

/* Asks every worker to return.  May be called again. */
void lagg_device_stop(struct lagg_device *device);

/* What the hash of a frame read, and what came of it. */
struct lagg_hashed {
    uint32_t hash;
    uint8_t ether_src[6], ether_dst[6]; /* as they were hashed */
    uint8_t addr_src[16], addr_dst[16];
    uint8_t port_src[2], port_dst[2];
    uint8_t addr_bytes;    /* 0: it has none; 4 or 16 */
    uint8_t port_bytes;    /* 0: it has none; 2 */
    uint8_t tunnels[4];    /* enum lagg_tunnel, the outermost first; LAGG_TUNNELS_MAX */
    uint8_t tunnels_count; /* those that the headers above are inside of */
};

/* The flow hash under the plan of the 'size' bytes at 'bytes', for explain.  Pure.
 * -EINVAL for a runt. */
int lagg_flow_hash(const struct lagg_plan *plan, const uint8_t *bytes, uint32_t size,
    struct lagg_hashed *hashed);

/* Refuses every system call that laggd does not make, by EPERM, in all threads of this
 * process and for good.  -EOPNOTSUPP where the calls' numbers are not known, -EBUSY
 * when a thread has a filter of its own, or what seccomp(2) answers. */
int lagg_seccomp(void);

/* The BPF programs at tcx's egress hook of an interface in the caller's namespace.
 * Needs CAP_NET_ADMIN.  -ENODEV: no such interface; -EINVAL, -EPERM or -ENOSYS: of a
 * kernel before Linux 6.6, which has no such hook. */
int lagg_tcx_egress(uint32_t ifindex);

/* ---- the protocol between laggd and lagg-forwarder ----------------------------------
 * Over a Unix socket of kind SEQPACKET: one request, then its reply.  LAGG_YIELD, DONE
 * and RESUME are replies that no request asked for; CLAIM's own may take 2 s.  What a
 * request does not use is 0, and what is wrong is answered by an error and changes
 * nothing. */
enum lagg_protocol {
    LAGG_PROTOCOL_MAJOR = 1, /* another one is not understood */
    LAGG_PROTOCOL_MINOR = 1  /* grows with each word or field that is added */
};

enum lagg_message_limit {
    LAGG_NAME_BYTES = 48,       /* of a descriptor's name, with the 0 at its end */
    LAGG_PAGE_NAMES = 64,       /* descriptors that one reply brings at most */
    LAGG_NAMES_MAX = 32768,     /* descriptors that a forwarder keeps */
    LAGG_IDS_MAX = 1024,        /* laggs have ids from 1 up to here */
    LAGG_LEASE_BYTES_MAX = 124, /* a LACPDU with its Ethernet header */
    LAGG_LEASE_MS_MAX = 3600000,
    LAGG_LEASE_SHIFT = 24
};

/* The leases of a port: what it says again while there is no owner. */
enum lagg_lease {
    LAGG_LEASE_LACP, /* by the socket "slow.SLOT", each period */
    LAGG_LEASE_BFD,  /* by "probe.SLOT", as RFC 5880 has a session's; from minor 1 on */
    LAGG_LEASE_BFD_TOO, /* one more, for RFC 7130 has a session for IPv4 and for IPv6 */
    LAGG_LEASES_MAX
};

/* What a request asks for.  The first four are for every client. */
enum lagg_word {
    LAGG_HELLO,     /* argument: major << 16 | minor; comes first */
    LAGG_LIST,      /* a page of names and their descriptors; argument: from which on */
    LAGG_CLAIM,     /* to become the owner; the reply comes when the owner lets go, and
                     * its argument says for how many ms there has been none */
    LAGG_COMMIT,    /* after CLAIM: the client is the owner from now on */
    LAGG_GO,        /* the owner's answer to YIELD: it writes nothing from now on */
    LAGG_REFUSE,    /* the owner's other answer; name: why */
    LAGG_PUT,       /* keeps the descriptor that comes along as 'name' */
    LAGG_DEL,       /* closes the descriptor 'name' */
    LAGG_OPEN,      /* maps the memories of 'lagg'; argument: enum lagg_age */
    LAGG_MAP,       /* makes a port of its descriptors; argument: enum lagg_age */
    LAGG_MAP_RINGS, /* takes the rings of set 'argument' to a port */
    LAGG_UNMAP,     /* takes a port away, which no snapshot names */
    LAGG_UNMAP_RINGS, /* takes the rings of set 'argument' away, which are not live */
    LAGG_DRAIN,  /* delivers what rings of set 'argument' hold, which no worker sees */
    LAGG_RUN,    /* starts the workers; argument: microseconds of busy polling */
    LAGG_STOP,   /* returns when no worker runs any more */
    LAGG_CLOSE,  /* forgets a lagg that is stopped; its descriptors stay */
    LAGG_LEASE,  /* what a port repeats while there is no owner; argument: enum
                  * lagg_lease << LAGG_LEASE_SHIFT | ms from one to the next; no bytes
                  * and no ms: nothing.  Of BFD also beside a new owner, for a while and
                  * until he orders it anew */
    LAGG_END,    /* closes all, and the forwarder exits */
    LAGG_YIELD,  /* to the owner: somebody claims; GO or REFUSE is to answer it */
    LAGG_DONE,   /* to the former owner: another is */
    LAGG_RESUME, /* to the owner, after YIELD or GO: the claim is over, it stays */
    LAGG_LEAVE,  /* the owner is none any more, and ends; whoever comes may be one */
    LAGG_WORDS_COUNT
};

/* Whether another process worked with it before. */
enum lagg_age { LAGG_FRESH, LAGG_AGAIN, LAGG_AGES_COUNT };

struct lagg_request {
    uint32_t what;        /* enum lagg_word */
    uint32_t lagg;        /* its id, 1 ... LAGG_IDS_MAX */
    uint32_t slot;        /* 0 ... LAGG_PORTS_MAX - 1 */
    uint32_t argument;    /* as enum lagg_word says */
    uint32_t bytes_count; /* of 'bytes' */
    char name[48];        /* LAGG_NAME_BYTES; zeros behind it */
    uint8_t bytes[124];   /* LAGG_LEASE_BYTES_MAX */
};

struct lagg_reply {
    uint32_t what;       /* of the request, or what nobody asked for */
    int32_t error;       /* 0 or -errno; then nothing has changed */
    uint32_t count;      /* of 'names', each with a descriptor, in their order */
    uint32_t argument;   /* HELLO: hash of the memories' layout; LIST: all there are */
    uint32_t generation; /* of the list: another after each PUT and DEL */
    uint16_t major, minor; /* LAGG_PROTOCOL_ */
    char text[48];         /* HELLO: version; with an error: why, for people */
    char names[64][48];    /* LAGG_PAGE_NAMES of them */
};

/* The hash of the shared memories' layout that this process has in mind. */
uint32_t lagg_layout(void);
/* [/abi] */

#endif
