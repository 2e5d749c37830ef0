# SPDX-License-Identifier: BSD-2-Clause
"""How fast frames pass a lagg, beside the kernel alone and beside its peers.

Run as `tools/bench`.  Values (metrics, search, table) know no effect; systems and what
measures them are effects; __main__ has the order.
"""
