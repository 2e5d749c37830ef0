/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lagg-forwarder: keeps a lagg's descriptors and carries its frames, whoever decides.
 *
 * lagg-forwarder SOCKET      makes the socket, mode 0600
 * LISTEN_FDS=1 lagg-forwarder     has it as descriptor 3, as systemd's socket units
 *                                 and laggd do it; LISTEN_PID, if given, is its own
 * lagg-forwarder --version        its version, and the hash of the memories' layout
 *
 * It is the parent of the process that serves, and of one that stands by (family.c).
 * All end when the owner says END; when it carries no lagg and nobody is connected for
 * 10 s; and by SIGTERM or SIGINT, at once if it carries no lagg.  If it does, its
 * workers stop between two bursts, once it has an owner who can go on with them, or
 * after 10 s without.  Exit: 0 done, 1 failed, 2 usage.
 */
#include "forwarder.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { INHERITED = 3 };

static struct forwarder forwarder; /* too large for a stack */

/* What a terminal or a supervisor says to laggd, and to all that it started. */
static const int NOT_MEANT[] = {SIGHUP, SIGUSR1, SIGUSR2};

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
    listener = serve_bind(argv[1]);
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
    for (uint32_t i = 0; i < sizeof NOT_MEANT / sizeof NOT_MEANT[0]; i++) {
        signal(NOT_MEANT[i], SIG_IGN);
    }
    raise_limits();
    if ((error = serve_listen(listener)) != 0) {
        return failed("listen", error);
    }
    forwarder_init(&forwarder, LAGG_VERSION);
    return family_run(&forwarder);
}
