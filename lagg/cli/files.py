# SPDX-License-Identifier: BSD-2-Clause
"""The commands on configuration files: check, reload, save.

`check` needs no laggd: the reader is laggd's own.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lagg.cli.output import DONE, REFUSED, complain, say
from lagg.client import Client, ComplaintsError
from lagg.errors import LaggError
from lagg.files import ConfigError, load

if TYPE_CHECKING:
    import argparse


def check(arguments: argparse.Namespace) -> int:
    """All that is wrong with a file, a line each."""
    try:
        laggs = load(Path(arguments.file))
    except ConfigError as error:
        return _complain_of_all(map(str, error.complaints))
    names = [lagg.name for lagg in laggs]
    if arguments.json:
        say(json.dumps({"file": arguments.file, "laggs": names}))
    else:
        say(f"{arguments.file}: good: {', '.join(names) or 'no laggs'}")
    return DONE


def reload(arguments: argparse.Namespace) -> int:
    """What runs becomes what the files say; each change is told."""
    with Client(arguments.socket) as laggd:
        try:
            changes: list[str] = laggd.call("Reload")["changes"]
        except ComplaintsError as error:
            return _complain_of_all(error.lines)
    if arguments.json:
        say(json.dumps({"changes": changes}))
    else:
        say("\n".join(changes) or "nothing to change")
    return DONE


def save(arguments: argparse.Namespace) -> int:
    """What runs, as TOML on stdout or as a file."""
    with Client(arguments.socket) as laggd:
        toml: str = laggd.call("Save")["toml"]
    if arguments.file is not None:
        _write(Path(arguments.file), toml)
    elif arguments.json:
        say(json.dumps({"toml": toml}))
    else:
        say(toml.removesuffix("\n"))
    return DONE


def _write(path: Path, text: str) -> None:
    """Replaces the file, whole or not at all.  LaggError."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as aside:
            aside.write(text)
            os.fchmod(aside.fileno(), 0o644)
        os.replace(aside.name, path)
    except OSError as error:
        raise LaggError.of_os(str(path), "save", error) from error


def _complain_of_all(lines: Iterable[str]) -> int:
    for line in lines:
        complain(line, REFUSED)
    return REFUSED
