/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lagg4_list.c, lagg4_protocol.c and lagg4_table.c render, for CBMC.  One of LIST,
 * REVIEWED, PROTOCOL and TABLE says which.
 */
#include "cbmc.h"

#if defined LIST || defined REVIEWED
#ifdef LIST
enum { ORDER_LOAD = relaxed, ORDER_STORE = relaxed };
#else
enum { ORDER_LOAD = acquire, ORDER_STORE = release };
#endif

int count = 2;
bool listed[2] = {true, true};

static void
worker(void)
{
    int ports;
    unsigned sequence;

    LOAD(ports, count, ORDER_LOAD);
    if (ports != 0) {
#ifdef LIST
        LOAD(ports, count, ORDER_LOAD); /* again, to divide by it */
#endif
        assert(listed[sequence % (unsigned)ports]);
    }
}

static void
control(void)
{
    for (int last = 1; last >= 0; last--) {
        STORE(listed[last], false, ORDER_STORE);
        STORE(count, last, ORDER_STORE);
    }
}
#endif

#ifdef PROTOCOL
int protocol = 1; /* 0 is none */
int state = 1;    /* whose it is; 0 once freed */

static void
worker(void)
{
    int mine;

    LOAD(mine, protocol, acquire);
    assert(mine == 0 || state == mine);
}

static void
control(void)
{
    STORE(protocol, 0, release);
    STORE(state, 0, release);
    STORE(state, 2, release);
    STORE(protocol, 2, release);
}
#endif

#ifdef TABLE
int count = 2;
bool table[2] = {true, true}; /* whether there is a port in it */

static void
worker(void)
{
    int ports;

    LOAD(ports, count, acquire);
    assert(ports == 0 || table[7u % (unsigned)ports]);
}

static void
control(void)
{
    STORE(count, 1, release);
    STORE(table[0], false, release);
    STORE(table[1], false, release);
    STORE(table[0], true, release);
}
#endif

int
main(void)
{
__CPROVER_ASYNC_1:
    worker();
__CPROVER_ASYNC_2:
    control();
    return 0;
}
