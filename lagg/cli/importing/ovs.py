# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch's bonds, as `ovs-vsctl show` and `ovs-vsctl list` print them.

Owns the layout of both and the columns of Port and Interface
(ovs-vswitchd.conf.db(5)).  A bond is a port of several interfaces; what is no bond
stays in its bridge, and so may the lagg, as an interface of a plain port.  Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lagg.cli.importing.bonding import NO_EQUIVALENT, Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.text import Source, whole

_SHOWN = re.compile(r"^ {4}Bridge \S", re.MULTILINE)
_LISTED = re.compile(r"^_uuid +: ", re.MULTILINE)

HARMLESS = frozenset(
    (
        *("_uuid", "name", "interfaces", "bond_active_slave", "bond_mode", "lacp"),
        *("status", "statistics", "rstp_status", "rstp_statistics", "admin_state"),
        *("bfd_status", "cfm_fault", "cfm_fault_status", "cfm_flap_count"),
        *("cfm_health", "cfm_remote_mpids", "cfm_remote_opstate", "duplex", "error"),
        *("ifindex", "lacp_current", "link_resets", "link_speed", "link_state"),
        *("mac_in_use", "mtu", "ofport"),
    )
)
"""Columns of what is or was counted, and those that say what ours say otherwise."""

_UNSET = frozenset(
    (
        *(
            "bond_updelay",
            "bond_downdelay",
            "bond_fake_iface",
            "cvlans",
            "external_ids",
        ),
        *("fake_bridge", "mac", "other_config", "protected", "qos", "tag", "trunks"),
        *("vlan_mode", "bfd", "cfm_mpid", "ingress_policing_burst", "lldp", "options"),
        *("ingress_policing_kpkts_burst", "ingress_policing_kpkts_rate", "type"),
        *("ingress_policing_rate", "mtu_request", "ofport_request"),
    )
)
"""Columns of settings that may be as nobody set them."""

_NOTHING = ("[]", "{}", '""', "false", "0")
"""What a column has that nobody set."""

_MODES = {
    "active-backup": ("failover", None),
    "balance-slb": ("loadbalance", ["l2"]),
    "balance-tcp": ("loadbalance", ["l2", "l3", "l4"]),
}
_NUMBERS = {
    "lacp-system-priority": "lacp_system_priority",
    "bond-hash-basis": "hash_seed",
    "bond-rebalance-interval": "balance_interval_ms",
}
_FALLBACK_S = 1
"""Open vSwitch falls back at once; the soonest that ours can."""

_MIIMON_MS = "200"
"""bond-miimon-interval unless given."""

_STAYS = "no bond, and stays in Open vSwitch"
_WHY = {
    "lacp-aggregation-key": "a lagg has one key for all its ports: lacp_key",
    "lacp-port-id": "a port's number is given by laggd",
    "lb-output-action": "of its datapath; ours always looks up the bucket",
    "bfd": "laggctl set --watch bfd makes Open vSwitch's session on each port",
    "type": "a port is an interface of the kernel's",
}


class Row(NamedTuple):
    """A row of a table, as printed: columns with their values' text."""

    columns: dict[str, str]

    @property
    def is_port(self) -> bool:
        """Else it is an interface, or of another table."""
        return "bond_mode" in self.columns

    @property
    def is_interface(self) -> bool:
        """Whether it is of table Interface."""
        return "mtu_request" in self.columns or "ofport" in self.columns

    @property
    def name(self) -> str:
        """Its name; other tables may have none."""
        return plain(self.columns.get("name", self.columns.get("_uuid", "")))


def is_ovs(source: Source) -> bool:
    """Whether it is the output of one of these commands."""
    return any(each.search(source.text) for each in (_SHOWN, _LISTED))


def read(sources: Sequence[Source], _: Bonds, drafts: Drafts) -> None:
    """The bonds of outputs that belong together."""
    rows = [row for source in sources for row in _rows(source.text)]
    shown = [port for source in sources for port in _shown(source.text)]
    interfaces = {plain(r.columns.get("_uuid", "")): r for r in rows if r.is_interface}
    by_name = {row.name: row for row in interfaces.values()}
    told = set[str]()
    for row in rows:
        if _is_bond(row):
            told |= {*_add_listed(row, interfaces, drafts)}
    _note_unnamed(rows, interfaces, {port.name for port in shown}, drafts)
    for port in shown:
        if len(port.interfaces) > 1:
            told |= {*_add_shown(port, by_name, drafts)}
    _leave_others(rows, shown, told, drafts)


def _is_bond(row: Row) -> bool:
    return row.is_port and len(members(row.columns.get("interfaces", ""))) > 1


def _note_unnamed(
    rows: Sequence[Row], interfaces: dict[str, Row], shown: set[str], drafts: Drafts
) -> None:
    """Interfaces that a bond has by their UUIDs alone."""
    for row in rows:
        is_open = _is_bond(row) and row.name not in shown
        for uuid in members(row.columns["interfaces"]) if is_open else ():
            if uuid not in interfaces:
                said = "give ovs-vsctl list interface, or show, too"
                drafts.of(row.name).note(f"interface {uuid}", said)


def _leave_others(
    rows: Sequence[Row], shown: Sequence[_Shown], told: set[str], drafts: Drafts
) -> None:
    for row in rows:
        kind = "port" if row.is_port else "interface" if row.is_interface else "row"
        if not _is_bond(row) and (row.name not in told or not row.is_interface):
            drafts.leave(f"{kind} {row.name}", _STAYS)
    for port in shown:
        if port.name and len(port.interfaces) < 2:
            drafts.leave(f"port {port.name}", _STAYS)
        for said in () if port.name else port.others:
            drafts.leave(f"bridge {port.bridge}: {said}", _STAYS)


# ---- the layouts -------------------------------------------------------------------


def _rows(text: str) -> Iterator[Row]:
    blocks = re.split(r"\n[ \t]*\n", text) if _LISTED.search(text) else ()
    for block in blocks:
        parts = [line.partition(":") for line in block.splitlines() if line.strip()]
        if parts:
            yield Row({key.strip(): value.strip() for key, _, value in parts})


class _Shown(NamedTuple):
    """A port of `show`; of the bridge itself the name is empty."""

    bridge: str
    name: str
    interfaces: list[str]
    others: list[str]  # what else is said of it


def _shown(text: str) -> Iterator[_Shown]:
    port: _Shown | None = None
    for line in text.splitlines() if _SHOWN.search(text) else ():
        word, _, value = line.strip().partition(" ")
        if word in ("Bridge", "Port"):
            if port is not None:
                yield port
            bridge = plain(value) if word == "Bridge" or port is None else port.bridge
            port = _Shown(bridge, plain(value) if word == "Port" else "", [], [])
        elif word == "Interface" and port is not None:
            port.interfaces.append(plain(value))
        elif word and word != "ovs_version:" and port is not None:
            port.others.append(line.strip())
    if port is not None:
        yield port


def plain(text: str) -> str:
    """A value without its quotes, which are JSON's."""
    try:
        value = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def members(text: str) -> list[str]:
    """The members of a set, `[a, b]`; of a map, `{a=b, "c"="d e"}`, the pairs."""
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "{}") else text
    found = re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+', inner)
    return [each.strip() for each in found if each.strip()]


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = (each.partition("=") for each in members(text))
    return [(plain(key), plain(value)) for key, _, value in parts]


def _says_nothing(column: str, value: str) -> bool:
    return column in HARMLESS or (column in _UNSET and value in _NOTHING)


# ---- what they say -----------------------------------------------------------------


def _add_shown(port: _Shown, rows: dict[str, Row], drafts: Drafts) -> list[str]:
    """Answers which interfaces are its ports."""
    draft = drafts.of(port.name)
    if "proto" not in draft.keys:
        draft.note("bond_mode", "not in show: give ovs-vsctl list port, too")
    for name in port.interfaces:
        draft.add_port(name)
        if name in rows:
            _add_interface(draft, rows[name])
    for said in port.others:
        draft.note(said, "stays in Open vSwitch")
    command = f"ovs-vsctl del-port {port.name} -- add-port {port.bridge} {port.name}"
    draft.note(f"bridge {port.bridge}", f"the lagg is one port of it: {command}")
    return port.interfaces


def _add_listed(row: Row, interfaces: dict[str, Row], drafts: Drafts) -> list[str]:
    """Answers which interfaces are its ports."""
    draft = drafts.of(row.name)
    config = dict(_pairs(row.columns.get("other_config", "{}")))
    _set_proto(draft, row.columns)
    names = []
    for uuid in members(row.columns["interfaces"]):
        if uuid in interfaces:
            names.append(interfaces[uuid].name)
            _add_interface(draft, interfaces[uuid])
    for key, value in config.items():
        _set_config(draft, key, value)
    if config.get("bond-detect-mode") == "miimon":
        every = config.get("bond-miimon-interval", _MIIMON_MS)
        draft.set(
            "watch", [f"poll,interval_ms={every}"], f"bond-miimon-interval {every}"
        )
    for column, value in row.columns.items():
        _set_column(draft, column, value)
    return names


def _set_proto(draft: Draft, columns: dict[str, str]) -> None:
    mode, lacp = plain(columns["bond_mode"]), plain(columns.get("lacp", "[]"))
    if mode == "[]":
        draft.note("bond_mode", "none is said here; active-backup is the default")
        mode = "active-backup"
    proto, layers = _MODES.get(mode, ("failover", None))
    if mode not in _MODES:
        draft.note(f"bond_mode {mode}", NO_EQUIVALENT)
    if lacp in ("active", "passive"):
        draft.set("proto", "lacp")
        draft.set("lacp_active", lacp == "active")
        if layers is None:
            draft.set("lacp_max_ports", 1)
    else:
        draft.set("proto", proto)
        if lacp not in ("off", "[]"):
            draft.note(f"lacp {lacp}", NO_EQUIVALENT)
    if layers is not None:
        draft.set("lagghash", layers)
    if proto == "failover" and draft.keys["proto"] == proto:
        draft.set("reselect", "failure")
    if mode == "balance-slb":
        draft.note(
            f"bond_mode {mode}", "by MACs and VLAN; moved with balance_interval_ms"
        )


def _set_column(draft: Draft, column: str, value: str) -> None:
    number = whole(value)
    if column == "other_config" or _says_nothing(column, value):
        return
    if column in ("bond_updelay", "bond_downdelay") and number is not None:
        ours = f"{column.removeprefix('bond_').removesuffix('delay')}_delay_ms"
        draft.set(ours, number, f"{column} {value}")
    elif column == "mac":
        draft.set("mac", plain(value), f"mac {value}")
    else:
        draft.note(f"{column} {value}", "stays in Open vSwitch, at the lagg's port")


def _set_config(draft: Draft, key: str, value: str) -> None:
    """A pair of the port's other_config."""
    number, said = whole(value), f"other_config {key}={value}"
    if key in _NUMBERS and number is not None:
        draft.set(_NUMBERS[key], number, said)
    elif key == "lacp-time" and value in ("fast", "slow"):
        draft.set("lacp_fast_timeout", value == "fast")
    elif key == "lacp-system-id":
        draft.set("lacp_system", value, said)
    elif key == "lacp-fallback-ab" and value in ("true", "false"):
        if value == "true":
            draft.set("lacp_fallback_timeout", _FALLBACK_S)
    elif key == "bond-primary":
        draft.set("primary", value, said)
        draft.set("reselect", "always")
    elif key == "bond-detect-mode" and value in ("carrier", "miimon"):
        return
    elif key == "bond-miimon-interval":
        draft.note(said, "of bond-detect-mode miimon: there it is a watch, poll")
    else:
        draft.note(said, _WHY.get(key, NO_EQUIVALENT))


def _add_interface(draft: Draft, row: Row) -> None:
    draft.add_port(row.name)
    for column, value in row.columns.items():
        number, said = whole(value), f"{row.name}: {column} {value}"
        if _says_nothing(column, value):
            continue
        if column == "mtu_request" and draft.keys.get("mtu", number) == number:
            draft.set("mtu", number, said)
        elif column == "other_config":
            for key, each in _pairs(value):
                _set_port_config(draft, row.name, key, each)
        else:
            draft.note(said, _WHY.get(column, "of a port: stays in Open vSwitch"))


def _set_port_config(draft: Draft, port: str, key: str, value: str) -> None:
    number = whole(value)
    if key == "lacp-port-priority" and number is not None:
        draft.set_port(port, "lacp_port_priority", number)
    else:
        draft.note(f"{port}: other_config {key}={value}", _WHY.get(key, NO_EQUIVALENT))
