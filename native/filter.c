/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel lets into a packet socket: a classic BPF program, made of parts.
 *
 * Owns the programs.  A socket's program is replaced in one step, while frames come.
 */
#include "port.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#ifndef ETH_P_SLOW
#define ETH_P_SLOW 0x8809
#endif

enum {
    MAC_HEAD_BYTES = 4, /* a load has 1, 2 or 4 */
    STEPS_MAX = 16 + 5 * LAGG_KEPT_OUT_MAX
};

struct program {
    uint16_t count;
    struct sock_filter steps[STEPS_MAX];
};

static int
filter_set(int fd, struct sock_filter *steps, uint16_t count)
{
    struct sock_fprog program = {.len = count, .filter = steps};
    int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);

    return result == 0 ? 0 : -errno;
}

int
filter_shut(int fd)
{
    struct sock_filter steps[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

    return filter_set(fd, steps, 1);
}

int
filter_remove(int fd)
{
    int unused = 0;
    int result = setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);

    return result == 0 || errno == ENOENT ? 0 : -errno;
}

/* ---- parts: each ends with a return, or goes on behind itself ---------------------
 */

#define APPEND(program, part) append((program), (part), sizeof(part) / sizeof *(part))

static void
append(struct program *program, const struct sock_filter *part, size_t count)
{
    assert(program->count + count <= STEPS_MAX);
    memcpy(&program->steps[program->count], part, count * sizeof *part);
    program->count = (uint16_t)(program->count + count);
}

static void
refuse_outgoing(struct program *program)
{
    const struct sock_filter part[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };

    APPEND(program, part);
}

static void
refuse_lacp(struct program *program)
{
    enum { SUBTYPE_LACP = 1, SUBTYPE_MARKER = 2 };
    const struct sock_filter part[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct ethhdr, h_proto)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_SLOW, 0, 6),
        BPF_STMT(
            BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
        /* Too short for a subtype: the load itself drops the frame, as lagg(4) does. */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, sizeof(struct ethhdr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SUBTYPE_LACP, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SUBTYPE_MARKER, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };

    APPEND(program, part);
}

static void
refuse_mac(struct program *program, const uint8_t mac[ETH_ALEN])
{
    uint32_t head = (uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 |
                    (uint32_t)mac[2] << 8 | mac[3];
    uint32_t tail = (uint32_t)mac[4] << 8 | mac[5];
    const struct sock_filter part[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, head, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, MAC_HEAD_BYTES),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, tail, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };

    APPEND(program, part);
}

int
filter_admit(int fd, const struct admission *admission)
{
    const struct sock_filter end[] = {BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)};
    struct program program = {.count = 0};

    if (admission->shared) {
        refuse_outgoing(&program);
    }
    if (!admission->lacp) {
        refuse_lacp(&program);
    }
    for (uint32_t i = 0; i < admission->kept_out.count; i++) {
        refuse_mac(&program, admission->kept_out.macs[i]);
    }
    if (program.count == 0) {
        return filter_remove(fd);
    }
    APPEND(&program, end);
    return filter_set(fd, program.steps, program.count);
}
