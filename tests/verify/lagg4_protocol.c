/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Protocol switching: the protocol stands beside its private state, which is freed at
 * once.  Our rendering of FreeBSD's PR 289017, not its code.
 */
#include "rendering.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

enum protocol { PROTOCOL_NONE, LOADBALANCE, LACP };

static const char *const names[] = {"none", "loadbalance", "lacp"};

struct state {
    enum protocol belongs_to;
};

static enum protocol protocol;
static struct state *state;
static _Atomic uint64_t frames;

static void
state_attach(enum protocol to)
{
    struct state *fresh = malloc(sizeof *fresh);

    if (fresh == NULL) {
        abort();
    }
    fresh->belongs_to = to;
    state = fresh;
    step("allocates the private state of %s", names[to]);
    protocol = to;
    step("sets the protocol: %s", names[to]);
}

static void
state_detach(void)
{
    struct state *old = state;

    protocol = PROTOCOL_NONE;
    step("sets the protocol: none");
    state = NULL;
    free(old);
    step("frees the old private state at once");
}

void
world_begin(void)
{
    state_attach(LOADBALANCE);
}

void
world_end(void)
{
    free(state);
    state = NULL;
}

uint64_t
worker_frame(uint32_t reader)
{
    enum protocol seen = protocol;
    const struct state *private;

    (void)reader;
    step("reads the protocol: %s", names[seen]);
    if (seen != PROTOCOL_NONE) {
        private = state;
        step("takes the pointer to its private state");
        if (private->belongs_to != seen) {
            fault("one protocol's code runs on another protocol's state");
        }
        frame_sent(1);
    }
    return ++frames;
}

void
control_change(void)
{
    state_detach();
    state_attach(LACP);
    state_detach();
    state_attach(LOADBALANCE);
}
