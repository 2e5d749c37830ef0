/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TAP: how frames enter and leave the host's side of a lagg.
 *
 * Owns tun(4)'s ioctls and the two calls per frame.  One read(2) or write(2) moves a
 * frame of up to 64 KiB with its offload header, so GSO frames cross whole (measured:
 * IFF_NAPI and io_uring gain nothing).  Knows no port and no plan.
 */
#define _GNU_SOURCE /* syscall */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Since Linux 6.2; older headers lack them and older kernels refuse them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int
tap_set_offloads(int fd)
{
    unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

    if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) == 0) {
        return 0;
    }
    return ioctl(fd, TUNSETOFFLOAD, base) == 0 ? 0 : -errno;
}

/* The random MAC that the kernel gave it becomes one that somebody has set, which udev
 * leaves alone: its MACAddressPolicy= changes a random one (addr_assign_type), and that
 * would look as if the user had done it. */
static int
tap_keep_mac(int fd)
{
    struct ifreq request = {0};

    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) {
        return -errno;
    }
    return ioctl(fd, SIOCSIFHWADDR, &request) == 0 ? 0 : -errno;
}

static int
tap_attach(int fd, const char *name, bool multi_queue, bool first)
{
    struct ifreq request = {0};
    int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    int error = 0;

    if (multi_queue) {
        flags |= IFF_MULTI_QUEUE;
    }
    if (first) {
        /* Or an existing TAP of that name would be taken over. */
        flags |= IFF_TUN_EXCL;
    }
    request.ifr_flags = (short)flags;
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
        return -errno;
    }
    if (first) {
        /* Before all else: udev is about to look. */
        error = tap_keep_mac(fd);
    }
    return error != 0 ? error : tap_set_offloads(fd);
}

int
tap_open(const char *name, bool multi_queue, bool first)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int error;

    if (fd < 0) {
        return -errno;
    }
    error = tap_attach(fd, name, multi_queue, first);
    if (error != 0) {
        close(fd);
        return error;
    }
    return fd;
}

int
tap_set_carrier(int fd, bool up)
{
    int carrier = up;

    return ioctl(fd, TUNSETCARRIER, &carrier) == 0 ? 0 : -errno;
}

int
tap_name(int fd, char *name)
{
    struct ifreq request = {0};

    if (ioctl(fd, TUNGETIFF, &request) != 0) {
        return -errno;
    }
    memcpy(name, request.ifr_name, IFNAMSIZ);
    return 0;
}

/* read(2) and write(2) of the C library are cancellation points, of which a thread that
 * nobody cancels has nothing; they cost a short frame some hundredths of its way. */
int
tap_read(int fd, struct frame_buffer *buffer, struct frame *frame)
{
    ssize_t size = syscall(SYS_read, fd, buffer->bytes, sizeof buffer->bytes);

    if (size < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    /* tun(4) cuts a frame off without a word: a buffer full to the last byte may lack
     * some.  No frame that it sends today is that long. */
    if (size == sizeof buffer->bytes) {
        return -EMSGSIZE;
    }
    *frame = buffer_frame(buffer, (uint32_t)size);
    return (int)size;
}

int
tap_write(int fd, const struct frame *frame)
{
    struct iovec parts[2] = {
        {.iov_base = frame->head, .iov_len = frame->head_bytes},
        {.iov_base = frame->rest, .iov_len = frame->rest_bytes},
    };
    /* A vector costs a short frame a few hundredths of its way, too. */
    ssize_t size = frame->rest_bytes > 0
                       ? writev(fd, parts, 2)
                       : syscall(SYS_write, fd, frame->head, frame->head_bytes);

    return size < 0 ? -errno : 0;
}
