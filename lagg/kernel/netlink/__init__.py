# SPDX-License-Identifier: BSD-2-Clause
"""Everything laggd asks of the kernel by netlink: links, addresses, speed, deafness.

Owns the netlink sockets and the only imports of pyroute2; no pyroute2 value leaves
it.  Knows no lagg, plan or protocol.
"""

from lagg.kernel.netlink.library import use_parts

use_parts()

from lagg.kernel.netlink.ingress import DeafPorts  # noqa: E402  see library.py
from lagg.kernel.netlink.route import Netlink  # noqa: E402
from lagg.kernel.netlink.stations import neighbours, stations  # noqa: E402

__all__ = ["DeafPorts", "Netlink", "neighbours", "stations"]
