# SPDX-License-Identifier: BSD-2-Clause
"""lagg(4)'s options as words of the command line, and as a request.

Owns how each is written; whether a value is allowed is for laggd to say.  An option's
long name is its record name with dashes.
"""

from __future__ import annotations

import argparse
from typing import Any

from lagg.cli.output import UsageError
from lagg.cli.show_page import LACP_OPTIONS
from lagg.cli.words import listed, number

PROTO_WORDS = "failover, roundrobin, loadbalance, lacp, broadcast or none"

OPTION_KEYS = (
    "altname",
    "mac_policy",
    "lagghash",
    "hash",
    "hash_seed",
    "use_flowid",
    "flowid_shift",
    "rr_limit",
    "failover_rx_all",
    *LACP_OPTIONS,
)
"""The options of a lagg by their record names."""

PORT_OPTION_KEYS = ("lacp_port_priority",)
"""Those of a port."""

_LACP_SWITCHES = {
    "--lacp-strict": "carry nothing without a partner; the default",
    "--lacp-fast-timeout": "have the partner send every second, not every 30",
    "--lacp-active": "speak first; without it only to an active partner",
    "--lacp-coupled": "collect and distribute at once",
    "--lacp-txtest": "send no LACPDU",
    "--lacp-rxtest": "ignore every LACPDU",
}
_LACP_NUMBERS = {
    "--lacp-system-priority": "0 to 65535; the lower decides",
    "--lacp-key": "1 to 65535; 0: from the speed",
    "--lacp-max-ports": "in use; more are on standby",
    "--lacp-min-links": "with fewer nothing is carried",
    "--lacp-fallback-timeout": "seconds without a partner until one port carries",
}


def add_lagg_options(command: argparse.ArgumentParser) -> None:
    """What `create` and `set` have in common."""
    command.add_argument("--proto", metavar="P", help=PROTO_WORDS)
    command.add_argument("--mac", metavar="M", help="02:00:5e:00:53:01")
    command.add_argument("--mtu", metavar="N", type=number, help="bytes")
    command.add_argument(
        "--altname",
        metavar="A,...",
        type=listed,
        help="all its alternative names, as ip(8) shows them; '': none",
    )
    command.add_argument(
        "--mac-policy",
        metavar="M",
        help="stable: keep the MAC when its port leaves; primary: as lagg(4)",
    )
    command.add_argument("--lagghash", metavar="L", type=listed, help="as l2,l3,l4")
    command.add_argument("--hash", metavar="H", help="crc32c or fnv1")
    command.add_argument(
        "--hash-seed", metavar="N", type=number, help="random unless given"
    )
    command.add_argument("--flowid-shift", metavar="N", type=number, help="bits")
    command.add_argument("--rr-limit", metavar="N", type=number, help="frames a turn")
    command.add_argument(
        "--use-flowid",
        action=argparse.BooleanOptionalAction,
        help="kept for lagg(4)'s sake; a TAP gives no flow id",
    )
    command.add_argument(
        "--failover-rx-all",
        action=argparse.BooleanOptionalAction,
        help="failover: receive from every port",
    )
    _add_lacp_options(command)


def _add_lacp_options(command: argparse.ArgumentParser) -> None:
    for word, purpose in _LACP_SWITCHES.items():
        command.add_argument(word, action=argparse.BooleanOptionalAction, help=purpose)
    for word, purpose in _LACP_NUMBERS.items():
        command.add_argument(word, metavar="N", type=number, help=purpose)
    command.add_argument("--lacp-system", metavar="M", help="auto: the lagg's MAC")
    command.add_argument(
        "--ad-select", metavar="A", help="stable, bandwidth, count or port-priority"
    )


def add_port_options(command: argparse.ArgumentParser) -> None:
    """What only `set` has: the options of one port."""
    command.add_argument("--port", metavar="IF", help="whose options are set")
    command.add_argument(
        "--lacp-port-priority", metavar="N", type=number, help="0 to 65535, 0 highest"
    )


def wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that Create and Set have in common."""
    options = {
        key: getattr(arguments, key)
        for key in OPTION_KEYS
        if getattr(arguments, key) is not None
    }
    return {
        "name": arguments.name,
        "proto": arguments.proto,
        "mac": arguments.mac,
        "mtu": arguments.mtu,
        "options": options or None,
    }


def wanted_of_port(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The options of the one port that `set --port` names; None without any."""
    chosen = {
        key: getattr(arguments, key)
        for key in PORT_OPTION_KEYS
        if getattr(arguments, key) is not None
    }
    if bool(chosen) != (arguments.port is not None):
        raise UsageError("--port and --lacp-port-priority need each other")
    return {arguments.port: chosen} if chosen else None
