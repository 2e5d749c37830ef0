# SPDX-License-Identifier: BSD-2-Clause
"""What a user may ask for: TOML files and control requests -> LaggConfig, LaggChange.

Owns every rule about names, protocols, options and values, once for both sources,
and the wording of a complaint.  Pure but for load(path); knows no kernel or socket.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from errno import EBUSY, EEXIST, EINVAL, ENOSPC, EPROTONOSUPPORT
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from lagg.errors import UsageError
from lagg.model import (
    PORTS_MAX,
    HashKind,
    HashLayer,
    LaggChange,
    LaggConfig,
    Options,
    OptionValue,
    Proto,
)

NAME_BYTES_MAX = 15
"""The kernel's IFNAMSIZ less its NUL."""

MTU_MIN = 68
MTU_MAX = 65521
"""Bytes; what a TAP accepts, and a lagg is a TAP."""

U32_MAX = 2**32 - 1

NOT_YET_PROTOS = ("lacp",)
NOT_YET_OPTIONS = (
    "lacp_strict",
    "lacp_fast_timeout",
    "lacp_txtest",
    "lacp_rxtest",
)

_SHOWN_CHARS = 40
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: `key` as "lagg0: rr_limit", and what is allowed."""

    key: str
    cause: str
    code: int = EINVAL

    def __str__(self) -> str:
        """Key and cause as a user reads them; the file's level has no key."""
        return f"{self.key}: {self.cause}" if self.key else self.cause


class ConfigError(Exception):
    """A configuration nothing of which was applied; every complaint about it."""

    def __init__(self, file: str, complaints: Sequence[Complaint]) -> None:
        super().__init__(file, tuple(complaints))
        self.file = file
        self.complaints = tuple(complaints)

    def __str__(self) -> str:
        """One line per complaint, each with the file and the key."""
        return "\n".join(f"{self.file}: {each}" for each in self.complaints)


class _BadValueError(Exception):
    """A value that a rule refuses; the caller knows the key."""

    def __init__(self, cause: str, code: int = EINVAL) -> None:
        super().__init__(cause)
        self.cause = cause
        self.code = code


def load(path: Path) -> tuple[LaggConfig, ...]:
    """The laggs that a TOML file asks for.  Raises ConfigError."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        cause = f"cannot be read: {error.strerror}"
        raise ConfigError(str(path), [Complaint("", cause)]) from error
    except UnicodeDecodeError as error:
        cause = f"not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError(str(path), [Complaint("", cause)]) from error
    return parse_toml(text, str(path))


def parse_toml(text: str, file: str) -> tuple[LaggConfig, ...]:
    """As load, of text already read; `file` is what complaints call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, [Complaint("", f"not TOML: {error}")]) from error
    except (RecursionError, ValueError) as error:
        # Deep nesting, and integers of more digits than Python converts.
        cause = f"not acceptable TOML: {error}"
        raise ConfigError(file, [Complaint("", cause)]) from error
    reading = _Reading()
    configs = _read_document(reading, document)
    if reading.complaints:
        raise ConfigError(file, reading.complaints)
    return tuple(config for config in configs if config)


def parse_create(name: object, wanted: Mapping[str, object]) -> LaggConfig:
    """A LaggConfig from a request; `wanted` uses the keys of a [[lagg]] table.

    Raises UsageError with the first complaint.
    """
    reading = _Reading()
    config = _read_lagg(reading, {"name": name, **wanted}, _plain(name))
    _raise_first(reading)
    return cast(LaggConfig, config)


def parse_set(name: object, wanted: Mapping[str, object]) -> LaggChange:
    """A LaggChange from a request, with the rules of parse_create."""
    reading = _Reading()
    title = _plain(name)
    reading.value(title, parse_name, name)
    _refuse_unknown(reading, title, wanted, ("proto", "mac", "mtu", *OPTION_RULES))
    basics = _read_keys(reading, title, wanted, _CHANGE_RULES)
    options = _read_keys(reading, title, wanted, OPTION_RULES)
    _raise_first(reading)
    return LaggChange(**cast(dict[str, Any], basics), options=tuple(options.items()))


def parse_lagg_name(name: object) -> str:
    """The name of a lagg in a request.  Raises UsageError."""
    reading = _Reading()
    found = reading.value(_plain(name), parse_name, name)
    _raise_first(reading)
    return cast(str, found)


def parse_port_names(name: object, ports: object) -> tuple[str, ...]:
    """The ports of an attach or detach of lagg `name`, each once.

    Raises UsageError.
    """
    reading = _Reading()
    title = _plain(name)
    reading.value(title, parse_name, name)
    found = _read_ports(reading, title, ports, repeats_allowed=True)
    if ports == []:
        reading.complain(title, "no port is named")
    _raise_first(reading)
    return found


def parse_name(value: object) -> str:
    """An interface name as the kernel accepts it, without its traps."""
    if not isinstance(value, str):
        raise _BadValueError(f"{_shown(value)} is not an interface name")
    if value in ("", ".", "..", "all", "default"):
        # "all" and "default" would mean every interface under /proc/sys/net.
        raise _BadValueError(f"{_shown(value)} cannot name an interface")
    if len(value.encode(errors="replace")) > NAME_BYTES_MAX:
        raise _BadValueError(f"{_shown(value)} has more than {NAME_BYTES_MAX} bytes")
    # The kernel would number a name with "%d" by itself.
    if any(c in "/:%" or c.isspace() or not c.isprintable() for c in value):
        raise _BadValueError(f"{_shown(value)} holds a character no name may hold")
    return value


def parse_proto(value: object) -> Proto:
    """A protocol by lagg(4)'s word.  EPROTONOSUPPORT as SIOCSLAGG answers."""
    words = [proto.value for proto in Proto]
    if value in words:
        return Proto(value)
    if not isinstance(value, str):
        raise _BadValueError(f"{_shown(value)} is not one of {_listed(words)}")
    if value in NOT_YET_PROTOS:
        raise _BadValueError(f"{value} is not supported yet", EPROTONOSUPPORT)
    cause = f"no such protocol {_shown(value)}{_nearest(value, words)}"
    raise _BadValueError(f"{cause}; one of {_listed(words)}", EPROTONOSUPPORT)


def parse_mac(value: object) -> str:
    """A unicast MAC address, in lower case."""
    wanted = "a unicast MAC address such as 02:00:5e:00:53:01"
    octets = value.split(":") if isinstance(value, str) else []
    if len(octets) != 6 or not all(_is_octet(each) for each in octets):
        raise _BadValueError(f"{_shown(value)} is not {wanted}")
    if int(octets[0], 16) & 1 or not any(int(each, 16) for each in octets):
        raise _BadValueError(f"{_shown(value)} is multicast or zero, not {wanted}")
    return ":".join(octets).lower()


def _is_octet(text: str) -> bool:
    return len(text) == 2 and all(c in "0123456789abcdefABCDEF" for c in text)


def _whole_number(value: object, *, least: int, most: int) -> int:
    # A bool is an int to Python, and to no user.
    if type(value) is not int or not least <= value <= most:
        cause = f"{_shown(value)} is not a whole number from {least} to {most}"
        raise _BadValueError(cause)
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise _BadValueError(f"{_shown(value)} is neither true nor false")
    return value


def _hash_kind(value: object) -> HashKind:
    words = [kind.value for kind in HashKind]
    if value not in words:
        cause = f"{_shown(value)} is not one of {_listed(words)}"
        raise _BadValueError(cause + _nearest(value, words))
    return HashKind(value)


def _layers(value: object) -> tuple[HashLayer, ...]:
    words = [layer.value for layer in HashLayer]
    if not isinstance(value, list) or not value:
        cause = f"{_shown(value)} is not a list of one or more of {_listed(words)}"
        raise _BadValueError(cause)
    for each in value:
        if each not in words:
            raise _BadValueError(f"no layer {_shown(each)}; any of {_listed(words)}")
        if value.count(each) > 1:
            raise _BadValueError(f"{each} is given more than once")
    return tuple(layer for layer in HashLayer if layer.value in value)


_u32 = partial(_whole_number, least=0, most=U32_MAX)
_mtu = partial(_whole_number, least=MTU_MIN, most=MTU_MAX)

OPTION_RULES: Mapping[str, Callable[[object], OptionValue]] = {
    "lagghash": _layers,
    "hash": _hash_kind,
    "hash_seed": _u32,
    "use_flowid": _switch,
    "flowid_shift": partial(_whole_number, least=0, most=31),
    "rr_limit": partial(_whole_number, least=1, most=U32_MAX),
    "failover_rx_all": _switch,
}
"""The rule of every field of Options."""

_CHANGE_RULES: Mapping[str, Callable[[object], object]] = {
    "proto": parse_proto,
    "mac": parse_mac,
    "mtu": _mtu,
}
_LAGG_KEYS = ("name", "proto", "ports", "mac", "mtu", "port", *OPTION_RULES)


class _Reading:
    """One reading of a request or file: collects what is wrong and goes on."""

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []

    def complain(self, key: str, cause: str, code: int = EINVAL) -> None:
        self.complaints.append(Complaint(key, cause, code))

    def value(self, key: str, rule: Callable[[object], _T], value: object) -> _T | None:
        """What `rule` makes of the value, or None and a complaint."""
        try:
            return rule(value)
        except _BadValueError as bad:
            self.complain(key, bad.cause, bad.code)
            return None


def _read_document(
    reading: _Reading, document: Mapping[str, object]
) -> list[LaggConfig | None]:
    _refuse_unknown(reading, "", document, ("lagg",))
    tables = document.get("lagg", [])
    if not isinstance(tables, list):
        reading.complain("lagg", "write [[lagg]], one for each lagg")
        return []
    configs = [_read_table(reading, table, at) for at, table in enumerate(tables)]
    named = [config for config in configs if config]
    _refuse_shared_names(reading, named)
    _refuse_shared_ports(reading, named)
    return configs


def _read_table(reading: _Reading, table: object, at: int) -> LaggConfig | None:
    title = f"lagg[{at}]"
    if not isinstance(table, dict):
        reading.complain(title, f"{_shown(table)} is not a table: write [[lagg]]")
        return None
    name = table.get("name")
    return _read_lagg(reading, table, name if isinstance(name, str) else title)


def _read_lagg(
    reading: _Reading, table: Mapping[str, object], title: str
) -> LaggConfig | None:
    """The lagg of one table; None only when it cannot be named."""
    _refuse_unknown(reading, title, table, _LAGG_KEYS)
    if "name" not in table:
        reading.complain(title, "name is missing")
        return None
    name = reading.value(f"{title}: name", parse_name, table["name"])
    ports = _read_ports(reading, title, table.get("ports", []))
    if name in ports:
        reading.complain(f"{title}: port {name}", "a lagg cannot be its own port")
    _read_port_tables(reading, title, table.get("port", {}), ports)
    basics = _read_keys(reading, title, table, _CHANGE_RULES)
    options = _read_keys(reading, title, table, OPTION_RULES)
    if name is None:
        return None
    return LaggConfig(
        name,
        ports=ports,
        options=Options(**cast(dict[str, Any], options)),
        **cast(dict[str, Any], basics),
    )


def _read_keys(
    reading: _Reading,
    title: str,
    table: Mapping[str, object],
    rules: Mapping[str, Callable[[object], _T]],
) -> dict[str, _T]:
    found = {
        key: reading.value(f"{title}: {key}", rule, table[key])
        for key, rule in rules.items()
        if key in table
    }
    return {key: value for key, value in found.items() if value is not None}


def _read_ports(
    reading: _Reading, title: str, value: object, *, repeats_allowed: bool = False
) -> tuple[str, ...]:
    if not isinstance(value, list):
        cause = f"{_shown(value)} is not a list of interface names"
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


def _read_port(reading: _Reading, title: str, value: object) -> str | None:
    return reading.value(f"{title}: port {_plain(value)}", parse_name, value)


def _read_port_tables(
    reading: _Reading, title: str, tables: object, ports: Sequence[str]
) -> None:
    """[lagg.port.NAME]: the place of settings per port, of which there is none yet."""
    if not isinstance(tables, dict):
        reading.complain(
            f"{title}: port",
            f"write [lagg.port.{ports[0]}]" if ports else "write [lagg.port.NAME]",
        )
        return
    for port, table in tables.items():
        key = f"{title}: port.{port}"
        if port not in ports:
            known = f"; one of {_listed(ports)}" if ports else ""
            cause = f"is not in ports{_nearest(port, ports)}{known}"
            reading.complain(key, cause)
        if not isinstance(table, dict):
            reading.complain(key, f"{_shown(table)} is not a table")
        elif table:
            cause = f"unknown key {_listed(table)}: a port has no settings yet"
            reading.complain(key, cause)


def _refuse_unknown(
    reading: _Reading, title: str, table: Iterable[str], known: Sequence[str]
) -> None:
    for key in table:
        if key in known:
            continue
        where = f"{title}: {_plain(key)}" if title else _plain(key)
        if key in NOT_YET_OPTIONS:
            reading.complain(where, "LACP is not supported yet")
        else:
            hint = _nearest(key, known)
            reading.complain(where, f"unknown key{hint}; one of {_listed(known)}")


def _refuse_shared_names(reading: _Reading, configs: Sequence[LaggConfig]) -> None:
    names = [config.name for config in configs]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            cause = f"{names.count(name)} laggs have this name"
            reading.complain(f"{name}: name", cause, EEXIST)


def _refuse_shared_ports(reading: _Reading, configs: Sequence[LaggConfig]) -> None:
    owners: dict[str, str] = {}
    laggs = {config.name for config in configs}
    for config in configs:
        for port in config.ports:
            key = f"{config.name}: port {port}"
            owner = owners.setdefault(port, config.name)
            if owner != config.name:
                reading.complain(key, f"already a port of {owner}", EBUSY)
            if port in laggs and port != config.name:
                reading.complain(key, "a lagg cannot be the port of a lagg")


def _raise_first(reading: _Reading) -> None:
    """A control answer is one line, so the first complaint stands for all."""
    if reading.complaints:
        first = reading.complaints[0]
        raise UsageError(first.key, first.cause, first.code)


def _plain(value: object) -> str:
    """A name for a message: itself if it is one, else made harmless to print."""
    if not isinstance(value, str) or not value.isprintable():
        return _shown(value)
    return value if 0 < len(value) <= _SHOWN_CHARS else _shown(value)


def _shown(value: object) -> str:
    """The value as it was written, short enough for a line."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to print an integer of thousands of digits.
        return "a huge number"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _nearest(word: object, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(word), words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
