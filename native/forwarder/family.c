/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder's family: a parent, the child that serves, and a standby beside it.
 *
 * Owns who serves.  All have one listener, and a client waits in its queue while one
 * takes another's place; so after any death of the child that serves the standby is
 * there at once, and needs no memory, no program and no right that it does not have
 * already.  The parent reads no frame and no message, so there is nothing by which it
 * could be made to fail; if it is killed, the child that serves goes on by itself.
 */
#define _GNU_SOURCE /* pipe2, sigwaitinfo */
#include "forwarder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EARLY_ENDS_MAX = 5 };

#define EARLY_NS 1000000000u /* it cannot have done much by then */

static const int AWAITED[] = {SIGCHLD, SIGTERM, SIGINT};

struct child {
    pid_t pid; /* 0: none */
    uint64_t since_ns;
};

static struct family {
    struct forwarder *forwarder;
    struct child serving, standby;
    int word; /* a byte on it has the standby serve, its end the standby end */
    uint32_t early_ends; /* in a row */
    bool leaving;        /* it was asked to end */
} family;

/* ---- a child ----------------------------------------------------------------------
 */

/* Returns when it is this child's turn; the process ends when the parent has. */
static void
await_turn(int word)
{
    char byte;
    ssize_t got;

    do {
        got = read(word, &byte, sizeof byte);
    } while (got < 0 && errno == EINTR);
    close(word);
    if (got != sizeof byte) {
        _exit(DONE);
    }
}

/* It has confined itself before it waits: what comes then is only to serve. */
_Noreturn static void
child_run(int word)
{
    int error;

    if ((error = serve_begin(family.forwarder)) != 0 || (error = confine()) != 0) {
        fprintf(
            stderr, "lagg-forwarder: cannot confine itself: %s\n", strerror(-error));
        exit(FAILED);
    }
    await_turn(word);
    serve();
    exit(DONE);
}

/* ---- the parent -------------------------------------------------------------------
 */

static void
standby_make(void)
{
    int word[2];
    pid_t pid;

    if (pipe2(word, O_CLOEXEC) != 0) {
        fprintf(stderr, "lagg-forwarder: no standby: %s\n", strerror(errno));
        return;
    }
    pid = fork();
    if (pid == 0) {
        close(word[1]);
        child_run(word[0]);
    }
    close(word[0]);
    if (pid < 0) {
        fprintf(stderr, "lagg-forwarder: no standby: %s\n", strerror(errno));
        close(word[1]);
        return;
    }
    family.standby = (struct child){.pid = pid, .since_ns = clock_ns()};
    family.word = word[1];
}

static void
standby_forget(void)
{
    close(family.word);
    family.standby.pid = 0;
}

/* If it has died by now, it ends as one that serves does.  It may have been stopped
 * with the one before. */
static void
standby_serve(void)
{
    const char now = 1;
    ssize_t written = write(family.word, &now, sizeof now);

    (void)written;
    kill(family.standby.pid, SIGCONT);
    family.serving = (struct child){.pid = family.standby.pid, .since_ns = clock_ns()};
    standby_forget();
}

/* One serves and one waits, if the machine and their own ends allow it.  Whether one
 * serves. */
static bool
complete(void)
{
    bool gives_up = family.early_ends >= EARLY_ENDS_MAX;

    if (family.serving.pid == 0 && !gives_up) {
        if (family.standby.pid == 0) {
            standby_make();
        }
        if (family.standby.pid != 0) {
            standby_serve();
        }
    }
    if (family.serving.pid != 0 && family.standby.pid == 0 && !gives_up) {
        standby_make();
    }
    return family.serving.pid != 0;
}

static void
say_end(const char *who, const siginfo_t *end)
{
    fprintf(stderr, "lagg-forwarder: %s (pid %d) %s %d\n", who, (int)end->si_pid,
        end->si_code == CLD_EXITED ? "ended with exit code" : "was killed by signal",
        end->si_status);
}

static void
count_end(const struct child *child)
{
    bool early = clock_ns() - child->since_ns < EARLY_NS;

    family.early_ends = early ? family.early_ends + 1 : 0;
    if (family.early_ends == EARLY_ENDS_MAX) {
        fprintf(stderr,
            "lagg-forwarder: %d processes in a row ended within 1 s; makes no more\n",
            EARLY_ENDS_MAX);
    }
}

/* What one end means.  Whether the family goes on; if not, its exit code. */
static bool
goes_on(const siginfo_t *end, int *code)
{
    bool done = end->si_code == CLD_EXITED && end->si_status == DONE;

    if (end->si_pid == family.standby.pid) {
        say_end("the standby", end);
        count_end(&family.standby);
        standby_forget();
    } else if (end->si_pid == family.serving.pid) {
        *code = done ? DONE : FAILED;
        if (done || family.leaving) {
            return false;
        }
        say_end("the process that served", end);
        count_end(&family.serving);
        family.serving.pid = 0;
    }
    return complete();
}

/* All children that have ended by now. */
static bool
reap(int *code)
{
    siginfo_t end = {0};
    bool going_on = true;

    while (
        going_on && waitid(P_ALL, 0, &end, WEXITED | WNOHANG) == 0 && end.si_pid != 0) {
        going_on = goes_on(&end, code);
        end.si_pid = 0;
    }
    return going_on;
}

/* Whoever asks the parent asks the child that serves, which knows when it may end. */
static void
pass_on(int number)
{
    if (number == SIGTERM || number == SIGINT) {
        family.leaving = true;
        kill(family.serving.pid, SIGTERM);
    }
}

static void
standby_end(void)
{
    if (family.standby.pid != 0) {
        kill(family.standby.pid, SIGKILL); /* also if it is stopped */
        waitid(P_PID, (id_t)family.standby.pid, &(siginfo_t){0}, WEXITED);
    }
}

static int
signals_block(sigset_t *awaited)
{
    sigemptyset(awaited);
    for (uint32_t i = 0; i < sizeof AWAITED / sizeof AWAITED[0]; i++) {
        sigaddset(awaited, AWAITED[i]);
    }
    /* Ignored, as whoever started us may have had it, it would tell of no end. */
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -errno;
    }
    return sigprocmask(SIG_BLOCK, awaited, NULL) == 0 ? 0 : -errno;
}

int
family_run(struct forwarder *forwarder)
{
    sigset_t awaited;
    int error, code = FAILED;

    family.forwarder = forwarder;
    if ((error = signals_block(&awaited)) != 0 || (error = confine_parent()) != 0) {
        fprintf(
            stderr, "lagg-forwarder: cannot confine itself: %s\n", strerror(-error));
        return FAILED;
    }
    for (bool going_on = complete(); going_on; going_on = reap(&code)) {
        pass_on(sigwaitinfo(&awaited, NULL));
    }
    standby_end();
    return code;
}
