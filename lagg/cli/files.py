# SPDX-License-Identifier: BSD-2-Clause
"""The commands on configuration files: check, reload, save.

`check` needs no laggd: the reader is laggd's own.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagg.cli.comments import kept
from lagg.cli.daemon import laggd_of
from lagg.cli.manner import asked_in, told
from lagg.cli.output import DONE, REFUSED, complain, say, say_file, say_refusal
from lagg.config.files import ConfigError, load
from lagg.control.client import ComplaintsError
from lagg.errors import BadRequestError, LaggError
from lagg.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    import argparse


def check(arguments: argparse.Namespace) -> int:
    """Prints all that is wrong with each file, a line each."""
    found, wrong = list[dict[str, Any]](), list[str]()
    files: list[str] = arguments.files
    for file in files or [DEFAULT_CONFIG]:
        try:
            laggs = load(Path(file), required=bool(files))  # as laggd does
        except ConfigError as error:
            wrong += map(str, error.complaints)
        else:
            found.append({"file": file, "laggs": [lagg.name for lagg in laggs]})
    if wrong:
        return _complain_of_all(wrong, for_program=arguments.json)
    if arguments.json:
        say(json.dumps(found if len(found) > 1 else found[0]))
    else:
        for each in found:
            say(f"{each['file']}: good: {', '.join(each['laggs']) or 'no laggs'}")
    return DONE


def reload(arguments: argparse.Namespace) -> int:
    """Makes what runs be what the files say, and prints each change."""
    with laggd_of(arguments) as laggd:
        try:
            outcome = laggd.call("Reload", **asked_in(arguments))
        except ComplaintsError as error:
            return _complain_of_all(error.lines, for_program=arguments.json)
    if arguments.dry_run or outcome["trial"] is not None:
        return told(arguments, outcome)
    if arguments.json:
        say(json.dumps({"changes": outcome["changes"]}))
    else:
        say("\n".join(outcome["changes"]) or "nothing to change")
    return DONE


def save(arguments: argparse.Namespace) -> int:
    """Writes what runs as TOML, to stdout or a file."""
    with laggd_of(arguments) as laggd:
        toml: str = laggd.call("Save")["toml"]
    if arguments.file is not None:
        path = Path(arguments.file)
        _write(path, kept(_text_at(path), toml))
    elif arguments.json:
        say(json.dumps({"toml": toml}))
    else:
        say_file(toml.removesuffix("\n"))
    return DONE


def _text_at(path: Path) -> str:
    """What is in a file that is to be replaced; empty where none can be read."""
    try:
        return path.read_text() if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, text: str) -> None:
    """Replaces the file, whole or not at all, also where power fails.  LaggError."""
    target = Path(os.path.realpath(path))  # a link goes on to lead to it
    if target.exists() and not target.is_file():
        raise LaggError(str(path), "save: is no regular file", errno.EINVAL)
    try:
        aside = _written_aside(target, text.encode())
        try:
            os.replace(aside, target)
        except BaseException:
            os.unlink(aside)
            raise
        _sync_directory(target.parent)
    except OSError as error:
        raise LaggError.of_os(str(path), "save", error) from error


def _written_aside(target: Path, data: bytes) -> str:
    """A new file beside it that has the data on the disk; none when that fails."""
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as aside:
        try:
            aside.write(data)
            os.fchmod(aside.fileno(), 0o644)
            aside.flush()
            os.fsync(aside.fileno())
        except BaseException:
            os.unlink(aside.name)
            raise
    return aside.name


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _complain_of_all(lines: Iterable[str], *, for_program: bool) -> int:
    found = list(lines)
    if for_program:
        error = BadRequestError("configuration", "; ".join(found))
        say_refusal(error, complaints=found)
    for line in found:
        complain(line, REFUSED)
    return REFUSED
