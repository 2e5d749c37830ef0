/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a rendering of a lagg is, to the two programs that run it: schedules.c, which
 * tries every order of its steps, and storm.c, which runs it as fast as it can.
 *
 * A rendering owns a lagg with two ports.  A worker sends frames; the control thread
 * changes the lagg and changes it back.  Each access that others could come between is
 * followed by a step.
 */
#ifndef RENDERING_H
#define RENDERING_H

#include <stdbool.h>
#include <stdint.h>

/* ---- the rendering ----------------------------------------------------------------
 */

void world_begin(void);
void world_end(void);

/* Takes one frame and sends it, or loses it.  Returns a number that never falls. */
uint64_t worker_frame(uint32_t reader);

/* One change of the lagg, and back to where it was. */
void control_change(void);

/* ---- the program ------------------------------------------------------------------
 */

/* Says what was just done; now somebody else may go on.  The text is for a person. */
void step(const char *text, ...) __attribute__((format(printf, 1, 2)));

/* The same, for an access of the production code: others may go on, nothing is said.
 * A load changes nothing, so it lets nobody out of step_blocked(). */
void step_access(bool is_load);

/* Nothing can be done here until somebody else has done something. */
void step_blocked(void);

/* The frame left by this port. */
void frame_sent(int port);

/* Around the wait for who may still hold something. */
void grace_begin(void);
void grace_end(void);

/* What no sanitizer can know to be wrong.  Ends the run. */
void fault(const char *text) __attribute__((noreturn));

#endif
