/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls that laggd makes, and a filter that refuses all others.
 *
 * Owns the list.  What is refused answers EPERM and is an error like any other; nothing
 * is killed.  Here and not in Python, because only the compiler knows the numbers of
 * each architecture.
 */
#include "lagg.h"

#include "seccomp.h"

#include <linux/bpf.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP /* glibc 2.27 */
#define AF_XDP 44
#endif

#ifdef ARCHITECTURE

static const struct sock_filter FILTER[] = {FILTER_HEAD, THREADS,
    /* Sockets for control, netlink and ports; those of IP are open before. */
    EQUAL(__NR_socket, 0, 7), LOAD(args[0]), EQUAL(AF_UNIX, 4, 0),
    EQUAL(AF_NETLINK, 3, 0), EQUAL(AF_PACKET, 2, 0), EQUAL(AF_XDP, 1, 0),
    REFUSED(EPERM), PERMITTED,
    /* Not: typing into the terminal that laggd was started from. */
    EQUAL(__NR_ioctl, 0, 4), LOAD(args[1]), EQUAL(TIOCSTI, 0, 1), REFUSED(EPERM),
    PERMITTED,
    /* Nothing but the name of a thread. */
    EQUAL(__NR_prctl, 0, 4), LOAD(args[0]), EQUAL(PR_SET_NAME, 0, 1), PERMITTED,
    REFUSED(EPERM),
    /* What programs there are, and nothing else of bpf(2). */
    EQUAL(__NR_bpf, 0, 4), LOAD(args[0]), EQUAL(BPF_PROG_QUERY, 0, 1), PERMITTED,
    REFUSED(EPERM),

    /* The hot path first. */
    ALLOW(readv), ALLOW(writev), ALLOW(sendmmsg), ALLOW(recvmsg), ALLOW(ppoll),
    ALLOW(read), ALLOW(write), ALLOW(sendto), ALLOW(sendmsg), ALLOW(recvfrom),
    ALLOW(recvmmsg), ALLOW(epoll_pwait), ALLOW(epoll_ctl), ALLOW(epoll_create1),
    ALLOW(pselect6), ALLOW(pread64), ALLOW(pwrite64), ALLOW(lseek), ALLOW(eventfd2),
    ALLOW(timerfd_create), ALLOW(timerfd_settime), ALLOW(timerfd_gettime),
    /* Sockets that are there. */
    ALLOW(socketpair), ALLOW(bind), ALLOW(listen), ALLOW(connect), ALLOW(accept4),
    ALLOW(accept), ALLOW(getsockname), ALLOW(getpeername), ALLOW(getsockopt),
    ALLOW(setsockopt), ALLOW(shutdown), ALLOW(fcntl), ALLOW(dup), ALLOW(dup3),
    ALLOW(pipe2), ALLOW(close), ALLOW(close_range),
    /* Files: configuration, state, what Python imports late. */
    ALLOW(openat), ALLOW(newfstatat), ALLOW(fstat), ALLOW(statx), ALLOW(statfs),
    ALLOW(faccessat), ALLOW(faccessat2), ALLOW(readlinkat), ALLOW(getdents64),
    ALLOW(getcwd), ALLOW(flock), ALLOW(fsync), ALLOW(fdatasync), ALLOW(ftruncate),
    ALLOW(fchmod), ALLOW(fchmodat), ALLOW(fchown), ALLOW(fchownat), ALLOW(umask),
    ALLOW(renameat2), ALLOW(unlinkat), ALLOW(mkdirat), ALLOW(memfd_create),
    /* Memory, threads, time, signals. */
    ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise),
    ALLOW(brk), ALLOW(membarrier), ALLOW(futex), ALLOW(set_robust_list),
    ALLOW(get_robust_list), ALLOW(rseq), ALLOW(set_tid_address), ALLOW(exit),
    ALLOW(exit_group), ALLOW(sched_yield), ALLOW(sched_getaffinity),
    ALLOW(sched_setaffinity), ALLOW(capget), ALLOW(capset), ALLOW(rt_sigaction),
    ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(rt_sigtimedwait),
    ALLOW(sigaltstack), ALLOW(tgkill), ALLOW(restart_syscall), ALLOW(nanosleep),
    ALLOW(clock_nanosleep), ALLOW(clock_gettime), ALLOW(clock_getres),
    ALLOW(gettimeofday), ALLOW(getrandom),
    /* Who and where we are. */
    ALLOW(getpid), ALLOW(getppid), ALLOW(gettid), ALLOW(getuid), ALLOW(geteuid),
    ALLOW(getgid), ALLOW(getegid), ALLOW(getgroups), ALLOW(uname), ALLOW(sysinfo),
    ALLOW(getrusage), ALLOW(prlimit64), ALLOW(getcpu),
    /* Whether a forwarder has ended, before another one is given all. */
    ALLOW(pidfd_open), ALLOW(waitid), ALLOW(pidfd_send_signal),
#ifdef __NR_poll /* the older forms, which younger architectures never had */
    ALLOW(poll), ALLOW(select), ALLOW(epoll_wait), ALLOW(stat), ALLOW(lstat),
    ALLOW(access), ALLOW(readlink), ALLOW(rename), ALLOW(unlink), ALLOW(mkdir),
    ALLOW(chmod), ALLOW(dup2), ALLOW(time), ALLOW(arch_prctl),
#else
    ALLOW(renameat),
#endif
    REFUSED(EPERM)};

int
seccomp_install(const struct sock_filter *filter, unsigned short count)
{
    const struct sock_fprog program = {
        .len = count,
        .filter = (struct sock_filter *)filter, /* the kernel only reads it */
    };
    long result;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -errno;
    }
    result = syscall(
        __NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    /* A thread that has another filter, and so cannot have ours, is answered by id. */
    return result > 0 ? -EBUSY : result < 0 ? -errno : 0;
}

int
lagg_seccomp(void)
{
    return seccomp_install(FILTER, sizeof FILTER / sizeof FILTER[0]);
}

#else

int
lagg_seccomp(void)
{
    return -EOPNOTSUPP;
}

#endif
