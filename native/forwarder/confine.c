/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the forwarder gives up: every capability, and all system calls but a few.
 *
 * Owns the list.  It parses foreign frames, so it may neither open a file, make a
 * socket, start a program nor look at another process; what it works with, laggd opens.
 */
#define _GNU_SOURCE /* syscall */
#include "forwarder.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp.h"

static int
drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_capset, &header, none) != 0) {
        return -errno;
    }
    return 0;
}

#ifdef ARCHITECTURE

static const struct sock_filter FILTER[] = {FILTER_HEAD,
    /* The hot path first. */
    ALLOW(readv), ALLOW(writev), ALLOW(sendmmsg), ALLOW(sendto), ALLOW(recvmsg),
    ALLOW(recvfrom), ALLOW(ppoll), ALLOW(read), ALLOW(write), ALLOW(ioctl),
    ALLOW(sched_yield), ALLOW(clock_gettime),
    /* Ports that come and go, and what is asked of them. */
    ALLOW(getsockname), ALLOW(getsockopt), ALLOW(setsockopt), ALLOW(fcntl),
    ALLOW(fstat), ALLOW(newfstatat), ALLOW(mmap), ALLOW(munmap), ALLOW(brk),
    ALLOW(close),
    /* Clients. */
    ALLOW(accept4), ALLOW(sendmsg), ALLOW(geteuid),
    /* Workers that begin and end. */
    ALLOW(mprotect), ALLOW(madvise), ALLOW(futex), ALLOW(set_robust_list), ALLOW(rseq),
    ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(exit),
    /* The end; by an assertion, too. */
    ALLOW(exit_group), ALLOW(getpid), ALLOW(gettid), ALLOW(tgkill),
#ifdef __NR_poll
    ALLOW(poll), /* the older form, which younger architectures never had */
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    ALLOW(sigaltstack), ALLOW(prlimit64), ALLOW(sched_getaffinity), /* their own */
#endif
    REFUSED(EPERM)};

int
confine(void)
{
    int error = drop_capabilities();

    return error != 0 ? error
                      : seccomp_install(FILTER, sizeof FILTER / sizeof FILTER[0]);
}

#else

int
confine(void)
{
    return drop_capabilities(); /* the calls' numbers are not known */
}

#endif
