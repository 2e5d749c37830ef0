# SPDX-License-Identifier: BSD-2-Clause
"""The control socket, org.laggd.Lagg: its server, its client, and what crosses it.

Owns framing, bounds, rights and the records of `--json`.  Knows no kernel but the
socket; what it serves is handed to it.
"""
