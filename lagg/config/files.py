# SPDX-License-Identifier: BSD-2-Clause
"""Configuration files: which there are, what they say together, what is wrong.

Owns the order of files and the rules that hold between laggs.  What a single lagg may
say is requests.py's.  Reads files; knows no kernel and no running lagg.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from errno import EBUSY, EEXIST
from pathlib import Path

from lagg.config.requests import Complaint, Reading, read_lagg, refuse_unknown
from lagg.config.rules import shown
from lagg.config.watches import watch_table
from lagg.frozen import dataclass
from lagg.model import LaggConfig, Options, Pin, PortOptions, differences
from lagg.watches import LinkWatch

FILE_BYTES_MAX = 4 << 20
"""A thousand laggs with 32 ports each; more is no configuration."""


class ConfigError(Exception):
    """A configuration nothing of which was applied; every complaint about it."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        """`complaints` in the order in which they are told; at least one."""
        super().__init__(tuple(complaints))
        self.complaints = tuple(complaints)

    def __str__(self) -> str:
        """One line per complaint, each with the file and the key."""
        return "\n".join(map(str, self.complaints))


@dataclass(frozen=True, slots=True)
class _Found:
    """A lagg, where it was found, and the reading that hears what is wrong with it."""

    config: LaggConfig
    file: str
    reading: Reading


def load(path: Path, *, required: bool = True) -> tuple[LaggConfig, ...]:
    """The laggs that a file and the directory beside it ask for, or a directory's.

    Beside laggd.toml that is laggd.d; its *.toml are read in the order of their names.
    A file that is not there is a complaint unless it is not `required`.  Raises
    ConfigError with every complaint about every file.
    """
    first = Reading(str(path))
    readings = [first]
    found: list[_Found] = []
    for file in _sources(first, path, required):
        reading = Reading(str(file))
        readings.append(reading)
        found += _found_in(reading, _read(reading, file), str(file))
    return _all_good(readings, found)


def parse_toml(text: str, file: str) -> tuple[LaggConfig, ...]:
    """The laggs that one text asks for; complaints call it `file`.  ConfigError."""
    reading = Reading(file)
    return _all_good([reading], _found_in(reading, text, file))


def _all_good(
    readings: Iterable[Reading], found: Sequence[_Found]
) -> tuple[LaggConfig, ...]:
    _refuse_shared_names(found)
    _refuse_shared_ports(found)
    _refuse_shared_altnames(found)
    complaints = [each for reading in readings for each in reading.complaints]
    if complaints:
        raise ConfigError(complaints)
    return tuple(each.config for each in found)


def _sources(first: Reading, path: Path, required: bool) -> list[Path]:
    """The files in the order in which they are read."""
    try:
        if path.is_dir():
            mains = _listed(path)
            if not mains:
                first.complain("", "no *.toml file in it")
        else:
            mains = [path] if required or path.exists() else []
        drop_ins = [path.with_suffix(".d")] if not path.is_dir() else []
        drop_ins += [main.with_suffix(".d") for main in mains if main != path]
        return [*mains, *(f for d in drop_ins if d.is_dir() for f in _listed(d))]
    except OSError as error:
        first.complain("", f"cannot be read: {error.strerror}")
        return []


def _listed(directory: Path) -> list[Path]:
    """The directory's *.toml, without the hidden files of editors."""
    names = directory.glob("*.toml")
    return sorted(each for each in names if not each.name.startswith("."))


def _read(reading: Reading, file: Path) -> str | None:
    """The text of a file, or None and a complaint."""
    try:
        if file.is_fifo():
            raise OSError(0, "it is a pipe")  # and who reads it may wait for ever
        with file.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        reading.complain("", f"cannot be read: {error.strerror}")
        return None
    if len(text) > FILE_BYTES_MAX:
        reading.complain("", f"has more than {FILE_BYTES_MAX} bytes")
        return None
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        reading.complain("", f"not UTF-8: byte {error.start} is {byte:#04x}")
        return None


def _found_in(reading: Reading, text: str | None, file: str) -> list[_Found]:
    document = {} if text is None else _document(reading, text)
    configs = _read_document(reading, document)
    return [_Found(config, file, reading) for config in configs if config]


def _document(reading: Reading, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reading.complain("", f"not TOML: {error}")
    except (RecursionError, ValueError) as error:
        # Deep nesting, and integers of more digits than Python converts.
        reading.complain("", f"not acceptable TOML: {error}")
    return {}


def _read_document(
    reading: Reading, document: Mapping[str, object]
) -> list[LaggConfig | None]:
    refuse_unknown(reading, "", document, ("lagg",))
    tables = document.get("lagg", [])
    if not isinstance(tables, list):
        reading.complain("lagg", "write [[lagg]], one for each lagg")
        return []
    return [_read_table(reading, table, at) for at, table in enumerate(tables)]


def _read_table(reading: Reading, table: object, at: int) -> LaggConfig | None:
    title = f"lagg[{at}]"
    if not isinstance(table, dict):
        reading.complain(title, f"{shown(table)} is not a table: write [[lagg]]")
        return None
    name = table.get("name")
    named = isinstance(name, str) and name.isprintable()
    return read_lagg(reading, table, str(name) if named else title)


def _refuse_shared_names(found: Sequence[_Found]) -> None:
    firsts: dict[str, _Found] = {}
    for each in found:
        name = each.config.name
        first = firsts.setdefault(name, each)
        if first is not each:
            cause = f"there is a lagg of this name already{_elsewhere(first, each)}"
            each.reading.complain(f"{name}: name", cause, EEXIST)


def _refuse_shared_ports(found: Sequence[_Found]) -> None:
    owners: dict[str, _Found] = {}
    laggs = {each.config.name for each in found}
    for each in found:
        name = each.config.name
        for port in each.config.ports:
            key = f"{name}: port {port}"
            owner = owners.setdefault(port, each)
            if owner.config.name != name:
                where = f"{owner.config.name}{_elsewhere(owner, each)}"
                each.reading.complain(key, f"already a port of {where}", EBUSY)
            if port in laggs and port != name:
                each.reading.complain(key, "a lagg cannot be the port of a lagg")


def _refuse_shared_altnames(found: Sequence[_Found]) -> None:
    """The kernel knows one interface by a name, whichever kind of name it is."""
    owners = {each.config.name: each for each in found}
    for each in found:
        for name in each.config.options.altname:
            owner = owners.setdefault(name, each)
            if owner is not each:
                where = f"{owner.config.name}{_elsewhere(owner, each)}"
                cause = f"{name} is a name of {where}"
                each.reading.complain(f"{each.config.name}: altname", cause, EEXIST)


def _elsewhere(first: _Found, each: _Found) -> str:
    """The words that name the other file, empty when it is this one."""
    return "" if first.file == each.file else f", in {first.file}"


def to_toml(configs: Iterable[LaggConfig]) -> str:
    """A file that asks for these laggs; what is default and None is left out."""
    return "\n".join(map(_table, configs))


def _table(config: LaggConfig) -> str:
    pairs: list[tuple[str, object]] = [("name", config.name), ("proto", config.proto)]
    pairs += [("ports", config.ports), ("mac", config.mac), ("mtu", config.mtu)]
    plain = Options()
    pairs += [
        (field.name, getattr(config.options, field.name))
        for field in fields(Options)
        if field.name != "watch"
        and getattr(config.options, field.name) != getattr(plain, field.name)
    ]
    lines = [f"{key} = {_toml(value)}" for key, value in pairs if value is not None]
    ports = {p: o for p, o in config.port_options.items() if p in config.ports}
    watches = _watch_lines(config.options.watch)
    return "\n".join(("[[lagg]]", *lines, *watches, *_port_lines(ports), ""))


def _watch_lines(watches: Iterable[LinkWatch]) -> Iterator[str]:
    for watch in watches:
        yield "[[lagg.watch]]"
        for key, value in watch_table(watch).items():
            yield f"{key} = {_toml(value)}"


def _port_lines(chosen: Mapping[str, PortOptions]) -> Iterator[str]:
    for port, options in chosen.items():
        if options != PortOptions():
            yield f"[lagg.port.{json.dumps(port)}]"
            for key, _, value in differences(PortOptions(), options):
                yield f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, Enum):
        return _toml(value.value)
    if isinstance(value, Pin):
        return _toml(str(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's strings, numbers, true and false are TOML's, too.
    return json.dumps(value, ensure_ascii=False)
