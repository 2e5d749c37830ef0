# SPDX-License-Identifier: BSD-2-Clause
"""What a watch may say: the rule of `watch`, once for files and requests.

Owns which keys a kind of watch takes, their defaults, and what holds between them.
Pure; rules.py has the rules that other keys share.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from enum import Enum
from errno import EEXIST
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from lagg.config.rules import (
    BadValueError,
    listed,
    parse_mac,
    parse_name,
    shown,
    whole_number,
    word_of,
)
from lagg.errors import nearest
from lagg.options import PORTS_MAX
from lagg.watches import (
    INTERVAL_MS_MAX,
    INTERVAL_MS_MIN,
    MISSED_MAX,
    TAGS_MAX,
    TARGETS_MAX,
    VLAN_MAX,
    WATCHES_MAX,
    Answer,
    LinkWatch,
    WatchKind,
)

_FAMILIES: Mapping[WatchKind, tuple[type, ...]] = {
    WatchKind.ARP: (IPv4Address,),
    WatchKind.NS: (IPv6Address,),
    WatchKind.BFD: (IPv4Address, IPv6Address),
    WatchKind.POLL: (),
}
"""Whom a kind asks; none: nobody."""


def an_address(value: object) -> str:
    """An IP address that one host on a link may have, as ours are written."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        found = ip_address(value)
    except ValueError:
        raise BadValueError(f"{shown(value)} is not an IP address") from None
    if found.is_multicast or found.is_unspecified or found.is_loopback:
        raise BadValueError(f"{shown(value)} is no address of one host on a link")
    return str(found)


def several(
    value: object, *, rule: Callable[[object], Any], most: int
) -> tuple[Any, ...]:
    """One or a list, each once, at least one."""
    found = tuple(map(rule, value if isinstance(value, list) else [value]))
    for each in found:
        if found.count(each) > 1:
            raise BadValueError(f"{each} is given more than once")
    if not 1 <= len(found) <= most:
        raise BadValueError(f"{len(found)} of these; 1 to {most} are allowed")
    return found


def vlan_ids(value: object) -> tuple[int, ...]:
    """One VLAN id, or the outer and the inner one."""
    ids = value if isinstance(value, list) else [value]
    if not 1 <= len(ids) <= TAGS_MAX:
        raise BadValueError(f"{shown(value)} is not one or two VLAN ids")
    return tuple(whole_number(each, least=1, most=VLAN_MAX) for each in ids)


WATCH_RULES: Mapping[str, Callable[[object], Any]] = {
    "kind": partial(word_of, kind=WatchKind),
    "target": partial(several, rule=an_address, most=TARGETS_MAX),
    "interval_ms": partial(whole_number, least=INTERVAL_MS_MIN, most=INTERVAL_MS_MAX),
    "missed_max": partial(whole_number, least=1, most=MISSED_MAX),
    "init_wait_ms": partial(whole_number, least=0, most=INTERVAL_MS_MAX),
    "vlan": vlan_ids,
    "ports": partial(several, rule=parse_name, most=PORTS_MAX),
    "source": an_address,
    "target_mac": parse_mac,
    "answer": partial(word_of, kind=Answer),
}
"""The rule of each key of a [[lagg.watch]] table."""

_TAKEN: Mapping[str, tuple[WatchKind, ...]] = {
    "target": (WatchKind.ARP, WatchKind.NS, WatchKind.BFD),
    "init_wait_ms": (WatchKind.ARP, WatchKind.NS),
    "vlan": (WatchKind.ARP, WatchKind.NS),
    "source": (WatchKind.ARP, WatchKind.NS, WatchKind.BFD),
    "target_mac": (WatchKind.ARP, WatchKind.NS),
    "answer": (WatchKind.ARP, WatchKind.NS),
}
"""The kinds that take a key; one that is not named every kind takes."""


_NUMBERS = frozenset({"interval_ms", "missed_max", "init_wait_ms"})
_DIGITS_MAX = 9


def watches(value: object) -> tuple[LinkWatch, ...]:
    """All watches of a lagg, in the order given; may be none."""
    if not isinstance(value, list):
        raise BadValueError(f"{shown(value)} is not a list: write [[lagg.watch]]")
    if len(value) > WATCHES_MAX:
        raise BadValueError(f"{len(value)} watches; a lagg has at most {WATCHES_MAX}")
    found = [_watch(table, f"[{at}]") for at, table in enumerate(value)]
    for at, each in enumerate(found):
        if each in found[:at]:
            raise BadValueError("is given more than once", EEXIST, f"[{at}]")
        for other in filter(each.overlaps, found[:at]):
            cause = f"asks a port what {other} does"
            raise BadValueError(cause, EEXIST, f"[{at}]")
    return tuple(found)


def _watch(table: object, place: str) -> LinkWatch:
    if isinstance(table, str):
        table = _table_of(table, place)
    if not isinstance(table, dict):
        raise BadValueError(f"{shown(table)} is not a table", place=place)
    if "kind" not in table:
        raise BadValueError("kind is missing", place=place)
    values = _values(table, place)
    values["targets"] = values.pop("target", ())
    watch = LinkWatch(**values)
    _check(watch, table, place)
    return watch


_REPEATED = {"target": "target", "port": "ports"}
"""Words that may come several times, and their keys."""


def _table_of(text: str, place: str) -> dict[str, object]:
    """A watch as `--watch` has it: its kind, then words with "="."""
    kind, *words = text.split(",")
    table: dict[str, object] = {"kind": kind}
    lists: dict[str, list[object]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BadValueError(f"{shown(word)} is not as interval_ms=100", place=place)
        if key in _REPEATED:
            lists.setdefault(_REPEATED[key], []).append(value)
        elif key in table:
            raise BadValueError("is given more than once", EEXIST, f"{place}.{key}")
        elif key == "vlan":
            table[key] = [_whole(each) for each in value.split(".")]
        else:
            table[key] = _whole(value) if key in _NUMBERS else value
    return table | lists


def _whole(word: str) -> object:
    """The number, or the word itself, which its rule refuses."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _DIGITS_MAX
    return int(word) if is_number else word


def _values(table: Mapping[str, object], place: str) -> dict[str, Any]:
    """What the rules make of each key that is given."""
    for key in table:
        if key not in WATCH_RULES:
            hint = nearest(key, [*WATCH_RULES])
            cause = f"unknown key{hint}; one of {listed(WATCH_RULES)}"
            raise BadValueError(cause, place=f"{place}.{shown(key)}")
    found = {}
    for key, value in table.items():
        try:
            found[key] = WATCH_RULES[key](value)
        except BadValueError as bad:
            raise BadValueError(bad.cause, bad.code, f"{place}.{key}") from None
    return found


def _check(watch: LinkWatch, given: Collection[str], place: str) -> None:
    """What holds between the keys of one watch."""
    for key, kinds in _TAKEN.items():
        if key in given and watch.kind not in kinds:
            cause = f"{watch.kind.value} takes none"
            raise BadValueError(cause, place=f"{place}.{key}")
    _check_addresses(watch, place)


def _check_addresses(watch: LinkWatch, place: str) -> None:
    kind = watch.kind
    families = _FAMILIES[kind]
    if kind is WatchKind.BFD:
        _check_bfd(watch, place)
    elif families and not watch.targets:
        raise BadValueError(f"{kind.value} needs a target", place=place)
    sources = () if watch.source is None else (watch.source,)
    for key, addresses in (("target", watch.targets), ("source", sources)):
        for each in addresses:
            if not isinstance(ip_address(each), families):
                wanted = "an IPv4" if families == (IPv4Address,) else "an IPv6"
                cause = f"{each} is not {wanted} address, as {kind.value} needs it"
                raise BadValueError(cause, place=f"{place}.{key}")


def _check_bfd(watch: LinkWatch, place: str) -> None:
    """A session of RFC 7130 has both addresses, one as Open vSwitch's has none."""
    if len(watch.targets) > 1:
        raise BadValueError("bfd takes one", place=f"{place}.target")
    ends = (*watch.targets, *filter(None, (watch.source,)))
    if len(ends) == 1:
        cause = (
            "bfd needs target and source, the partner's address and ours, or neither"
        )
        raise BadValueError(cause, place=place)
    if len({ip_address(each).version for each in ends}) > 1:
        raise BadValueError("is not of the target's family", place=f"{place}.source")


def watch_table(watch: LinkWatch) -> dict[str, object]:
    """The watch as a table: what `watches` reads, without what is usual."""
    table: dict[str, object] = {"kind": watch.kind.value}
    for each in fields(watch)[1:]:
        value = getattr(watch, each.name)
        if value == each.default:
            continue
        key = "target" if each.name == "targets" else each.name
        table[key] = [*value] if isinstance(value, tuple) else value
        if isinstance(value, Enum):
            table[key] = value.value
    return table
