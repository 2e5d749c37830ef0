/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lagg-forwarder: keeps a lagg's descriptors and carries its frames, whoever decides.
 *
 * lagg-forwarder SOCKET      makes the socket, mode 0600
 * LISTEN_FDS=1 lagg-forwarder     has it as descriptor 3, as systemd's socket units
 *                                 and laggd do it; LISTEN_PID, if given, is its own
 * lagg-forwarder --version        its version, and the hash of the memories' layout
 *
 * It ends when its owner says END, and otherwise only by a signal: SIGTERM and SIGINT
 * are heard while it carries no lagg.  Exit: 0 done, 1 failed, 2 usage.
 */
#include "forwarder.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DONE = 0, FAILED = 1, USAGE = 2, INHERITED = 3 };

static struct forwarder forwarder; /* too large for a stack */

static int
print_version(void)
{
    return printf("lagg-forwarder %s layout %08x\n", LAGG_VERSION, lagg_layout()) > 0
               ? DONE
               : FAILED;
}

static bool
socket_inherited(void)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");

    return count != NULL && strcmp(count, "1") == 0 &&
           (pid == NULL || strtol(pid, NULL, 10) == (long)getpid());
}

/* Each port has a handful of descriptors, twice, and 1024 are usual.  Best effort. */
static void
raise_limits(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int
failed(const char *doing, int error)
{
    fprintf(stderr, "lagg-forwarder: %s: %s\n", doing, strerror(-error));
    return FAILED;
}

/* The socket to listen on, or -1: said why not, by exit code '*code'. */
static int
listener_of(int argc, char **argv, int *code)
{
    int listener;

    *code = USAGE;
    if (argc == 1 && socket_inherited()) {
        return INHERITED;
    }
    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: lagg-forwarder SOCKET | LISTEN_FDS=1 lagg-forwarder"
                        " | lagg-forwarder --version\n");
        return -1;
    }
    listener = serve_listen(argv[1]);
    if (listener < 0) {
        *code = failed(argv[1], listener);
    }
    return listener;
}

int
main(int argc, char **argv)
{
    int code, error, listener;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return print_version();
    }
    listener = listener_of(argc, argv, &code);
    if (listener < 0) {
        return code;
    }
    signal(SIGHUP, SIG_IGN);
    /* Whoever started it is gone: it ends, if it carries no lagg; see serve.c. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    raise_limits();
    forwarder_init(&forwarder, LAGG_VERSION);
    if ((error = serve_begin(&forwarder, listener)) != 0) {
        return failed("listen", error);
    }
    if ((error = confine()) != 0) {
        return failed("give up what it does not need", error);
    }
    serve();
    return DONE;
}
