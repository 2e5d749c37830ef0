/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a rendering in every order of its steps, with up to so many preemptions.
 *
 *     schedules explore PREEMPTIONS   tries them all, up to the first that goes wrong
 *     schedules replay 4,11           runs one and tells each step, and the decision
 *                                     after it: "worker<tab>2<tab>reads ..."
 *
 * A worker and a control thread, of which one runs at a time.  After each step there
 * is a decision: go on, or let the other go on.  A schedule is the decisions at which
 * it was the other, so the same schedule is the same run, always.  What "wrong" means
 * is ASan's and UBSan's affair, and fault()'s.  Sequentially consistent: what only a
 * weak machine does is for the model checkers.
 */
#include "rendering.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FRAMES = 2, /* a worker's second look is where reuse shows */
    SWITCHES_MAX = 8,
    DECISIONS_MAX = 100000, /* more is a loop without end */
};

enum actor { WORKER, CONTROL, ACTORS };

static const char *const actor_names[ACTORS] = {"worker", "control"};

struct schedule {
    uint32_t switches[SWITCHES_MAX]; /* decisions, ascending */
    uint32_t switches_count;
};

/* Outlives the process that runs it and dies of what it found. */
static struct schedule *schedule;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    enum actor turn;
    bool done[ACTORS];
    bool blocked[ACTORS]; /* until the other changes something */
    bool news[ACTORS];    /* the other has, since it last looked */
    uint32_t decisions;
    uint32_t switches_made;
    bool is_set_up;
    bool tells_steps;
} run = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* ---- one schedule -----------------------------------------------------------------
 */

void
fault(const char *text)
{
    fprintf(stderr, "fault: %s\n", text);
    _Exit(1);
}

static enum actor
other(enum actor actor)
{
    return actor == WORKER ? CONTROL : WORKER;
}

static void
wait_turn(enum actor me)
{
    pthread_mutex_lock(&run.lock);
    while (run.turn != me) {
        pthread_cond_wait(&run.moved, &run.lock);
    }
    pthread_mutex_unlock(&run.lock);
}

static void
give_turn(void)
{
    pthread_mutex_lock(&run.lock);
    run.turn = other(run.turn);
    pthread_cond_broadcast(&run.moved);
    pthread_mutex_unlock(&run.lock);
}

static void
yield_turn(void)
{
    enum actor me = run.turn;

    give_turn();
    wait_turn(me);
}

static bool
switch_is_due(void)
{
    return run.switches_made < schedule->switches_count &&
           schedule->switches[run.switches_made] == run.decisions;
}

static void
tell_other(void)
{
    run.blocked[other(run.turn)] = false;
    run.news[other(run.turn)] = true;
}

void
step_access(bool is_load)
{
    enum actor next = other(run.turn);

    if (!is_load) {
        tell_other();
    }
    if (run.done[next] || run.blocked[next]) {
        return; /* nothing to decide */
    }
    run.decisions++;
    if (run.decisions > DECISIONS_MAX) {
        fault("no end");
    }
    if (switch_is_due()) {
        run.switches_made++;
        yield_turn();
    }
}

void
step_blocked(void)
{
    enum actor me = run.turn, next = other(me);

    if (!run.news[me]) {
        if (run.done[next] || run.blocked[next]) {
            fault("deadlock: each waits for the other");
        }
        run.blocked[me] = true;
        yield_turn();
    }
    run.news[me] = false;
}

void
step(const char *text, ...)
{
    if (run.tells_steps && run.is_set_up) {
        va_list arguments;

        va_start(arguments, text);
        printf("%s\t%u\t", actor_names[run.turn], run.decisions + 1);
        vprintf(text, arguments);
        printf("\n");
        va_end(arguments);
    }
    step_access(false);
}

void
frame_sent(int port)
{
    step("sends the frame by port %d", port);
}

void
grace_begin(void)
{
    step("waits for whoever is inside");
}

void
grace_end(void)
{
    step("sees that nobody holds the port");
}

static void
end_turn(void)
{
    run.done[run.turn] = true;
    tell_other();
    give_turn();
}

static void *
worker_run(void *unused)
{
    wait_turn(WORKER);
    step_access(true); /* who begins is a decision too */
    for (uint32_t i = 0; i < FRAMES; i++) {
        worker_frame(0);
    }
    end_turn();
    return unused;
}

static void *
control_run(void *unused)
{
    wait_turn(CONTROL);
    control_change();
    end_turn();
    return unused;
}

static void
schedule_run(void)
{
    pthread_t threads[ACTORS];

    run.turn = CONTROL;
    run.done[WORKER] = true; /* not there yet: whoever sets up is alone */
    run.is_set_up = false;
    world_begin();
    run.is_set_up = true;
    run.turn = WORKER;
    run.decisions = run.switches_made = 0;
    memset(run.done, 0, sizeof run.done);
    memset(run.blocked, 0, sizeof run.blocked);
    memset(run.news, 0, sizeof run.news);
    if (pthread_create(&threads[WORKER], NULL, worker_run, NULL) != 0 ||
        pthread_create(&threads[CONTROL], NULL, control_run, NULL) != 0) {
        abort();
    }
    pthread_join(threads[WORKER], NULL);
    pthread_join(threads[CONTROL], NULL);
    world_end();
}

/* ---- all of them ------------------------------------------------------------------
 */

/* Runs the schedule as it is, then with one more switch at every later decision. */
static uint64_t
explore(uint32_t preemptions)
{
    uint32_t level = schedule->switches_count, begin, end;
    uint64_t schedules = 1;

    begin = level == 0 ? 1 : schedule->switches[level - 1] + 1;
    schedule_run();
    end = run.decisions;
    if (level == preemptions) {
        return schedules;
    }
    for (uint32_t decision = begin; decision <= end; decision++) {
        schedule->switches[level] = decision;
        schedule->switches_count = level + 1;
        schedules += explore(preemptions);
    }
    schedule->switches_count = level;
    return schedules;
}

static void
explore_all(uint32_t preemptions)
{
    printf("%lu schedules\n", explore(preemptions));
}

static void
replay(uint32_t unused)
{
    (void)unused;
    setvbuf(stdout, NULL, _IOLBF, 0);
    run.tells_steps = true;
    schedule_run();
    printf("the end\n");
}

/* In a process of its own, which may die of it: then says under which schedule. */
static int
survive(void (*act)(uint32_t), uint32_t argument)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        act(argument);
        exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        abort();
    }
    if (status == 0) {
        return 0;
    }
    fprintf(stderr, "schedule: ");
    for (uint32_t i = 0; i < schedule->switches_count; i++) {
        fprintf(stderr, i == 0 ? "%u" : ",%u", schedule->switches[i]);
    }
    fprintf(stderr, "\n");
    return 1;
}

static void
schedule_parse(char *text)
{
    char *rest = text;

    for (char *word; (word = strtok_r(rest, ",", &rest)) != NULL;) {
        if (schedule->switches_count == SWITCHES_MAX) {
            abort();
        }
        schedule->switches[schedule->switches_count++] =
            (uint32_t)strtoul(word, NULL, 10);
    }
}

int
main(int argc, char **argv)
{
    schedule = mmap(NULL, sizeof *schedule, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (schedule == MAP_FAILED) {
        abort();
    }
    if (argc == 3 && strcmp(argv[1], "replay") == 0) {
        schedule_parse(argv[2]);
        return survive(replay, 0);
    }
    if (argc == 3 && strcmp(argv[1], "explore") == 0) {
        return survive(explore_all, (uint32_t)strtoul(argv[2], NULL, 10));
    }
    fprintf(stderr, "usage: schedules explore PREEMPTIONS | replay DECISION,...\n");
    return 2;
}
