# SPDX-License-Identifier: BSD-2-Clause
"""An interface that becomes a port: whether it may, what is done to it, and undone.

Owns the refusals, and what each port was before, here and on disk for the next daemon.
Knows no lagg and no plan.
"""
