# SPDX-License-Identifier: BSD-2-Clause
"""An operator's comments in a file that `save` writes anew.

Owns tomlkit, which only that needs, and which may be missing: then the file is written
as if there had been none.  Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, MutableMapping
from typing import Any

from lagg.config.files import ConfigError, parse_toml
from lagg.model import LaggConfig

_CHARS_MAX = 1 << 18
"""tomlkit takes some seconds for as many."""


def kept(old: str, new: str) -> str:
    """The configuration `new` in the layout of `old`, comments and all.

    `new` itself where there is nothing to keep, where `old` is no configuration or too
    long, and without tomlkit, or one that can read it.
    """
    if "#" not in old or len(old) > _CHARS_MAX or _laggs(old) is None:
        return new
    try:
        text = _amended(old, tomllib.loads(new).get("lagg", []))
    except (ImportError, ValueError):  # ValueError: of what tomlkit does not read
        return new
    return text if _laggs(text) == _laggs(new) else new


def _laggs(text: str) -> dict[str, LaggConfig] | None:
    """What a text asks for; None for what is no configuration."""
    try:
        return {each.name: each for each in parse_toml(text, "")}
    except ConfigError:
        return None


def _amended(old: str, wanted: list[dict[str, Any]]) -> str:
    """ImportError without tomlkit."""
    import tomlkit

    document = tomlkit.parse(old)
    if not wanted:
        document.pop("lagg", None)
        return tomlkit.dumps(document)
    if "lagg" not in document:
        document.add(tomlkit.nl())
        document.append("lagg", tomlkit.aot())
    _amend_laggs(document["lagg"], wanted)
    return tomlkit.dumps(document)


def _amend_laggs(
    tables: Any,  # noqa: ANN401  an AoT, or an array
    wanted: list[dict[str, Any]],
) -> None:
    names = {each["name"]: each for each in wanted}
    for at in reversed(range(len(tables))):
        if tables[at]["name"] not in names:
            del tables[at]
    there = {each["name"]: each for each in tables}
    for each in wanted:
        if each["name"] in there:
            _amend(there[each["name"]], each)
        else:
            tables.append(each)


def _amend(table: MutableMapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in [key for key in table if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        found = table.get(key)
        if isinstance(found, dict) and isinstance(value, dict):
            _amend(found, value)
        elif found != value:
            table[key] = value
