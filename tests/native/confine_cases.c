/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the confined forwarder may still do: its own work, and no file, socket, program
 * or other process.  Each call is tried by a child of its own, for confine() is for
 * good.
 */
#define _GNU_SOURCE /* syscall */
#include "forwarder.h"

#include "check.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PERMITTED = 0, REFUSED = 1, OTHER = 2 };

/* Each answers as the system call does. */

static long
try_openat(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static long
try_memfd(void)
{
    return syscall(SYS_memfd_create, "m", 0u);
}

static long
try_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long
try_packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long
try_bind(void)
{
    return bind(0, NULL, 0);
}

static long
try_connect(void)
{
    return connect(0, NULL, 0);
}

static long
try_listen(void)
{
    return listen(0, 1);
}

static long
try_execve(void)
{
    char *words[] = {(char *)"true", NULL};

    return execve("/bin/true", words, words + 1);
}

static long
try_process(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static long
try_namespace(void)
{
    return syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL);
}

static long
try_kill(void)
{
    return kill(getppid(), 0);
}

static long
try_ptrace(void)
{
    return syscall(SYS_ptrace, 0, 0, 0, 0);
}

static long
try_prctl(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long
try_setuid(void)
{
    return setuid(getuid());
}

static long
try_unlink(void)
{
    return unlink("/nowhere");
}

static long
try_seccomp(void)
{
    return syscall(SYS_seccomp, 0, 0, NULL);
}

static long
try_write(void)
{
    return write(STDOUT_FILENO, "", 0);
}

static long
try_mmap(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? -1 : munmap(memory, 4096);
}

static long
try_dup(void)
{
    return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
}

static const struct attempt {
    const char *name;
    long (*act)(void);
    int served;   /* what becomes of it in the process that serves */
    int parented; /* and in its parent */
} ATTEMPTS[] = {
    {"openat", try_openat, REFUSED, REFUSED},
    {"memfd_create", try_memfd, REFUSED, REFUSED},
    {"socket", try_socket, REFUSED, REFUSED},
    {"packet socket", try_packet_socket, REFUSED, REFUSED},
    {"bind", try_bind, REFUSED, REFUSED},
    {"connect", try_connect, REFUSED, REFUSED},
    {"listen", try_listen, REFUSED, REFUSED},
    {"execve", try_execve, REFUSED, REFUSED},
    {"clone of a process", try_process, REFUSED, PERMITTED},
    {"clone into a namespace", try_namespace, REFUSED, REFUSED},
    {"kill", try_kill, REFUSED, PERMITTED},
    {"ptrace", try_ptrace, REFUSED, REFUSED},
    {"prctl", try_prctl, REFUSED, REFUSED},
    {"setuid", try_setuid, REFUSED, REFUSED},
    {"unlink", try_unlink, REFUSED, REFUSED},
    {"write", try_write, PERMITTED, PERMITTED},
    {"mmap", try_mmap, PERMITTED, PERMITTED},
    {"fcntl", try_dup, PERMITTED, PERMITTED},
};

/* What came of it in a child, which may have confined itself before. */
static int
outcome(long (*act)(void), int (*confined)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        if (confined != NULL && confined() != 0) {
            _exit(OTHER);
        }
        _exit(act() >= 0 ? PERMITTED : errno == EPERM ? REFUSED : OTHER);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : OTHER;
}

/* As a child of the parent does it: no filter takes back what another refused. */
static int
confine_both(void)
{
    int error = confine_parent();

    return error != 0 ? error : confine();
}

int
main(void)
{
    for (uint32_t i = 0; i < sizeof ATTEMPTS / sizeof ATTEMPTS[0]; i++) {
        check_about(ATTEMPTS[i].name, i);
        CHECK(outcome(ATTEMPTS[i].act, confine) == ATTEMPTS[i].served);
        CHECK(outcome(ATTEMPTS[i].act, confine_both) == ATTEMPTS[i].served);
        CHECK(outcome(ATTEMPTS[i].act, confine_parent) == ATTEMPTS[i].parented);
    }
    check_about("a filter", 0);
    CHECK(outcome(try_seccomp, confine) == REFUSED);
    check_about("unconfined", 0);
    CHECK(outcome(try_openat, NULL) == PERMITTED);
    CHECK(outcome(try_socket, NULL) == PERMITTED);
    return check_report();
}
