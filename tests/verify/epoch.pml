/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The epoch and the snapshots for spin: every interleaving of READERS workers and a
 * control thread that publishes UPDATES times and reuses in any order it may.
 *
 * The orders EPOCH_* come from native/internal.h by the command line.  A store that is
 * not seq_cst waits in its worker's store buffer, as on x86; everything else is in
 * program order.  variants.py edits copies of this file to make its faults.
 */
#define READERS 2
#define UPDATES 3
#define SNAPSHOTS 4 /* UPDATES + 1 */
#define OUTSIDE 0

byte root = 0;
byte now = 1;
byte seen[READERS];
chan store_buffer[READERS] = [2] of { byte };

byte ports[SNAPSHOTS];
bool alive[SNAPSHOTS];
byte ticket[SNAPSHOTS];
bool control_done = false;

#define STORE_IS_BUFFERED(order) (order != seq_cst)

inline store_seen(order, value) {
	if
	:: STORE_IS_BUFFERED(order) -> store_buffer[self]!value
	:: else -> atomic { empty(store_buffer[self]) -> seen[self] = value }
	fi
}

proctype machine(byte self) {
	byte value;
end:
	do
	:: atomic { store_buffer[self]?value -> seen[self] = value }
	od
}

proctype worker(byte self) {
	byte epoch, snap, count;
	do
	:: control_done -> break
	:: else ->
		epoch = now;
		store_seen(EPOCH_ENTER_STORE, epoch);
		snap = root;
		assert(alive[snap]);
		count = ports[snap];
		if
		:: count != 0 -> assert(count - 1 < ports[snap])
		:: else
		fi;
		assert(alive[snap]);
		store_seen(EPOCH_LEAVE_STORE, OUTSIDE);
		epoch = 0; snap = 0; count = 0
	od
}

inline publish(fresh) {
	d_step { alive[fresh] = true; ports[fresh] = (fresh + 2) % 3 };
	old = root; root = fresh; /* one exchange: nobody else stores it */
	now++; ticket[old] = now;
	old = 0
}

inline reclaim(which) {
	reader = 0;
	do
	:: reader < READERS ->
		(seen[reader] == OUTSIDE || seen[reader] >= ticket[which]);
		reader++
	:: else -> break
	od;
	reader = 0;
	d_step { alive[which] = false; ticket[which] = 0; reclaimed++ }
}

proctype control() {
	byte next = 1, old, which, reader, reclaimed = 0;
	do
	:: next <= UPDATES -> publish(next); next++
	:: reclaimed < next - 1 ->
		select(which : 0 .. UPDATES);
		if
		:: ticket[which] != 0 -> reclaim(which)
		:: else
		fi;
		which = 0
	:: next > UPDATES && reclaimed == UPDATES -> break
	od;
	control_done = true
}

init {
	byte index = 0;
	d_step { alive[0] = true; ports[0] = 2 };
	atomic {
		do
		:: index < READERS -> run worker(index); run machine(index); index++
		:: else -> break
		od;
		run control()
	}
}
