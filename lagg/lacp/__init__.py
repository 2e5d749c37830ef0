# SPDX-License-Identifier: BSD-2-Clause
"""LACP and Marker (IEEE 802.1AX), sans-IO: frames and instants in, values out.

Owns the protocol whole: PDUs, the state machines, selection, the engine that runs them.
Knows no socket, no clock, no thread and no other part of laggd.
"""
