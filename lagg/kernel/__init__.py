# SPDX-License-Identifier: BSD-2-Clause
"""The doors to the kernel and to the C hot path, one file for each.

Owns every socket but the control socket's and those of clients, and the only imports of
pyroute2 and of the extension.  No value of theirs leaves it.  Knows no lagg.
"""
