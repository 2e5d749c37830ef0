/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the forwarder gives up: every capability, and all system calls but a few.
 *
 * Owns the lists.  It parses foreign frames, so it may neither open a file, make a
 * socket, start a program nor look at another process; what it works with, laggd opens.
 * Its parent, which parses nothing, may make it and await its end, and has its calls
 * beside: a filter holds for children, too.
 */
#define _GNU_SOURCE /* syscall */
#include "forwarder.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
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

#ifdef __NR_poll
#define OLDER ALLOW(poll), /* the older form, which younger architectures never had */
#else
#define OLDER
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZERS ALLOW(sigaltstack), ALLOW(prlimit64), ALLOW(sched_getaffinity),
#else
#define SANITIZERS
#endif

/* The hot path first.  Then ports that come and go, and what is asked of them; clients;
 * workers that begin and end; the end, by an assertion, too. */
#define SERVING                                                                        \
    ALLOW(readv), ALLOW(writev), ALLOW(sendmmsg), ALLOW(sendto), ALLOW(recvmsg),       \
        ALLOW(recvfrom), ALLOW(ppoll), ALLOW(read), ALLOW(write), ALLOW(ioctl),        \
        ALLOW(sched_yield), ALLOW(clock_gettime),                                      \
                                                                                       \
        ALLOW(getsockname), ALLOW(getsockopt), ALLOW(setsockopt), ALLOW(fcntl),        \
        ALLOW(fstat), ALLOW(newfstatat), ALLOW(mmap), ALLOW(munmap), ALLOW(brk),       \
        ALLOW(close),                                                                  \
                                                                                       \
        ALLOW(accept4), ALLOW(sendmsg), ALLOW(geteuid),                                \
                                                                                       \
        ALLOW(mprotect), ALLOW(madvise), ALLOW(futex), ALLOW(set_robust_list),         \
        ALLOW(rseq), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(exit),          \
                                                                                       \
        OLDER SANITIZERS ALLOW(exit_group), ALLOW(getpid), ALLOW(gettid),              \
        ALLOW(tgkill)

static const struct sock_filter FILTER[] = {
    FILTER_HEAD, THREADS, SERVING, REFUSED(EPERM)};

static const struct sock_filter PARENT[] = {FILTER_HEAD, THREADS_AND_FORKS, SERVING,
    /* A child is made, and its end awaited. */
    ALLOW(pipe2), ALLOW(rt_sigtimedwait), ALLOW(waitid), ALLOW(kill),
    /* What the child does before it has a filter of its own. */
    ALLOW(rt_sigaction), ALLOW(capset), ALLOW(seccomp), EQUAL(__NR_prctl, 0, 3),
    LOAD(args[0]), EQUAL(PR_SET_NO_NEW_PRIVS, 0, 1), PERMITTED, REFUSED(EPERM)};

static int
restrict_to(const struct sock_filter *filter, size_t count)
{
    int error = drop_capabilities();

    return error != 0 ? error : seccomp_install(filter, (unsigned short)count);
}

int
confine(void)
{
    return restrict_to(FILTER, sizeof FILTER / sizeof FILTER[0]);
}

int
confine_parent(void)
{
    return restrict_to(PARENT, sizeof PARENT / sizeof PARENT[0]);
}

#else

int
confine(void)
{
    return drop_capabilities(); /* the calls' numbers are not known */
}

int
confine_parent(void)
{
    return drop_capabilities();
}

#endif
