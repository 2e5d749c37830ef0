/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF programs at the egress of an interface that stand in no queueing discipline: tcx,
 * Linux 6.6.
 *
 * Owns the one question that laggd asks of bpf(2).  No netlink request tells of them,
 * and only the compiler knows the system call's number on each architecture.
 */
#include "lagg.h"

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TCX_EGRESS = 47 }; /* BPF_TCX_EGRESS, which older headers lack */

int
lagg_tcx_egress(uint32_t ifindex)
{
    union bpf_attr query = {.query = {.target_fd = ifindex, .attach_type = TCX_EGRESS}};

    if (syscall(__NR_bpf, BPF_PROG_QUERY, &query, sizeof query) != 0) {
        return -errno;
    }
    return (int)query.query.prog_cnt;
}
