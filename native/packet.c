/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packet sockets: how one is made, and how frames leave by it.
 *
 * Owns the call that sends: sendmmsg with offload headers, 2 times faster than
 * PACKET_TX_RING.  Knows no plan, no protocol and no port.
 */
#define _GNU_SOURCE /* sendmmsg */
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

enum {
    SOCKET_BUFFER_BYTES = 8 << 20, /* large frames wait here, not in the ring */
};

int
packet_set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/* Protocol 0, so no other interface's frame slips in. */
int
packet_open(int *fd)
{
    *fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *fd < 0 ? -errno : packet_set(*fd, PACKET_VNET_HDR, 1);
}

int
packet_bind(int fd, int ifindex, int protocol)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons((uint16_t)protocol),
        .sll_ifindex = ifindex,
    };

    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

int
packet_ifindex(int fd)
{
    struct sockaddr_ll address = {0};
    socklen_t size = sizeof address;
    bool is_packet = getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
                     address.sll_family == AF_PACKET;

    return is_packet ? address.sll_ifindex : PACKET_NONE;
}

bool
packet_is_of(int fd, int ifindex)
{
    int bound = packet_ifindex(fd);

    return bound != PACKET_NONE && (bound == ifindex || bound == PACKET_GONE);
}

void
packet_set_buffer(int fd, int forced, int limited)
{
    int size = SOCKET_BUFFER_BYTES;

    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, limited, &size, sizeof size);
    }
}

int
packet_bind_sender(int fd, int ifindex)
{
    const int mark = LAGG_MARK;

    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) {
        return -errno;
    }
    packet_set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    return packet_bind(fd, ifindex, 0);
}

static_assert(sizeof(struct message) == sizeof(struct mmsghdr) &&
                  offsetof(struct message, length) == offsetof(struct mmsghdr, msg_len),
    "a message is what sendmmsg(2) takes");

static void
message_fill(struct message *message, struct iovec parts[2], const struct frame *frame)
{
    parts[0] = (struct iovec){.iov_base = frame->head, .iov_len = frame->head_bytes};
    parts[1] = (struct iovec){.iov_base = frame->rest, .iov_len = frame->rest_bytes};
    *message = (struct message){
        .header = {.msg_iov = parts, .msg_iovlen = frame->rest_bytes > 0 ? 2 : 1},
    };
}

int
packet_send(int fd, const struct shipment *shipment, uint32_t tries)
{
    struct queue *queue = shipment->queue;
    struct message *messages = shipment->call->messages;
    struct iovec parts[BURST_MAX][2];
    const uint32_t from = queue->done, count = queue->count;

    /* From the first on: none of the call before is taken for one of this. */
    for (uint32_t i = from; i < count; i++) {
        message_fill(
            &messages[i - from], parts[i - from], &shipment->frames[queue->order[i]]);
    }
    call_begin(shipment, CALL_MESSAGES, 0);
    while (queue->done < count) {
        const uint32_t done = queue->done;
        struct mmsghdr *left = (struct mmsghdr *)(void *)(messages + (done - from));
        int taken = sendmmsg(fd, left, count - done, MSG_DONTWAIT);

        if (taken > 0) {
            queue->done = done + (uint32_t)taken;
            continue;
        }
        if (!error_is_full(-errno) || --tries == 0) {
            return -errno;
        }
    }
    return 0;
}

uint32_t
packet_sent(const struct sending *call)
{
    uint32_t sent = 0;

    while (sent < BURST_MAX && call->messages[sent].length != 0) {
        sent++;
    }
    return sent;
}
