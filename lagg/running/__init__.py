# SPDX-License-Identifier: BSD-2-Clause
"""One lagg at work: its device, its shape, its LACP, its flows on the move.

Owns what must not wait for an operation's turn: a new snapshot, PDUs, markers.  Knows
no other lagg.
"""
