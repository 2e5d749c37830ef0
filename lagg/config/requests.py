# SPDX-License-Identifier: BSD-2-Clause
"""What a user may ask for: a table or a request -> LaggConfig, LaggChange.

Owns what may stand where, once for files and control requests, and how complaints are
collected; what a value may be says rules.py.  Pure; knows no file, kernel or socket.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import EEXIST, EINVAL, ENOSPC
from functools import partial
from typing import Any, TypeVar, cast

from lagg.config.keys import (
    BASIC_RULES,
    HOLD_MS_MAX,
    OPTION_RULES,
    PORT_RULES,
    SET_RULES,
)
from lagg.config.rules import (
    SHOWN_CHARS,
    BadValueError,
    bucket_number,
    listed,
    parse_any_name,
    parse_name,
    shown,
    whole_number,
)
from lagg.errors import BadRequestError, nearest
from lagg.frozen import dataclass
from lagg.model import (
    CONFIRM_MS_MAX,
    CONFIRM_MS_MIN,
    LaggChange,
    LaggConfig,
    Manner,
    Options,
    OptionValue,
    Pin,
    PortOptions,
    senseless,
)
from lagg.options import PORTS_MAX
from lagg.watches import LinkWatch

ETHER_BYTES = 14
"""An Ethernet header; no frame is shorter."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: `key` as "lagg0: rr_limit", and what is allowed."""

    key: str
    cause: str
    code: int = EINVAL
    file: str = ""  # none: of a request

    def __str__(self) -> str:
        """File, key and cause as a user reads them; the file's level has no key."""
        return ": ".join(word for word in (self.file, self.key, self.cause) if word)


def parse_create(name: object, wanted: Mapping[str, object]) -> LaggConfig:
    """A LaggConfig from a request; `wanted` uses the keys of a [[lagg]] table.

    Raises BadRequestError with the first complaint.
    """
    reading = Reading()
    config = read_lagg(reading, {"name": name, **wanted}, _plain(name))
    _raise_first(reading)
    return cast(LaggConfig, config)


def parse_set(name: object, wanted: Mapping[str, object]) -> LaggChange:
    """A LaggChange from a request, with the rules of parse_create."""
    reading = Reading()
    title = _plain(name)
    reading.value(title, parse_any_name, name)
    known = ("proto", "mac", "mtu", "active", "hold_for_ms", "port", *OPTION_RULES)
    refuse_unknown(reading, title, wanted, known)
    basics = _read_keys(reading, title, wanted, SET_RULES)
    options = _read_keys(reading, title, wanted, OPTION_RULES)
    port_options = _read_port_tables(reading, title, wanted.get("port", {}))
    _raise_first(reading)
    return LaggChange(
        **cast(dict[str, Any], basics),
        options=tuple(options.items()),
        port_options={
            port: tuple(table.items()) for port, table in port_options.items()
        },
    )


def parse_lagg_name(name: object) -> str:
    """What a request calls a lagg that is there.  Raises BadRequestError."""
    reading = Reading()
    found = reading.value(_plain(name), parse_any_name, name)
    _raise_first(reading)
    return cast(str, found)


def parse_port_names(name: object, ports: object) -> tuple[str, ...]:
    """The ports of an attach or detach of lagg `name`, each once.

    Raises BadRequestError.
    """
    reading = Reading()
    title = _plain(name)
    reading.value(title, parse_any_name, name)
    found = _read_ports(reading, title, ports, repeats_allowed=True)
    if ports == []:
        reading.complain(title, "no port is named")
    _raise_first(reading)
    return found


def parse_frame(name: object, frame: str) -> bytes:
    """The Ethernet frame of a question about lagg `name`.  Raises BadRequestError."""
    try:
        found = bytes.fromhex(frame)
    except ValueError:
        raise BadRequestError(f"{_plain(name)}: frame", "not hexadecimal") from None
    if len(found) < ETHER_BYTES:
        cause = f"{len(found)} bytes are shorter than an Ethernet header"
        raise BadRequestError(f"{_plain(name)}: frame", cause)
    return found


def parse_spot(name: object, bucket: object, frame: str | None) -> int | bytes:
    """The bucket that a request for lagg `name` means, by number or by frame."""
    if (bucket is None) == (frame is None):
        cause = "give a bucket, or a frame of a flow in it"
        raise BadRequestError(_plain(name), cause)
    if frame is not None:
        return parse_frame(name, frame)
    reading = Reading()
    found = reading.value(f"{_plain(name)}: bucket", bucket_number, bucket)
    _raise_first(reading)
    return cast(int, found)


def parse_time(name: object, for_ms: object) -> int | None:
    """For how long something is to be; None: for good.  Raises BadRequestError."""
    if for_ms is None:
        return None
    reading = Reading()
    rule = partial(whole_number, least=1, most=HOLD_MS_MAX)
    found = reading.value(f"{_plain(name)}: for_ms", rule, for_ms)
    _raise_first(reading)
    return cast(int, found)


def parse_manner(name: object, dry_run: bool, confirm_ms: object) -> Manner:
    """How a change is to be made.  Raises BadRequestError."""
    if confirm_ms is None:
        return Manner(rehearsed=dry_run)
    reading = Reading()
    rule = partial(whole_number, least=CONFIRM_MS_MIN, most=CONFIRM_MS_MAX)
    found = reading.value(f"{_plain(name)}: confirm_ms", rule, confirm_ms)
    _raise_first(reading)
    return Manner(rehearsed=dry_run, confirm_ms=found)


_LAGG_KEYS = ("name", "proto", "ports", "mac", "mtu", "port", *OPTION_RULES)


class Reading:
    """One reading of a request or file: collects what is wrong and goes on."""

    def __init__(self, file: str = "") -> None:
        """`file` is what complaints call the source."""
        self.complaints: list[Complaint] = []
        self._file = file

    def complain(self, key: str, cause: str, code: int = EINVAL) -> None:
        """Notes what is wrong with the value of `key`."""
        self.complaints.append(Complaint(key, cause, code, self._file))

    def value(self, key: str, rule: Callable[[object], _T], value: object) -> _T | None:
        """What `rule` makes of the value, or None and a complaint."""
        try:
            return rule(value)
        except BadValueError as bad:
            self.complain(f"{key}{bad.place}", bad.cause, bad.code)
            return None


def read_lagg(
    reading: Reading, table: Mapping[str, object], title: str
) -> LaggConfig | None:
    """The lagg of one table; None only when it cannot be named."""
    refuse_unknown(reading, title, table, _LAGG_KEYS)
    if "name" not in table:
        reading.complain(title, "name is missing")
        return None
    name = reading.value(f"{title}: name", parse_name, table["name"])
    ports = _read_ports(reading, title, table.get("ports", []))
    if name in ports:
        reading.complain(f"{title}: port {name}", "a lagg cannot be its own port")
    port_options = _read_port_tables(reading, title, table.get("port", {}))
    _refuse_strangers(reading, title, port_options, ports)
    basics = _read_keys(reading, title, table, BASIC_RULES)
    options = _read_keys(reading, title, table, OPTION_RULES)
    primary = cast(str | None, options.get("primary"))
    if primary is not None and primary not in ports:
        cause = f"{primary} is not in ports{nearest(primary, ports)}"
        reading.complain(f"{title}: primary", cause)
    _refuse_strange_watches(reading, title, options.get("watch", ()), ports)
    _refuse_strange_pins(reading, title, options.get("pin", ()), ports)
    if name in cast(tuple[str, ...], options.get("altname", ())):
        reading.complain(f"{title}: altname", f"{name} is its name already", EEXIST)
    if name is None:
        return None
    config = LaggConfig(
        name,
        ports=ports,
        options=Options(**cast(dict[str, Any], options)),
        port_options={
            port: PortOptions(**cast(dict[str, Any], chosen))
            for port, chosen in port_options.items()
        },
        **cast(dict[str, Any], basics),
    )
    why = senseless(config.proto, config.options)
    if why is not None:
        reading.complain(f"{title}: mac_policy", why)
    return config


def _read_keys(
    reading: Reading,
    title: str,
    table: Mapping[str, object],
    rules: Mapping[str, Callable[[object], _T]],
) -> dict[str, _T]:
    found = {}
    for key, rule in rules.items():
        if key in table:
            complaints = len(reading.complaints)
            value = reading.value(f"{title}: {key}", rule, table[key])
            # None is a value, too, of an option that goes back to what is drawn.
            if len(reading.complaints) == complaints:
                found[key] = cast(_T, value)
    return found


def _read_ports(
    reading: Reading, title: str, value: object, *, repeats_allowed: bool = False
) -> tuple[str, ...]:
    if not isinstance(value, list):
        cause = f"{shown(value)} is not a list of interface names"
        reading.complain(f"{title}: ports", cause)
        return ()
    names = [_read_port(reading, title, each) for each in value]
    ports = tuple(dict.fromkeys(name for name in names if name))
    if not repeats_allowed:
        for port in ports:
            if names.count(port) > 1:
                reading.complain(f"{title}: port {port}", "is listed twice", EEXIST)
    if len(ports) > PORTS_MAX:
        cause = f"{len(ports)} ports; a lagg has at most {PORTS_MAX}"
        reading.complain(f"{title}: ports", cause, ENOSPC)
    return ports


def _read_port(reading: Reading, title: str, value: object) -> str | None:
    return reading.value(f"{title}: port {_plain(value)}", parse_name, value)


def _read_port_tables(
    reading: Reading, title: str, tables: object
) -> dict[str, dict[str, OptionValue]]:
    """[lagg.port.NAME]: settings per port, which it keeps while it is no port, too."""
    if not isinstance(tables, dict):
        reading.complain(f"{title}: port", "write [lagg.port.NAME]")
        return {}
    found = {}
    for port, table in tables.items():
        key = f"{title}: port.{_plain(port)}"
        name = reading.value(key, parse_name, port)
        if not isinstance(table, dict):
            reading.complain(key, f"{shown(table)} is not a table")
        elif name is not None:
            refuse_unknown(reading, key, table, tuple(PORT_RULES))
            found[name] = _read_keys(reading, key, table, PORT_RULES)
    return found


def _refuse_strangers(
    reading: Reading, title: str, named: Iterable[str], ports: Sequence[str]
) -> None:
    """Complains about settings for a port that is none of the lagg's: a slip."""
    for port in named:
        if port not in ports:
            known = f"; one of {listed(ports)}" if ports else ""
            cause = f"is not in ports{nearest(port, ports)}{known}"
            reading.complain(f"{title}: port.{port}", cause)


def _refuse_strange_watches(
    reading: Reading, title: str, watches: OptionValue, ports: Sequence[str]
) -> None:
    """Complains about watches of ports that are none of the lagg's."""
    for at, watch in enumerate(cast(tuple[LinkWatch, ...], watches)):
        for port in watch.ports:
            if port not in ports:
                cause = f"{port} is not in ports{nearest(port, ports)}"
                reading.complain(f"{title}: watch[{at}].ports", cause)


def _refuse_strange_pins(
    reading: Reading, title: str, pins: OptionValue, ports: Sequence[str]
) -> None:
    """Complains about buckets pinned to ports that are none of the lagg's."""
    for at, pin in enumerate(cast(tuple[Pin, ...], pins)):
        if pin.port not in ports:
            cause = f"{pin.port} is not in ports{nearest(pin.port, ports)}"
            reading.complain(f"{title}: pin[{at}]", cause)


def refuse_unknown(
    reading: Reading, title: str, table: Iterable[str], known: Sequence[str]
) -> None:
    """Complains about each key of a table that is not `known`, with the nearest."""
    for key in table:
        if key in known:
            continue
        where = f"{title}: {_plain(key)}" if title else _plain(key)
        hint = nearest(key, known)
        reading.complain(where, f"unknown key{hint}; one of {listed(known)}")


def _raise_first(reading: Reading) -> None:
    """A control answer is one line, so the first complaint stands for all."""
    if reading.complaints:
        first = reading.complaints[0]
        raise BadRequestError(first.key, first.cause, first.code)


def _plain(value: object) -> str:
    """A name for a message; one that is no name is made harmless to print."""
    if not isinstance(value, str) or not value.isprintable():
        return shown(value)
    return value if 0 < len(value) <= SHOWN_CHARS else shown(value)
