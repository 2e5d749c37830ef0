# SPDX-License-Identifier: BSD-2-Clause
"""laggd's units in a booted machine: who runs there, and what a process of one may do.

Knows nothing of laggs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lab import wait_until
from tests.debian_root import Machine
from tests.netns.crossing import DEADLINE_S

LAGGD, FORWARDER = "laggd.service", "lagg-forwarder.service"
SOCKET = "lagg-forwarder.socket"

IN_UNIT = 'echo 0 >/sys/fs/cgroup/system.slice/laggd.service/cgroup.procs; exec "$@"'
"""Becomes a process of the unit as far as devices and addresses go."""

SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
    for address in sys.argv[1:]:
        try:
            sending.sendto(b"", (address, 9))
            print(address, "sent")
        except OSError as error:
            print(address, error.strerror)
"""
OPEN = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR))
        print(path, "opened")
    except OSError as error:
        print(path, error.strerror)
"""


def pid_of(machine: Machine, unit: str = LAGGD) -> int:
    return int(machine.property_of(unit, "MainPID"))


@contextmanager
def replaced(machine: Machine, unit: str) -> Iterator[None]:
    """Returns when a unit has another process than before, and serves."""
    pid = pid_of(machine, unit)
    yield
    wait_until(
        lambda: (
            pid_of(machine, unit) not in (0, pid)
            and machine.property_of(unit, "ActiveState") == "active"
        ),
        DEADLINE_S,
        f"{unit} is started anew",
    )
