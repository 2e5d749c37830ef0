# SPDX-License-Identifier: BSD-2-Clause
"""What one laggd leaves to the next: each lagg as a value, and where that is kept.

Owns the form of it and the memory it lies in.  Knows no operation and no daemon.
"""
