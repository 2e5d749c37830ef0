/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a port is made of: shared by filter.c, packet.c, ring.c, txring.c, xdp.c, port.c
 * and those above them.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_PORT_H
#define LAGG_PORT_H

#include "internal.h"

#include <errno.h>
#include <sys/socket.h>

/* ---- what is sent -----------------------------------------------------------------
 * Both of the shared memory: what a process was at when it died, the next one sees.
 */

/* Frames of one burst that wait for one port, and what became of the first of them. */
struct queue {
    uint32_t count;             /* (w) */
    uint32_t done;              /* (w) so many have left or were given up */
    uint8_t order[BURST_MAX];   /* (w) indices into the burst's frames */
    uint8_t dropped[BURST_MAX]; /* (w) by place: 0, or 1 + enum lagg_drop */
};

/* A message to send, as struct mmsghdr. */
struct message {
    struct msghdr header;
    unsigned int length;
};

enum call_kind { CALL_NONE, CALL_MESSAGES, CALL_XDP, CALL_LONG };

/* The call under way, by which frames leave that a queue has from 'from' on. */
struct sending {
    _Atomic uint32_t what; /* (a) kind, slot, from, entry of a txring: a byte each */
    /* (w) The kernel writes the length of each that it has sent.  Their addresses are
     * this process's own, and no other looks at them. */
    struct message messages[BURST_MAX];
};

/* What a worker sends: what is left of a queue, in its order. */
struct shipment {
    uint32_t worker;
    uint32_t slot;
    const struct frame *frames;
    struct queue *queue;
    struct sending *call;
};

static inline uint32_t
shipment_left(const struct shipment *shipment)
{
    return shipment->queue->count - shipment->queue->done;
}

/* The first frame that is left. */
static inline const struct frame *
shipment_frame(const struct shipment *shipment)
{
    return &shipment->frames[shipment->queue->order[shipment->queue->done]];
}

/* What is written before comes before for whoever looks when this process has ended:
 * of its stores none is missing then, and the compiler moves none over this. */
static inline void
in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void
call_begin(const struct shipment *shipment, enum call_kind kind, uint32_t entry)
{
    in_order();
    atomic_store_explicit(&shipment->call->what,
        (uint32_t)kind | shipment->slot << 8 | shipment->queue->done << 16 |
            entry << 24,
        memory_order_relaxed);
    in_order();
}

/* ---- xdp.c ------------------------------------------------------------------------
 */

enum {
    XDP_FRAME_BYTES_MAX = 2000, /* beyond it copying costs what the socket saves */
    XDP_CHUNKS = 64, /* frames the port's driver may hold: 128 KiB of locked memory */
};

/* A ring shared with the kernel, which has the other end of each count. */
struct xdp_ring {
    uint8_t *map;               /* (c) */
    size_t map_bytes;           /* (c) */
    _Atomic uint32_t *producer; /* (a) of entries put in so far */
    _Atomic uint32_t *consumer; /* (a) of entries taken out so far */
    void *entries;              /* (c) */
};

/* Where its worker is with it: of the shared memory. */
struct xdp_place {
    _Atomic uint8_t open;      /* (a) 0 once the worker has no more use of the socket */
    uint32_t free_count;       /* (w) */
    uint16_t free[XDP_CHUNKS]; /* (w) */
    uint16_t chunk_of[BURST_MAX]; /* (w) by entry of 'waiting' */
    uint32_t first;               /* (w) the count in 'waiting' before the last call */
    uint64_t spoiled_before;      /* (w) entries the kernel had passed over then */
    uint64_t spoiled;             /* (w) and so far */
};

/* An AF_XDP socket that sends, for one worker.  All 0 when there is none. */
struct xdp {
    int fd;                  /* (c) */
    int chunks_fd;           /* (c) */
    uint8_t *chunks;         /* (c) one for each frame on its way */
    struct xdp_ring waiting; /* what the kernel is to send; empty between calls */
    struct xdp_ring done;    /* chunks of what has left */
    struct xdp_place *place; /* (c) NULL before it has one */
};

/* Opens '*xdp' (its descriptors -1, all else 0), of no interface yet.  0 or -errno:
 * -EAFNOSUPPORT, -EPERM, -ENOBUFS (RLIMIT_MEMLOCK) ... */
int xdp_open(struct xdp *xdp);
void xdp_close(struct xdp *xdp);

/* The same of a socket that another process opened, of whatever interface: it is ours
 * when we succeed.  0 or -EPROTO. */
int xdp_adopt(struct xdp *xdp, int fd, int chunks_fd);

/* So that it can be sent by here, once it is bound.  0 or -errno: -EBUSY when it was
 * bound before, on a kernel before Linux 6.4, or its interface has gone. */
int xdp_map(struct xdp *xdp);
void xdp_unmap(struct xdp *xdp);

/* Makes it that of the first transmit queue of an interface.  Within 100 ms.  0 or
 * -errno: -EBUSY when another has that queue, or this one is bound already ... */
int xdp_bind(const struct xdp *xdp, int ifindex);

/* Makes its place that of a socket that has sent nothing yet. */
void xdp_begin(struct xdp *xdp);

/* How many frames the kernel took of the call that was under way when its worker died;
 * the others are not on their way any more.  To ask again gives the same.  -EIO: nobody
 * can tell, of '*put' frames. */
int xdp_settle(struct xdp *xdp, uint32_t *put);

/* Makes its place that of a socket that has nothing on its way, when its worker died:
 * what that had not handed over is forgotten.  What does not leave within 5 ms keeps
 * its chunks, and the socket is out of use. */
void xdp_recover(struct xdp *xdp);

/* Whether a frame is short and plain enough to be sent so. */
bool xdp_fits(const struct frame *frame);

/* Sends the first that are left, up to one that does not fit or that the kernel does
 * not take.  The others are untouched, and none is on its way. */
void xdp_send(struct xdp *xdp, const struct shipment *shipment);

/* Waits until what was sent has left the port; but 5 ms at most, for a link that went
 * down may keep it. */
void xdp_drain(struct xdp *xdp);

/* ---- filter.c ---------------------------------------------------------------------
 */

/* What the packet socket 'fd' gets from now on; each 0 or -errno. */

/* Nothing.  Until all rings of a port share its frames, none may come in: a ring that
 * listens but has not joined the others yet would get frames that they have, too. */
int filter_shut(int fd);

/* What arrives, at no cost: PACKET_IGNORE_OUTGOING keeps out what the port sends. */
int filter_remove(int fd);

/* Frames to these MACs somebody else consumes. */
struct kept_out {
    uint32_t count;
    uint8_t macs[LAGG_KEPT_OUT_MAX][6];
};

struct admission {
    bool shared; /* with other rings: on such a one that option is without effect */
    bool lacp; /* else somebody else consumes LACP and Marker PDUs; those of other slow
                * protocols, and all with a tag, are frames like any other */
    struct kept_out kept_out;
};

/* What arrives, but for what is not admitted; at no cost, when all is. */
int filter_admit(int fd, const struct admission *admission);

/* ---- packet.c ---------------------------------------------------------------------
 */

/* Makes a packet socket that sees nothing yet.  Each 0 or -errno. */
int packet_open(int *fd);
int packet_set(int fd, int option, int value);
int packet_bind(int fd, int ifindex, int protocol);

/* The interface that a packet socket is bound to, as the kernel has it: PACKET_GONE
 * once that has gone; PACKET_NONE when 'fd' is none, or is not bound. */
enum { PACKET_GONE = -1, PACKET_NONE = 0 };
int packet_ifindex(int fd);

/* Whether 'fd' is a packet socket of the interface, or of one that has gone. */
bool packet_is_of(int fd, int ifindex);

/* Room for frames: 'forced' and 'limited' are SO_RCVBUFFORCE and SO_RCVBUF, or the two
 * for sending.  Best effort: without CAP_NET_ADMIN the system's limit holds. */
void packet_set_buffer(int fd, int forced, int limited);

/* Whether -errno says that a queue has no room at the moment. */
static inline bool
error_is_full(int error)
{
    return error == -EAGAIN || error == -ENOBUFS;
}

/* Binds a socket that only sends, with our mark and room for frames.  0 or -errno. */
int packet_bind_sender(int fd, int ifindex);

/* Sends what is left, whatever it is, in as few calls as can be; a full queue is tried
 * 'tries' times in all.  0, or -errno of the first that the kernel did not take. */
int packet_send(int fd, const struct shipment *shipment, uint32_t tries);

/* Of a call that was under way in another process: how many it sent. */
uint32_t packet_sent(const struct sending *call);

/* ---- ring.c -----------------------------------------------------------------------
 */

enum { UNTAGGED_BYTES = VNET_BYTES + 12 }; /* what a tag that is put back moves */

/* Where its worker is in a receive ring: of the shared memory. */
struct ring_place {
    _Atomic uint32_t next; /* (a) entry to look at next; written by its worker */
    uint32_t release_from; /* (w) first entry that may not have been given back */
    uint32_t reader;       /* (w) the worker, or drainer, that read last */
    uint32_t stamp;        /* (w) and when: see struct burst */
    uint8_t strays;        /* (w) not 0: there may be copies of entries given up */
    uint8_t rescued;       /* (w) not 0: the copy of one read next is in a buffer */
    uint8_t untagged[UNTAGGED_BYTES]; /* (w) of an entry that gets its tag */
};

/* A TPACKET_V2 receive ring: what one worker reads of one port. */
struct ring {
    int fd;                   /* (c) */
    uint8_t *map;             /* (c) shared with the kernel; NULL: not read here */
    struct ring_place *place; /* (c) NULL before it has one */
    uint32_t at;              /* (w) entry to look at next */
    bool empty;               /* (x) when its overruns were taken last */
    bool stuck;               /* (x) it cannot move */
};

/* What became of a frame that had an entry. */
enum ring_fate {
    RING_UNDECIDED,
    RING_DELIVERED,
    RING_DROPPED,      /* + enum lagg_drop */
    RING_LOST = 1 << 6 /* + enum lagg_drop: it could not be had at all */
};

static_assert(RING_DROPPED + LAGG_DROP_COUNT <= RING_LOST, "a fate is a byte");

/* Opens '*ring' (its fd -1, all else 0) on an interface, shut: no frame comes in before
 * a filter lets it.  0 or -errno; to be closed in either case. */
int ring_open(struct ring *ring, int ifindex);
void ring_close(struct ring *ring);

/* The same of a socket that another process opened: it is ours when we succeed.  0, or
 * -EPROTO when it is none of this interface. */
int ring_adopt(struct ring *ring, int fd, int ifindex);

/* So that it can be read here.  0 or what mmap(2) answers. */
int ring_map(struct ring *ring);

/* Has rings of one port share its frames by flow.  The first (*group < 0) draws a
 * number that no other program uses; the others join it.  0 or -errno. */
int ring_join_fanout(struct ring *ring, int *group);

/* Begins a burst of 'reader', under the stamp that its counts then have. */
void ring_begin(struct ring *ring, uint32_t reader, uint32_t stamp);

/* The next frame, in the ring or in one of two 'buffers' until ring_decide(), which is
 * to follow.  False when there is none; when it cannot be had, '*refusal' says why,
 * else it is LAGG_DROP_COUNT. */
bool ring_read(struct ring *ring, struct frame_buffer *buffers, struct frame *frame,
    uint32_t *refusal);
void ring_decide(struct ring *ring, uint32_t fate);

/* Ends a burst; and gives its entries back, when they are counted. */
void ring_end(struct ring *ring);
void ring_release(struct ring *ring);

/* What a process that died read and had not given back: the fate of the entry 'index'
 * behind the first, and the frame's bytes.  RING_UNDECIDED when there is none. */
uint32_t ring_fate(const struct ring *ring, uint32_t index, uint32_t *bytes);

/* The copy of a frame larger than its entry that was in hand, in the first of two
 * buffers, is not lost: the second keeps it until the entry is read again. */
void ring_rescue(struct ring *ring, struct frame_buffer *buffers);

/* Gives back what was decided; what was not is read again. */
void ring_recover(struct ring *ring);

/* Takes the error that a link going down leaves on a socket, or poll(2) would spin. */
void ring_clear_error(struct ring *ring);

/* Frames the kernel dropped for want of an entry since the last call.  Says in
 * ring->stuck whether it drops all that come, though there is room. */
uint32_t ring_take_overruns(struct ring *ring);

/* ---- txring.c ---------------------------------------------------------------------
 */

/* A transmit ring, for one worker.  Without a map there is none. */
struct txring {
    int fd;         /* (c) */
    uint8_t *map;   /* (c) shared with the kernel */
    uint32_t *next; /* (w) entry to fill next: of the shared memory */
};

/* Opens '*ring' (its fd -1, all else 0) on an interface.  0 or -errno; to be closed in
 * either case. */
int txring_open(struct txring *ring, int ifindex);
void txring_close(struct txring *ring);
int txring_adopt(struct txring *ring, int fd, int ifindex); /* as ring_adopt() */
int txring_map(struct txring *ring); /* so that it can be sent by here, as ring_map() */

/* Sends the first frame that is left, and is not to be segmented, however long the
 * port's MTU.  0 or -errno: -EAGAIN or -ENOBUFS when there is no room, -EMSGSIZE when
 * no entry can hold it. */
int txring_send(struct txring *ring, const struct shipment *shipment);

/* Of a call that was under way by 'entry' when its worker died: whether the kernel took
 * the frame.  To ask again gives the same. */
bool txring_settle(struct txring *ring, uint32_t entry);

/* ---- port.c, egress.c -------------------------------------------------------------
 */

/* What its workers know of a port: of the shared memory that they write. */
struct port_work {
    struct ring_place rings[2][LAGG_WORKERS_MAX];
    uint32_t txrings_next[LAGG_WORKERS_MAX]; /* (w) */
    struct xdp_place xdp;
    struct counter_bank counts[LAGG_WORKERS_MAX + 1]; /* last: the drainer's */
};

/* What is wanted of a port: of the shared memory that the control thread writes. */
struct port_wish {
    _Atomic uint32_t live;      /* (a) the set of rings that workers read */
    _Atomic bool xdp;           /* (a) frames that can may leave by AF_XDP */
    _Atomic bool filtered;      /* (a) */
    struct admission admission; /* (x) what the rings take */
    bool accepted;              /* (x) the last plan that named it took its frames, */
    bool once;                  /* (x) each once */
    uint32_t changed;           /* (x) how often the sets were changed */
    uint64_t overruns;          /* (x) frames the kernel had no entry for */
};

/* The sockets of one port. */
struct lagg_port {
    bool apart;  /* (c) its workers are of another process: nothing is mapped here */
    int ifindex; /* (c) */
    int tx_fd;   /* (c) */
    uint32_t rings_count;                   /* (c) of a set, one for each worker */
    struct ring rings[2][LAGG_WORKERS_MAX]; /* of the other set, fd is -1 mostly */
    struct txring txrings[LAGG_WORKERS_MAX];
    struct xdp xdp; /* for the one worker there then is */
    /* Of the one worker that 'xdp' is for; without that nobody's, and false. */
    bool queued;            /* (w) 'tx_fd' may hold frames that 'xdp' must not pass */
    bool xdp_queued;        /* (w) 'xdp' may hold frames that the others must not */
    bool long_queued;       /* (w) and its 'txrings' may */
    struct port_work *work; /* (c) NULL before it has a slot */
    struct port_wish *wish; /* (c) its own before it has a slot */
    struct port_wish own;   /* (x) */
};

/* What the flags of order are for: with AF_XDP there is one worker.  Without it several
 * may send by the port, and none writes what they share. */
static inline bool
port_has_xdp(const struct lagg_port *port)
{
    return port->xdp.chunks != NULL;
}

/* Opens the sockets of 'ifindex' into '*port' (zeroed by the caller, but for 'apart').
 * 0 or -errno. */
int port_open(struct lagg_port *port, int ifindex, uint32_t rings_count, bool xdp);
void port_close(struct lagg_port *port);

/* The same of sockets that another process opened: they are ours when we succeed.  0,
 * -EPROTO when one is not what it should be, or what mmap(2) answers. */
int port_adopt(struct lagg_port *port, const struct lagg_port_fds *fds);

/* The set of rings that is not live, of sockets that another process opened; errors,
 * and -EBUSY, as port_adopt() and port_open_rings(). */
int port_adopt_rings(struct lagg_port *port, const struct lagg_port_fds *fds);

/* Its sockets are somebody else's: only what is mapped goes. */
void port_disown(struct lagg_port *port);

/* Lets frames leave by AF_XDP, if they can: when its workers, wherever they are, have
 * mapped its socket, for before Linux 6.4 nobody maps one that is bound.  For any
 * thread. */
void port_bind_xdp(const struct lagg_port *port);

/* What is wanted of it is written here from now on. */
void port_give_wish(struct lagg_port *port, struct port_wish *wish);

/* Its workers are there from now on. */
void port_place(struct lagg_port *port, struct port_work *work);

/* A worker was there, in a process that has died: what it had read and not decided is
 * read again. */
void port_recover(struct lagg_port *port);

/* No worker has been there yet; in the rings beside those that they read, none has. */
void port_begin(struct lagg_port *port);
void port_begin_rings(struct lagg_port *port);

/* The ring that a worker reads.  Inside of a section of the epoch, once in a burst. */
static inline struct ring *
port_ring(struct lagg_port *port, uint32_t worker)
{
    /* Acquire: pairs with port_change_rings(), which comes after the set was opened. */
    uint32_t live = atomic_load_explicit(&port->wish->live, memory_order_acquire);

    return &port->rings[live][worker];
}

/* What the rings take from now on; at first LACP and Marker PDUs, too, to any MAC.  0,
 * or -errno: nothing has changed. */
int port_admit(struct lagg_port *port, const struct admission *admission);

/* Opens the set of rings that is not live, shut.  For any thread.  -EBUSY when it is
 * open, or what packet(7) answers. */
int port_open_rings(struct lagg_port *port);

/* No frame comes in by the live rings any more: what they are is final. */
void port_shut_rings(struct lagg_port *port);

/* Makes the set opened last the live one, and lets frames in.  0 or -errno; then the
 * set before has them again. */
int port_change_rings(struct lagg_port *port);

/* Closes the set that is not live, which no worker may see.  For any thread. */
void port_close_rings(struct lagg_port *port);

/* Frames the kernel dropped for want of an entry in the live rings since the last call.
 */
uint32_t port_take_overruns(struct lagg_port *port);

/* Whether any live ring cannot move, by what was seen when overruns were taken. */
bool port_is_stuck(struct lagg_port *port);

/* Whether short frames leave by AF_XDP. */
bool port_uses_xdp(const struct lagg_port *port);

/* Sends what is left by the cheapest way.  0, or -errno of the first that the kernel
 * did not take. */
int port_send(struct lagg_port *port, const struct shipment *shipment);

/* The same to a port that was full: a full queue is tried 'tries' times in all. */
int port_insist(
    struct lagg_port *port, const struct shipment *shipment, uint32_t tries);

/* Whether the port has carrier; a veth without it says that it is full.  Takes a lock
 * of the kernel's.  To ask makes the kernel tell a loss that it may hold back for a
 * second (net/core/link_watch.c), so the control plane learns of it, too. */
bool port_has_carrier(const struct lagg_port *port);

#endif
