/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lagg-forwarder is made of: shared by the files of this folder.
 *
 * The forwarder keeps descriptors and carries frames.  It opens nothing, configures
 * nothing and parses nothing but frames; laggd, its one client of many that may write,
 * may die and come back.  One thread, but for the workers.
 *
 * Dependencies point one way:
 *   store, ownership, lease <- carried <- words, forwarder <- serve, confine <-
 *   family <- main
 * From carried on: the datapath of ../device.h.
 */
#ifndef LAGG_FORWARDER_H
#define LAGG_FORWARDER_H

#include "device.h"

#include <pthread.h>

enum {
    CLIENTS_MAX = 16,
    NOBODY = -1, /* in place of a client */
    STORE_INDEX = 2 * LAGG_NAMES_MAX,
};

#define ANSWER_NS_MAX 2000000000u /* for GO or REFUSE, and for COMMIT */
#define LEASE_NS_MAX 10000000000u /* then the partner decides that nobody is there */
#define LEASE_BESIDE_NS                                                                \
    2000000000u                  /* a session's, beside a new owner who is to speak */
#define IDLE_NS_MAX 10000000000u /* nobody there, and nothing to do */
#define NEVER_NS UINT64_MAX

/* From one look at the ports' carriers to the next, while nobody plans by them; and for
 * how long they are looked at beside a new owner, who has to look first himself. */
#define LOOK_NS 100000000u
#define LOOK_ON_NS 2000000000u

/* An owner is heard every 2 s, for he asks whether we live; one that is not stands
 * still, and plans as little as one that is dead. */
#define SILENCE_NS UINT64_C(4000000000)

#define WHY_SILENT "the owner does not answer; end it first"

static_assert(sizeof(struct lagg_request) == 192, "no hole: it crosses as it lies");
static_assert(sizeof(struct lagg_reply) == 24 + 65 * LAGG_NAME_BYTES,
    "no hole: it crosses as it lies");

/* ---- store.c ----------------------------------------------------------------------
 */

struct stored {
    char name[LAGG_NAME_BYTES]; /* zeros behind it */
    int fd;
};

/* Descriptors by name.  All 0 when there is none. */
struct store {
    uint32_t count;
    uint32_t generation;                   /* another after each change */
    struct stored entries[LAGG_NAMES_MAX]; /* [0 ... count), in no order */
    uint16_t index[STORE_INDEX];           /* 1 + entry, by the name's hash; 0: free */
};

/* Whether it can be the name of a descriptor: letters, digits, '/', '.', '-', and
 * zeros up to the end. */
bool store_name_sound(const char name[LAGG_NAME_BYTES]);

/* Takes 'fd', and closes what had the name before.  0, or -ENOSPC: then it is the
 * caller's still. */
int store_put(struct store *store, const char *name, int fd);

/* Closes it.  0 or -ENOENT. */
int store_del(struct store *store, const char *name);

/* The store's own descriptor, or -1. */
int store_get(const struct store *store, const char *name);

/* A duplicate of it, or -1. */
int store_copy(const struct store *store, const char *name);

/* Closes all. */
void store_clear(struct store *store);

/* ---- ownership.c ------------------------------------------------------------------
 */

enum phase {
    PHASE_OWNED,   /* by 'owner', who may be NOBODY */
    PHASE_ASKED,   /* the owner is to answer, and may write until it does */
    PHASE_GRANTED, /* to the newcomer, if it commits; nobody may write */
};

/* Who may change anything: at most one client, at any time. */
struct ownership {
    enum phase phase;
    int owner;            /* a client or NOBODY */
    int newcomer;         /* NOBODY in PHASE_OWNED */
    uint64_t deadline_ns; /* of the phase; NEVER_NS in PHASE_OWNED */
    bool silent; /* the owner left a claim unanswered, and said nothing since */
};

/* What is to be said to a client. */
struct notice {
    int client;
    uint32_t what; /* enum lagg_word */
    int error;
};

enum { NOTICES_MAX = 4 };

struct notices {
    uint32_t count;
    struct notice each[NOTICES_MAX];
};

void ownership_init(struct ownership *ownership);

/* Whether the client may change things now. */
bool ownership_may_write(const struct ownership *ownership, int client);

/* Each adds to '*notices' what follows from it.  'now_ns' is monotonic. */

/* CLAIM's answer is a notice, now or later, but for an error: -EALREADY for the owner,
 * -EBUSY while another claims, -ETIMEDOUT when the owner is known not to answer. */
int ownership_claim(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices);

/* The owner's answers.  0, or -ENOMSG when it was not asked, or too late. */
int ownership_go(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices);
int ownership_refuse(struct ownership *ownership, int client, struct notices *notices);

/* 0, or -ENOMSG when it has no claim that was granted, or not any more. */
int ownership_commit(struct ownership *ownership, int client, struct notices *notices);

/* The client said something. */
void ownership_heard(struct ownership *ownership, int client);

/* The client is gone. */
void ownership_gone(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices);

/* It is 'now_ns'. */
void ownership_tick(
    struct ownership *ownership, uint64_t now_ns, struct notices *notices);

/* ---- lease.c ----------------------------------------------------------------------
 */

/* What was said last by a port, for the time when there is nobody who could say it
 * anew.  Each port has LAGG_LEASES_MAX of them, by number: see LAGG_LEASE. */
struct lease {
    uint32_t bytes_count; /* 0: none */
    uint32_t period_ms;
    uint32_t turn;   /* of the jitter */
    uint64_t due_ns; /* NEVER_NS: somebody speaks himself */
    uint8_t bytes[LAGG_LEASE_BYTES_MAX];
};

/* 0, or -EINVAL: no such number; bytes without a period or more than there can be, or
 * the reverse.  It is not due before leases_begin(). */
int lease_set(struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX],
    const struct lagg_request *request);

/* Nobody speaks since 'now_ns': each is due at once. */
void leases_begin(
    struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX], uint64_t now_ns);

/* Somebody speaks again: for LACP at once, for a session when he orders its lease. */
void leases_yield(struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX]);

/* Whether that of this number is to be sent now; then the next time is set. */
bool lease_due(struct lease *lease, uint32_t number, uint64_t now_ns);

/* When the first of them is due, 'due_ns' at the latest. */
uint64_t leases_due_ns(
    const struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX], uint64_t due_ns);

/* ---- carried.c --------------------------------------------------------------------
 */

struct carried;

/* A thread that is one worker. */
struct worker_thread {
    struct carried *carried;
    uint32_t worker;
    pthread_t id;
};

/* A lagg whose frames this process carries.  All 0 when it does not. */
struct carried {
    struct datapath *datapath; /* NULL: not open */
    struct plans *plans;
    struct work *work;
    struct lagg_device_fds fds; /* its own */
    int alert_fd;               /* its own */
    uint32_t workers_count;
    bool running;
    bool again; /* another process ran it, and may have died in a burst */
    uint32_t busy_poll_us;
    struct worker_thread threads[LAGG_WORKERS_MAX];
    struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX]; /* by slot */
};

/* Each 0 or -errno, and then nothing has changed.  'store' has the descriptors. */

/* -EEXIST; -ENOENT when a descriptor is missing, -EPROTO when one is not what its name
 * says. */
int carried_open(
    struct carried *carried, uint32_t id, bool again, const struct store *store);

/* -EEXIST; -ENOENT, -EPROTO as above, or what lagg_port_adopt() answers. */
int carried_map(struct carried *carried, uint32_t id, uint32_t slot, bool again,
    const struct store *store);

/* Of the set that is not live: the rings come, drained they go.  -EBUSY when they are
 * the live ones, or are there already; -ENOENT. */
int carried_map_rings(struct carried *carried, uint32_t id, uint32_t slot, uint32_t set,
    const struct store *store);
int carried_unmap_rings(struct carried *carried, uint32_t slot, uint32_t set);

/* -EBUSY while a snapshot names it. */
int carried_unmap(struct carried *carried, uint32_t slot);

/* -EBUSY when workers may see those rings, -ENOENT when there are none. */
int carried_drain(struct carried *carried, uint32_t slot, uint32_t set);

/* -EALREADY; -ENOENT when the live plan names a slot that has no port; -EAGAIN when
 * the system has no thread for a worker. */
int carried_run(struct carried *carried, uint32_t busy_poll_us);

/* Returns when its workers have; each ends its burst. */
int carried_stop(struct carried *carried);

/* -EBUSY while it runs. */
int carried_close(struct carried *carried);

/* ---- words.c ------------------------------------------------------------------
 */

/* A reply on its way to a client, and the store's descriptors that go with it. */
struct letter {
    int client;
    struct lagg_reply reply;
    int fds[LAGG_PAGE_NAMES]; /* reply.count of them; not the letter's own */
};

enum { LETTERS_MAX = NOTICES_MAX + 1 };

struct outbox {
    uint32_t count;
    struct letter letters[LETTERS_MAX];
};

/* Everything.  All 0, then forwarder_init(). */
struct forwarder {
    const char *version;
    struct store store;
    struct ownership ownership;
    bool greeted[CLIENTS_MAX]; /* said HELLO, and is understood */
    uint64_t alone_ns;      /* since when there is no owner; NEVER_NS while there is */
    bool spoken_for;        /* an owner is there and may speak; else leases do */
    uint64_t leases_end_ns; /* when none is sent any more; 0: none is now */
    pid_t owner_pid;        /* its process */
    uint64_t heard_ns;      /* when that said something last, by whichever connection */
    uint64_t look_ns;       /* when the ports' carriers are looked at next; NEVER_NS */
    uint64_t trust_ns; /* when they are not any more, for the plan says it; NEVER_NS */
    uint64_t idle_ns;  /* since when nobody is there and nothing carried; NEVER_NS */
    bool leaving;      /* it was asked to end, when its laggs may be let go */
    bool ended;
    uint32_t ids_end; /* none above it is open: to look at all of them takes long */
    struct carried laggs[LAGG_IDS_MAX]; /* by id - 1 */
};

/* What came from a client. */
struct parcel {
    int client;
    pid_t pid; /* of its process */
    const void *bytes;
    size_t bytes_count;
    const int *fds;
    uint32_t fds_count;
};

/* A request that is sound as such, and what is said to it. */
struct call {
    struct forwarder *forwarder;
    int client;
    const struct lagg_request *request;
    int fd; /* -1 unless it takes one */
    uint64_t now_ns;
    struct carried *carried; /* NULL unless it takes a lagg */
    struct letter *answer;
    struct notices notices;
    uint32_t kept;   /* descriptors */
    bool unanswered; /* until later */
};

/* Does what the parcel of this call asks for.  0, or -errno and why. */
int words_act(struct call *call, const struct parcel *parcel);

/* Makes a letter say what is wrong, for people. */
void say_why(struct letter *letter, int error, const char *why);

/* ---- forwarder.c ------------------------------------------------------------------
 */

/* The next lagg that is open, from 'id' on; 0 when there is none. */
uint32_t forwarder_next(const struct forwarder *forwarder, uint32_t id);

/* 'version' stays the caller's.  The clients' numbers are 0 ... CLIENTS_MAX - 1. */
void forwarder_init(struct forwarder *forwarder, const char *version);

/* Does what is asked, or refuses, and puts every answer into '*outbox', which was
 * empty.  Returns how many of the descriptors it kept, 0 or 1; the others stay the
 * caller's. */
uint32_t forwarder_handle(struct forwarder *forwarder, const struct parcel *parcel,
    uint64_t now_ns, struct outbox *outbox);

/* The client is gone; its number may be another's from now on. */
void forwarder_gone(
    struct forwarder *forwarder, int client, uint64_t now_ns, struct outbox *outbox);

/* It is 'now_ns': what is late, the leases that are due, the end if it is time. */
void forwarder_tick(
    struct forwarder *forwarder, uint64_t now_ns, struct outbox *outbox);

/* When forwarder_tick() is to be called next; NEVER_NS. */
uint64_t forwarder_due_ns(const struct forwarder *forwarder);

/* Stops every lagg between two bursts and closes all. */
void forwarder_end(struct forwarder *forwarder);

/* ---- serve.c ----------------------------------------------------------------------
 */

/* Makes the socket 'path', which nobody may have.  The descriptor or -errno. */
int serve_bind(const char *path);

/* Whoever connects to this socket, which is bound, is served by this process or by a
 * child of it.  0 or -errno. */
int serve_listen(int listener);

/* Takes the signals.  Once in a process, before confine().  0 or -errno. */
int serve_begin(struct forwarder *forwarder);

/* Serves whoever connects until the forwarder has ended. */
void serve(void);

/* ---- confine.c --------------------------------------------------------------------
 */

/* No capability, no way to one, no system call but those the forwarder makes: of this
 * process and for good.  What is refused answers EPERM.  0 or -errno. */
int confine(void);

/* The same for its parent, whose children have no more than it has: those calls, and
 * what makes a child that waits, confines itself and serves. */
int confine_parent(void);

/* ---- family.c ---------------------------------------------------------------------
 */

/* Exit codes. */
enum { DONE = 0, FAILED = 1, USAGE = 2 };

/* Has children serve() until one has done, or until five in a row were there for less
 * than a second each.  After serve_listen().  The exit code. */
int family_run(struct forwarder *forwarder);

#endif
