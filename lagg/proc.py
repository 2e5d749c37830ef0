# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel tells in /proc/net sooner than by netlink.

Owns the reading of /proc/net/dev.  Knows no lagg.
"""

_DEV = "/proc/thread-self/net/dev"
"""Of the calling thread's namespace; "/proc/net" is that of the main thread."""

_TX_DROP_COLUMN = 11


def tx_dropped(name: str) -> int | None:
    """Frames to the interface that the kernel dropped before its driver had them.

    Without a request and an answer, so that it is exact between two publications.  None
    when there is no such interface.
    """
    with open(_DEV, encoding="ascii") as lines:
        for line in lines:
            interface, _, columns = line.partition(":")
            if interface.strip() == name:
                return int(columns.split()[_TX_DROP_COLUMN])
    return None
