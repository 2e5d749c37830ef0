# SPDX-License-Identifier: BSD-2-Clause
"""Which rule each key of a file or request has.

Owns the tables; an option's rule is made of its row in lagg/options.py.  Pure;
requests.py reads by these rules.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial

from lagg.config.rules import (
    MTU_MAX,
    MTU_MIN,
    BadValueError,
    altnames,
    layers,
    mac_or_auto,
    name_or_none,
    parse_mac,
    parse_name,
    parse_proto,
    pins,
    shown,
    switch,
    whole_number,
    word_of,
)
from lagg.config.watches import watches
from lagg.model import Options, OptionValue, PortOptions
from lagg.option_row import Kind, Option, Whole
from lagg.options import OPTIONS
from lagg.port_options import PORT_OPTIONS

_RULES_OF_KIND: Mapping[Kind, Callable[[object], OptionValue]] = {
    Kind.SWITCH: switch,
    Kind.MAC: mac_or_auto,
    Kind.LAYERS: layers,
    Kind.NAMES: altnames,
    Kind.NAME: name_or_none,
    Kind.PINS: pins,
    Kind.WATCHES: watches,
}
"""The rule of each kind but WORD, whose words are its default's enumeration."""


def rules_of(
    rows: Iterable[Option], defaults: Options | PortOptions
) -> dict[str, Callable[[object], OptionValue]]:
    """The rule of each option, by its key."""
    return {row.key: _rule_of(row, getattr(defaults, row.key)) for row in rows}


def _rule_of(row: Option, default: OptionValue) -> Callable[[object], OptionValue]:
    if isinstance(row.value, Whole):
        return partial(whole_number, **row.value._asdict())
    if isinstance(default, Enum):
        return partial(word_of, kind=type(default))
    return _RULES_OF_KIND[row.value]


OPTION_RULES = rules_of(OPTIONS, Options())
"""The rule of every field of Options."""

PORT_RULES = rules_of(PORT_OPTIONS, PortOptions())
"""The rule of every field of PortOptions."""

BASIC_RULES: Mapping[str, Callable[[object], object]] = {
    "proto": parse_proto,
    "mac": parse_mac,
    "mtu": partial(whole_number, least=MTU_MIN, most=MTU_MAX),
}
"""The rule of what else may be set."""


HOLD_MS_MAX = 86_400_000
"""A day; who holds a port or pins a bucket for longer says when it is over."""


def _times_by_port(value: object) -> dict[str, int]:
    """Milliseconds for each port."""
    if not isinstance(value, dict):
        raise BadValueError(f"{shown(value)} is not a time for each port")
    return {
        parse_name(port): whole_number(time_ms, least=1, most=HOLD_MS_MAX)
        for port, time_ms in value.items()
    }


SET_RULES: Mapping[str, Callable[[object], object]] = {
    **BASIC_RULES,
    "active": lambda value: name_or_none(value) or "",
    "hold_for_ms": _times_by_port,
}
"""What may be set of a lagg that runs, beside its options."""
