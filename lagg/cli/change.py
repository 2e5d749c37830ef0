# SPDX-License-Identifier: BSD-2-Clause
"""The commands that change a lagg: create, destroy, set, attach, detach, release.

Each is one call, which laggd does whole or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagg.cli.daemon import laggd_of
from lagg.cli.manner import asked_in, told
from lagg.cli.options import state_wanted, wanted, wanted_of_port
from lagg.cli.output import UsageError, done

if TYPE_CHECKING:
    import argparse


def create(arguments: argparse.Namespace) -> int:
    """Makes a lagg with its ports."""
    with laggd_of(arguments) as laggd:
        ports = [*arguments.ports, *(arguments.port or ())]
        asked = wanted(arguments) | asked_in(arguments)
        outcome = laggd.call("Create", **asked, ports=ports or None)
    return told(arguments, outcome)


def set(arguments: argparse.Namespace) -> int:
    """Sets protocol, MAC, MTU and options of a running lagg."""
    change = wanted(arguments) | {"port": wanted_of_port(arguments)}
    change |= state_wanted(arguments)
    if not any(change[key] is not None for key in change if key != "name"):
        raise UsageError(f"{arguments.name}: nothing to set")
    with laggd_of(arguments) as laggd:
        outcome = laggd.call("Set", **change, **asked_in(arguments))
    return told(arguments, outcome)


def destroy(arguments: argparse.Namespace) -> int:
    """Destroys the lagg; its ports are as they were found."""
    with laggd_of(arguments) as laggd:
        laggd.call("Destroy", name=arguments.name)
    return done(arguments)


def attach(arguments: argparse.Namespace) -> int:
    """Attaches ports."""
    with laggd_of(arguments) as laggd:
        ports = {"name": arguments.name, "ports": arguments.ports}
        outcome = laggd.call("Attach", **ports, **asked_in(arguments))
    return told(arguments, outcome)


def detach(arguments: argparse.Namespace) -> int:
    """Detaches ports and puts them back."""
    with laggd_of(arguments) as laggd:
        ports = {"name": arguments.name, "ports": arguments.ports}
        outcome = laggd.call("Detach", **ports, **asked_in(arguments))
    return told(arguments, outcome)


def release(arguments: argparse.Namespace) -> int:
    """Ends LACP's hold of ports."""
    with laggd_of(arguments) as laggd:
        laggd.call("Release", name=arguments.name, ports=arguments.ports)
    return done(arguments)
