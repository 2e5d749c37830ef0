/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the C files share and Python does not see, grouped by the file that owns it.
 *
 * Who may touch a member:  (c) const after creation   (p) const once published
 *   (w) its one worker     (x) control thread         (a) atomic, see the comment
 *
 * Dependencies point one way:
 *   memory, epoch, tunnel, frame, hash, hold, pace <- snapshot, distributor, lesson <-
 *   station <- tap <- filter, packet, ring, txring, xdp <- port <- dedup, counts,
 *   journal, transmit, receive <- worker <- layout <- datapath <- roster, device
 * Of station: station.h; from filter on: port.h; counts: worker.h; layout: device.h.
 */
#ifndef LAGG_INTERNAL_H
#define LAGG_INTERNAL_H

#include "lagg.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    BURST_MAX = 32,         /* frames per burst; 16 to 32 measured best */
    HEAD_BYTES = 2048,      /* a frame's first part; all of it unless GSO or jumbo */
    REST_BYTES = 65536,     /* the rest of a frame of up to 64 KiB */
    RING_FRAMES = 2048,     /* 20 ms at 100 kpps: as long as a busy CPU may take */
    VNET_BYTES = 10,        /* struct virtio_net_hdr, in front of every frame */
    TAG_BYTES = 4,          /* one VLAN tag */
    ETHER_BYTES = 14,       /* struct ether_header */
    CACHE_LINE_BYTES = 128, /* two lines: adjacent-line prefetch shares them */
    NO_SLOT = 255,
};

static_assert(LAGG_PORTS_MAX == 32, "ports and rx_accept are one 32-bit word");
static_assert((LAGG_BUCKETS & (LAGG_BUCKETS - 1)) == 0, "a table index is a mask");

/* ---- memory.c ---------------------------------------------------------------------
 */

/* Makes 'bytes' of zeroed memory that other processes can map.  The descriptor or
 * -errno.  Pages take room once they are written. */
int memory_make(const char *name, size_t bytes);

/* Whether 'fd' is memory of at least so many bytes that nobody can make smaller. */
bool memory_is_sound(int fd, size_t bytes);

/* Maps it; NULL, and errno. */
void *memory_map(int fd, size_t bytes, bool writable);
void memory_unmap(void *memory, size_t bytes); /* NULL: nothing */

/* Memory of this process, of which only the first 'zeroed' bytes are written: buffers
 * take none before use.  NULL when there is none. */
void *memory_allocate(size_t size, size_t zeroed);

/* ---- frame.c ----------------------------------------------------------------------
 */

/* A frame in memory: an offload header (struct virtio_net_hdr, host byte order), then
 * Ethernet.  'head' holds at least the first min(frame, HEAD_BYTES - VNET_BYTES) bytes
 * of it, so that no parser ever looks into 'rest'. */
struct frame {
    uint8_t *head;       /* the offload header's first byte */
    uint32_t head_bytes; /* with the offload header */
    uint32_t rest_bytes; /* 0 when all is in head */
    uint8_t *rest;
};

/* What tells flows apart; fields that a frame does not have are 0.  Network byte order
 * throughout.  No padding: it is hashed as it lies. */
struct flow {
    uint8_t ether_src[6], ether_dst[6];
    uint8_t vlan[2][2]; /* VLAN ids (PCP and DEI cleared), outer first */
    uint8_t addr_src[16], addr_dst[16]; /* IPv4 in the first 4 bytes */
    uint8_t port_src[2], port_dst[2];   /* TCP, UDP, SCTP, unfragmented only */
    uint8_t vlan_count;                 /* 0 ... 2 */
    uint8_t addr_bytes;                 /* 0, 4 or 16 each */
    uint8_t port_bytes;                 /* 0 or 2 each */
    uint8_t reserved;
};

static_assert(sizeof(struct flow) == 56, "no padding: the flow is hashed as it lies");

/* Parses the 'size' bytes at 'bytes' (from the Ethernet destination on).  What is cut
 * off or malformed is left out, and the frame is still a flow of the layers below it.
 * False only for a runt. */
bool frame_parse(const uint8_t *bytes, uint32_t size, struct flow *flow);

/* The tunnels that lead to a flow, the outermost first. */
struct tunnels {
    uint8_t kinds[LAGG_TUNNELS_MAX]; /* enum lagg_tunnel */
    uint32_t count;
};

/* As frame_parse(), but of the innermost frame or packet that LAGG_TUNNELS_MAX tunnels
 * lead to: its headers take the place of those that carry it, but for the MACs where
 * it has none.  What is fragmented is not looked into. */
bool frame_parse_inner(
    const uint8_t *bytes, uint32_t size, struct flow *flow, struct tunnels *tunnels);

/* Whether the offload header in front of 'frame' can be true of it.  The kernel checks
 * too; a frame it would refuse is counted here by its reason. */
bool frame_offload_valid(const struct frame *frame);

/* The bytes of the VLAN tags at its front, of two at most.  It must be no runt. */
uint32_t frame_tags_bytes(const struct frame *frame);

/* Puts a VLAN tag that the kernel delivered beside the frame back into it, and moves
 * csum_start and hdr_len with it.  'tpid' and 'tci' in host byte order.  TAG_BYTES must
 * be writable in front of frame->head, and the frame be no runt. */
void frame_insert_tag(struct frame *frame, uint16_t tpid, uint16_t tci);

/* Why the frame may not pass at all, as a lagg_drop; LAGG_DROP_COUNT when it may. */
uint32_t frame_refusal(const struct frame *frame);

/* Whether the frame is to be cut into segments on its way out. */
bool frame_is_gso(const struct frame *frame);

/* Where the valid offload header of a frame in one piece leaves a checksum open, from
 * the Ethernet destination on, and what it is; 0: nowhere.  Or stores it in a copy. */
uint32_t frame_open_checksum(const struct frame *frame, uint16_t *sum);
void frame_finish_checksum(const struct frame *frame, uint8_t *bytes);

/* The Internet checksum (RFC 1071) of 'size' bytes, to be stored as it is. */
uint16_t frame_checksum(const uint8_t *bytes, uint32_t size);

/* Bytes from the Ethernet destination to the end, without the offload header. */
static inline uint32_t
frame_bytes(const struct frame *frame)
{
    return frame->head_bytes + frame->rest_bytes - VNET_BYTES;
}

/* ---- tunnel.c ---------------------------------------------------------------------
 */

/* What lies behind headers that were read. */
enum payload_kind {
    PAYLOAD_NONE,       /* nothing that could be read */
    PAYLOAD_FRAME,      /* a frame, from its Ethernet destination on */
    PAYLOAD_ETHER_TYPE, /* what an ether type, 'number', stands for */
    PAYLOAD_PROTOCOL,   /* what a protocol of IP, 'number', stands for */
};

struct payload {
    const uint8_t *bytes;
    uint32_t size;
    uint32_t kind; /* enum payload_kind */
    uint32_t number;
};

/* Goes on to what the tunnel at the payload's front carries, a frame or an ether type.
 * Says which it is; LAGG_TUNNEL_NONE, and the payload is nothing any more, when there
 * is none. */
uint32_t tunnel_enter(struct payload *payload);

/* ---- hash.c -----------------------------------------------------------------------
 */

struct hash_policy {
    uint32_t kind;   /* enum lagg_hash_kind */
    uint32_t layers; /* LAGG_LAYER_* */
    uint32_t seed;
};

/* What hash_flow() reads; other bits of LAGG_LAYER_* change what it is given. */
enum { LAYERS_PLAIN = LAGG_LAYER_L2 | LAGG_LAYER_L3 | LAGG_LAYER_L4 };

/* Orders each pair of a flow's fields, so that both directions are one flow. */
void hash_order(struct flow *flow);

/* The flow hash.  Pure: the same on every machine, whichever instructions it has. */
uint32_t hash_flow(const struct flow *flow, const struct hash_policy *policy);
/* And of a frame, no runt, whatever layers its plan says. */
uint32_t hash_frame(const struct lagg_plan *plan, const struct frame *frame);

/* The CRC32C variants, for the tests that hold them to be one function. */
uint32_t hash_crc32c_portable(uint32_t crc, const uint8_t *bytes, size_t size);
uint32_t hash_crc32c(uint32_t crc, const uint8_t *bytes, size_t size);

/* ---- epoch.c ----------------------------------------------------------------------
 */

/* The memory orders the proof rests on, in one place: the code and every model of it
 * take them from here.  reference: docs/adr/0002. */
#define EPOCH_ENTER_LOAD memory_order_acquire
#define EPOCH_ENTER_STORE memory_order_seq_cst
#define EPOCH_ROOT_LOAD memory_order_seq_cst
#define EPOCH_ROOT_EXCHANGE memory_order_seq_cst
#define EPOCH_LEAVE_STORE memory_order_release
#define EPOCH_ADVANCE memory_order_seq_cst
#define EPOCH_SCAN_LOAD memory_order_seq_cst

struct epoch_clock {
    _Alignas(
        CACHE_LINE_BYTES) _Atomic uint64_t now; /* (a) written by the control thread */
};

struct epoch_reader {
    /* (a) 0 outside a section, else the epoch seen on entry; written by its reader */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t seen;
};

/* Where the two sides are: each is written by one process and read by the other. */
struct epoch {
    struct epoch_clock *clock;    /* (c) */
    struct epoch_reader *readers; /* (c) LAGG_WORKERS_MAX of them */
};

/* Makes the clock one that has just begun.  Readers that are all 0 are outside. */
void epoch_init(const struct epoch *epoch);

/* Begins a read section and loads the one root of it, an index.  What has that index
 * stays valid until epoch_leave(); loading the root a second time is not covered. Never
 * block inside. */
uint32_t epoch_enter(
    const struct epoch *epoch, uint32_t reader, const _Atomic uint32_t *root);
void epoch_leave(const struct epoch *epoch, uint32_t reader);

/* Swaps the root, then advances the clock, in that order.  Returns the old root;
 * '*ticket' passes once no reader can hold it.  Control thread only. */
uint32_t epoch_replace(const struct epoch *epoch, _Atomic uint32_t *root,
    uint32_t fresh, uint64_t *ticket);

/* Advances the clock alone: '*ticket' passes once no reader can hold a root that was
 * swapped before.  Control thread only. */
void epoch_advance(const struct epoch *epoch, uint64_t *ticket);

/* Whether every reader is outside or entered after 'ticket' was drawn; if not,
 * '*reader' is one that did not. */
bool epoch_passed(const struct epoch *epoch, uint64_t ticket, uint32_t *reader);

/* ---- snapshot.c -------------------------------------------------------------------
 */

/* What workers read: a plan, in one immutable value.  It names ports by their slots. */
struct snapshot {
    uint64_t generation;   /* (p) grows by one per publication */
    struct lagg_plan plan; /* (p) sound, as plan_sound() says */
    uint64_t ticket;       /* (x) FREE, LIVE, or passes when reusable */
};

/* All the snapshots there will ever be: the cap on memory in limbo. */
struct snapshot_pool {
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t root; /* (a) the live snapshot */
    struct epoch_clock clock;
    uint64_t generation; /* (x) of the live snapshot */
    struct snapshot snapshots[LAGG_SNAPSHOTS_MAX];
};

/* Where they are, and who reads them. */
struct snapshot_store {
    struct snapshot_pool *pool; /* (c) */
    struct epoch epoch;         /* (c) */
};

/* The store of a pool and LAGG_WORKERS_MAX readers that exist. */
struct snapshot_store snapshot_store_of(
    struct snapshot_pool *pool, struct epoch_reader *readers);

/* Makes it one with the empty plan published.  Its readers must be outside. */
void snapshot_store_init(const struct snapshot_store *store);

/* Goes on with a store whose writer has ended, wherever it was: what it had swapped out
 * and what it had not swapped in yet become reusable when no reader can see it. 0, or
 * -EPROTO when the live snapshot is none that can have been published. */
int snapshot_store_adopt(const struct snapshot_store *store);

/* As lagg_device_publish().  'open': a bit for each slot that has a port. */
int snapshot_publish(const struct snapshot_store *store, const struct lagg_plan *plan,
    uint32_t open, uint64_t *ticket);

/* Makes reusable what has passed.  Returns the number still in limbo. */
int snapshot_reclaim(const struct snapshot_store *store);

/* The live snapshot, for the control thread, which needs no section: it is the writer.
 */
const struct snapshot *snapshot_live(const struct snapshot_store *store);

/* Whether the live snapshot or one in limbo names 'slot'. */
bool snapshot_names(const struct snapshot_store *store, uint32_t slot);

/* Begins a section of 'reader', and its snapshot; as epoch_enter(). */
static inline const struct snapshot *
snapshot_enter(const struct snapshot_store *store, uint32_t reader)
{
    return &store->pool
                ->snapshots[epoch_enter(&store->epoch, reader, &store->pool->root)];
}

static inline void
snapshot_leave(const struct snapshot_store *store, uint32_t reader)
{
    epoch_leave(&store->epoch, reader);
}

/* ---- hold.c -----------------------------------------------------------------------
 */

enum {
    HOLD_BYTES = 1 << 22, /* 33 ms at 1 Gbit/s; a marker takes a few */
    HOLD_BURST_BYTES = BURST_MAX * (HEAD_BYTES + REST_BYTES + 32),
};

/* store[0 ... kept) are kept under the snapshot that was seen last, store[next ... end)
 * were kept under the one before and are looked at again; outside of such a pass
 * kept == next == end. */
struct hold_place {
    uint32_t kept, next, end; /* (w) bytes */
};

/* Frames of flows that are on the move, and of bursts that a process died in. */
struct hold {
    uint64_t generation; /* (w) of the snapshot that was seen last */
    struct hold_place place;
    /* Behind HOLD_BYTES is room for one burst, whatever its frames. */
    _Alignas(CACHE_LINE_BYTES) uint8_t store[HOLD_BYTES + HOLD_BURST_BYTES]; /* (w) */
};

/* Whether there are frames to be looked at again. */
bool hold_pending(const struct hold *hold);

/* Begins a pass over all of them, because the snapshot is another one. */
void hold_rewind(struct hold *hold, uint64_t generation);

/* Keeps a copy of a frame that was not taken from the hold, or of which the copy is
 * kept by the caller, under 'had': slots that have had it.  False when there is no room
 * below 'limit'. */
bool hold_put(
    struct hold *hold, const struct frame *frame, uint32_t had, uint32_t limit);

/* The frame at '*next', where hold->place.next stands or a call before left it; false
 * at the end of a pass.  Valid until the next hold_put(), which needs place.next to be
 * behind it. */
bool hold_take(
    const struct hold *hold, uint32_t *next, struct frame *frame, uint32_t *had);

/* Makes the place one that can be, whatever a process that died in it left. */
void hold_mend(struct hold *hold);

/* ---- pace.c -----------------------------------------------------------------------
 */

/* 'now_ns' below is of a clock that never goes back and is never 0. */
struct pace {
    uint64_t busy_poll_ns;      /* (w) at most, before it sleeps; 0: not at all */
    uint64_t rings_due_ns;      /* (w) */
    uint64_t silent_from_ns;    /* (w) 0 while frames move */
    uint64_t polled_ns;         /* (w) the last poll; 0 unless it busy-polls */
    uint64_t backoff_until_ns;  /* (w) */
    uint32_t silences_to_sleep; /* (w) from now on, without polling */
    bool short_silence;         /* (w) the last one was */
};

/* Whether the rings have filled for long enough to be looked at. */
bool pace_rings_due(const struct pace *pace, uint64_t now_ns);

/* The rings were looked at; 'burst' is the most frames that one of them held. */
void pace_rings_read(struct pace *pace, uint32_t burst, uint64_t now_ns);

/* An iteration moved nothing: whether to poll again, rather than sleep. */
bool pace_busy_polls(struct pace *pace, uint64_t now_ns);

/* An iteration moved frames. */
void pace_moved(struct pace *pace, uint64_t now_ns);

/* ---- distributor.c ----------------------------------------------------------------
 */

/* Where LAGG_SPREAD_TURN stands.  One for each worker. */
struct turn {
    uint32_t index;  /* (w) into tx_slots; may be past the end after a plan shrank */
    uint32_t used;   /* (w) frames already sent in this turn */
    uint64_t chance; /* (w) the generator's state; any will do */
};

/* Has the turns of worker 'index' draw other numbers than those of its neighbours. */
void turn_seed(struct turn *turn, uint32_t index);

/* The index into plan->tx_slots for one frame.  The table must not be empty; not for
 * LAGG_SPREAD_ALL. */
uint32_t distribute_index(
    const struct lagg_plan *plan, struct turn *turn, uint32_t flow_hash);

/* The slot that stands in at 'index' when the slots in 'dead' cannot send: the entry
 * itself, else the next usable one around the table.  NO_SLOT when there is none. */
uint32_t distribute_stand_in(
    const struct lagg_plan *plan, uint32_t index, uint32_t dead);

/* What went out by each entry of LAGG_SPREAD_FLOW's table, whichever port stood in. One
 * for each worker; apart from the counters below, so not of one burst. */
struct buckets {
    struct {
        _Atomic uint64_t frames; /* (a) one writer: the worker */
        _Atomic uint64_t bytes;  /* (a) one writer: the worker; offload headers, too */
    } entries[LAGG_BUCKETS + 1]; /* the last: of INDEX_NONE, which nobody reads */
};

/* Counts frames order[0 ... count-1], frame f, of sizes[f] bytes with its offload
 * header, under the entry indices[f]. */
void buckets_count(struct buckets *buckets, const uint16_t indices[],
    const uint32_t sizes[], const uint8_t order[], uint32_t count);

/* Adds what is counted so far, without offload headers; for any thread. */
void buckets_sum(const struct buckets *buckets, struct lagg_bucket sums[LAGG_BUCKETS]);

/* ---- counters: one writer each ----------------------------------------------------
 */

/* The members of struct lagg_counters and lagg_port_counters, as one flat array. */
enum counter {
    COUNTER_TX_IN,
    COUNTER_TX_OUT,
    COUNTER_RX_IN,
    COUNTER_RX_OUT,
    PORT_TX_FRAMES = 0,
    PORT_TX_BYTES,
    PORT_RX_FRAMES,
    PORT_RX_BYTES,
    COUNTER_DROPS,
    COUNTERS_COUNT = COUNTER_DROPS + LAGG_DROP_COUNT,
};

static_assert(sizeof(struct lagg_counters) == COUNTERS_COUNT * sizeof(uint64_t),
    "struct lagg_counters is the flat array");
static_assert(sizeof(struct lagg_port_counters) == COUNTERS_COUNT * sizeof(uint64_t),
    "struct lagg_port_counters is the flat array");

/* Published counts: the writer stores with release inside an odd sequence, the reader
 * loads with acquire and tries again when the sequence moved. */
struct counter_bank {
    _Alignas(
        CACHE_LINE_BYTES) _Atomic uint64_t values[COUNTERS_COUNT]; /* (a) one writer */
};

/* All that a worker counted so far.  Nobody else looks until counts_publish(), which
 * copies it: to do so twice changes nothing. */
struct tally {
    uint64_t total[COUNTERS_COUNT];                 /* (w) */
    uint64_t ports[LAGG_PORTS_MAX][COUNTERS_COUNT]; /* (w) since the slot was opened */
};

/* ---- tap.c ------------------------------------------------------------------------
 */

/* Room for one frame, and for a VLAN tag in front of it. */
struct frame_buffer {
    uint8_t reserve[CACHE_LINE_BYTES];
    uint8_t bytes[HEAD_BYTES + REST_BYTES];
};

/* The frame of 'size' bytes, with its offload header, that was read into 'buffer'. */
static inline struct frame
buffer_frame(struct frame_buffer *buffer, uint32_t size)
{
    uint32_t head_bytes = size < HEAD_BYTES ? size : HEAD_BYTES;

    return (struct frame){
        .head = buffer->bytes,
        .head_bytes = head_bytes,
        .rest = buffer->bytes + head_bytes,
        .rest_bytes = size - head_bytes,
    };
}

/* A buffer that holds nothing yet is told from one that a frame was read into by a kind
 * of segments that no frame has. */
enum { GSO_TYPE_AT = 1, GSO_TYPE_NONE_YET = 0xff };

static inline void
buffer_clear(struct frame_buffer *buffer)
{
    buffer->bytes[GSO_TYPE_AT] = GSO_TYPE_NONE_YET;
}

static inline bool
buffer_is_clear(const struct frame_buffer *buffer)
{
    return buffer->bytes[GSO_TYPE_AT] == GSO_TYPE_NONE_YET;
}

/* Opens one queue of the TAP 'name': non-blocking, offloads on, exclusive unless it is
 * a further queue of ours.  Returns the descriptor or -errno. */
int tap_open(const char *name, bool multi_queue, bool first);
int tap_set_carrier(int fd, bool up);

/* What the interface of a queue is called; 'name' has IFNAMSIZ bytes.  0 or -errno. */
int tap_name(int fd, char *name);

/* Reads one frame into 'buffer'.  Its size there, 0 when there is none, or -errno;
 * -EMSGSIZE when it fits no buffer, -EBADFD when the interface is gone. */
int tap_read(int fd, struct frame_buffer *buffer, struct frame *frame);

/* Writes one frame.  0, or -errno: -EIO while the interface is down, -EBADFD when it is
 * gone, -EAGAIN, -ENOBUFS or -ENOMEM when there is no room. */
int tap_write(int fd, const struct frame *frame);

#endif
