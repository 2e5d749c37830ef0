/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a list of system calls becomes a filter: shared by seccomp.c and the forwarder's
 * confine.c, which own a list each.
 */
#ifndef LAGG_SECCOMP_H
#define LAGG_SECCOMP_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

/* All of these are little endian: the lower half of an argument comes first. */
#define LOAD(member)                                                                   \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
#define PERMITTED ANSWER(SECCOMP_RET_ALLOW)
#define REFUSED(error) ANSWER(SECCOMP_RET_ERRNO | (error))
#define ALLOW(call) EQUAL(__NR_##call, 0, 1), PERMITTED

/* Names a system call of another architecture's table on x86-64; no other has it. */
#define X32_BIT 0x40000000

/* How every filter begins: no call of another architecture.  clone3() hides its flags;
 * without it libc uses clone(). */
#define FILTER_HEAD                                                                    \
    LOAD(arch), EQUAL(ARCHITECTURE, 1, 0), REFUSED(EPERM), LOAD(nr),                   \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1), REFUSED(EPERM),           \
        EQUAL(__NR_clone3, 0, 1), REFUSED(ENOSYS)

/* Threads but no processes. */
#define THREADS                                                                        \
    EQUAL(__NR_clone, 0, 4), LOAD(args[0]),                                            \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1), PERMITTED,           \
        REFUSED(EPERM)

/* Threads, and processes as fork(3) makes them: in the namespaces that we are in. */
#define THREADS_AND_FORKS                                                              \
    EQUAL(__NR_clone, 0, 6), LOAD(args[0]),                                            \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 3, 0),                      \
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K,                                            \
            ~(uint32_t)(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)),                   \
        EQUAL(SIGCHLD, 1, 0), REFUSED(EPERM), PERMITTED

/* Has all threads of this process pass 'count' instructions, for good.  0, or -errno as
 * lagg_seccomp(). */
int seccomp_install(const struct sock_filter *filter, unsigned short count);

#endif
