/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lagg4_list.c, lagg4_protocol.c and lagg4_table.c render, for spin: each thing by
 * itself, because nothing holds them together.  One of LIST, REVIEWED, PROTOCOL and
 * TABLE says which.
 */
byte count = 2;

#if defined LIST || defined REVIEWED
byte list_ports = 2; /* length of the list */

active proctype worker() {
	byte ports;
	do
	:: ports = count;
		if
		:: ports == 0
		:: else ->
#ifdef LIST
			ports = count; /* again, to divide by it */
#endif
			assert(ports != 0);
			assert(1 % ports < list_ports)
		fi
	od
}

active proctype control() {
	do
	:: list_ports--; count--; list_ports--; count--;
		list_ports++; count++; list_ports++; count++
	od
}
#endif

#ifdef PROTOCOL
byte protocol = 1; /* 0 is none */
byte state = 1;    /* whose it is; 0 once freed */

active proctype worker() {
	byte mine;
	do
	:: mine = protocol;
		if
		:: mine == 0
		:: else -> assert(state == mine)
		fi
	od
}

active proctype control() {
	do
	:: protocol = 0; state = 0; state = 2; protocol = 2;
		protocol = 0; state = 0; state = 1; protocol = 1
	od
}
#endif

#ifdef TABLE
bool table[2] = true; /* whether there is a port in it */

active proctype worker() {
	byte ports;
	do
	:: ports = count;
		if
		:: ports == 0
		:: else -> assert(table[7 % ports])
		fi
	od
}

active proctype control() {
	do
	:: count = 1; table[0] = false; table[1] = false; table[0] = true;
		count = 2; table[0] = false; table[1] = false; table[0] = true; table[1] = true
	od
}
#endif
