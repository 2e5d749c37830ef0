# SPDX-License-Identifier: BSD-2-Clause
"""Drafts as a laggd.toml: each lagg's table, and what was left out as comments.

Owns the layout.  What comes out is read by laggd's own reader before anybody sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from lagg.cli.importing.draft import Draft, Drafts, Note
from lagg.cli.importing.text import printable
from lagg.config.files import ConfigError, parse_toml

LEFT_TITLE = "# Not of a lagg, and left where it is:"


def written(drafts: Drafts, names: Sequence[str]) -> str:
    """The tables, then what is no lagg's; `names` are the files they came from.

    ValueError if laggd would refuse it.
    """
    origin = printable(" ".join(names))
    head = f"# From {origin} by laggctl import; see laggd.toml(5).\n"
    toml = "\n".join([head, *map(_table, drafts), *_left(drafts.left)])
    try:
        parse_toml(toml, "what was made of it")
    except ConfigError as error:
        raise ValueError(str(error.complaints[0])) from error
    return toml


def _table(draft: Draft) -> str:
    keys = {"proto": draft.keys.get("proto", "failover"), "ports": draft.ports}
    keys |= draft.keys
    lines = ["[[lagg]]", f"name = {_value(draft.name)}", *_pairs(keys)]
    lines += _comments(draft.notes)
    for port, table in draft.port_keys.items():
        if port in draft.ports:
            lines += [f"[lagg.port.{_bare(port)}]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def _pairs(table: dict[str, object]) -> Iterator[str]:
    return (f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: object) -> str:
    # JSON's strings, numbers, true and false are TOML's, too.
    return json.dumps(value, ensure_ascii=False)


def _bare(key: str) -> str:
    plain = all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
    return key if plain else _value(key)


def _left(notes: Iterable[Note]) -> list[str]:
    """Single words of one reason in one line; what is longer has its own."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for what, why in notes:
        of_its_own = what if " " in what else ""
        reasons.setdefault((why, of_its_own), []).append(what)
    lines = [f"# {', '.join(said)}: {why}" for (why, _), said in reasons.items()]
    return [f"{LEFT_TITLE}\n" + "\n".join(lines) + "\n"] if lines else []


def _comments(notes: Iterable[Note]) -> Iterator[str]:
    return (f"# {what}: {why}" for what, why in notes)
