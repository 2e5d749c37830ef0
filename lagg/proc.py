# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel tells in /proc/net and not by netlink.

Owns the reading of /proc/net/ptype.  Knows no lagg.
"""

from collections import Counter

_PTYPE = "/proc/thread-self/net/ptype"
"""Of the calling thread's namespace; "/proc/net" is that of the main thread."""


def listeners() -> Counter[str]:
    """Packet sockets that hear every frame, by interface; "" for those on all."""
    with open(_PTYPE, encoding="ascii") as lines:
        rows = [line.split() for line in lines]
    return Counter(
        row[1] if len(row) > 2 else "" for row in rows if row and row[0] == "ALL"
    )
