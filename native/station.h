/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What station.c is to transmit.c and receive.c: under a plan with stations, and of
 * frames that are no runts.
 */
#ifndef STATION_H
#define STATION_H

#include "internal.h"

/* The index of a frame that goes by no entry of the table: as if behind all of them. */
enum { INDEX_NONE = LAGG_BUCKETS };

/* The slot by which the frame must leave; NO_SLOT when its flow decides. */
uint32_t station_of(const struct lagg_plan *plan, const struct frame *frame);

/* Gives a frame that leaves by 'slot' the source that is known there, unless it is from
 * a MAC that is neither the lagg's nor a port's.  What was signed for another slot may
 * be signed anew. */
void station_sign(
    const struct lagg_plan *plan, uint32_t slot, const struct frame *frame);

/* Under a plan that teaches: whether a frame that came by 'slot', a runt too, goes up;
 * to the port's own MAC it does, and to the lagg's from then on. */
bool station_admit(
    const struct lagg_plan *plan, uint32_t slot, const struct frame *frame);

#endif
