/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel lets into a packet socket: a classic BPF program for each kind.
 *
 * Owns the programs.  A socket's program is replaced in one step, while frames come.
 */
#include "port.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef ETH_P_SLOW
#define ETH_P_SLOW 0x8809
#endif

#define STEPS(program) (program), sizeof(program) / sizeof *(program)

static int
filter_set(int fd, struct sock_filter *steps, size_t count)
{
    struct sock_fprog program = {.len = (uint16_t)count, .filter = steps};
    int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);

    return result == 0 ? 0 : -errno;
}

int
filter_shut(int fd)
{
    struct sock_filter steps[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

    return filter_set(fd, STEPS(steps));
}

int
filter_remove(int fd)
{
    int unused = 0;
    int result = setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);

    return result == 0 || errno == ENOENT ? 0 : -errno;
}

int
filter_admit(int fd)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };

    return filter_set(fd, STEPS(steps));
}

int
filter_admit_without_lacp(int fd)
{
    enum { SUBTYPE_LACP = 1, SUBTYPE_MARKER = 2 };
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct ethhdr, h_proto)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_SLOW, 0, 5),
        BPF_STMT(
            BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        /* Too short for a subtype: the load itself drops the frame, as lagg(4) does. */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, sizeof(struct ethhdr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SUBTYPE_LACP, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SUBTYPE_MARKER, 2, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };

    return filter_set(fd, STEPS(steps));
}
