/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lesson.c is to station.c: under a plan that teaches, and of frames from the
 * lagg's MAC or a port's, which are no runts.
 */
#ifndef LESSON_H
#define LESSON_H

#include "internal.h"

/* The entry of a plan's rx_slots for the peer with this address, of 4 or 16 bytes. */
uint32_t lesson_bucket(const uint8_t *address, uint32_t bytes);

/* The slot that is to teach the one peer to whom the frame tells a MAC; NO_SLOT when it
 * tells none, or all. */
uint32_t lesson_slot(const struct lagg_plan *plan, const struct frame *frame);

/* Has a request to all teach nobody. */
void lesson_quieten(const struct frame *frame);

/* Gives the frame 'mac' inside, where it has 'was' there. */
void lesson_sign(const struct frame *frame, const uint8_t *was, const uint8_t *mac);

#endif
