# SPDX-License-Identifier: BSD-2-Clause
"""What stands on a lagg: the commands that make it, whoever made it before.

Owns their words, for comments.  A lagg is an interface as any other, so ip(8) puts
VLANs on it and puts it into a bridge.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable


def vlan(name: str, link: str, number: object) -> str:
    """The command for a VLAN on an interface."""
    return f"ip link add link {link} name {name} type vlan id {number}"


def bridge(name: str, ports: Iterable[str]) -> str:
    """The commands for a bridge and the interfaces in it."""
    joins = (f"; ip link set {port} master {name}" for port in ports)
    return f"ip link add {name} type bridge{''.join(joins)}"
