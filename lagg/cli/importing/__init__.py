# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl import`: another system's configuration as a laggd.toml on stdout.

Owns how a kind of file is told from the others, and which reader each has.  A reader
turns text into drafts (draft.py), and writer.py those into TOML.  Every word of a file
ends in a key, in a comment, or is one of its reader's HARMLESS; nothing is applied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lagg.cli.importing import (
    ifcfg,
    interfaces,
    keyfile,
    modprobe,
    netplan,
    networkd,
    ovs,
    procfs,
    rc_conf,
    script,
    team,
)
from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.text import Source
from lagg.cli.importing.writer import written
from lagg.cli.output import DONE, UsageError, say, say_file
from lagg.cli.reading import read_file
from lagg.config.files import FILE_BYTES_MAX

if TYPE_CHECKING:
    import argparse


class _Kind(NamedTuple):
    """Files that one reader takes, together."""

    name: str
    is_kind: Callable[[Source], bool]
    read: Callable[[Sequence[Source], Bonds, Drafts], None]


def import_(arguments: argparse.Namespace) -> int:
    """The files, which belong together, as one."""
    toml = converted([Source(name, _text(name)) for name in arguments.files])
    if arguments.json:
        say(json.dumps({"toml": toml}))
    else:
        say_file(toml.rstrip("\n"))
    return DONE


def converted(sources: Sequence[Source]) -> str:
    """A laggd.toml.  UsageError when a file is of no known kind, or has no lagg."""
    names = " ".join(source.name for source in sources)
    try:
        drafts = _drafts(sources)
        if not list(drafts):
            raise UsageError(f"{names}: {_nothing(drafts)}")
        return written(drafts, [source.name for source in sources])
    except RecursionError as error:
        raise UsageError(f"{names}: not understood: too deep") from error
    except ValueError as error:
        raise UsageError(f"{names}: not understood: {error}") from error


def _drafts(sources: Iterable[Source]) -> Drafts:
    of_kind: dict[_Kind, list[Source]] = {kind: [] for kind in _KINDS}
    for source in sources:
        of_kind[_kind(source)].append(source)
        for inner in script.files_of(source) if script.is_script(source) else ():
            kind = _kind_of(inner)
            if kind is not None:
                of_kind[kind].append(inner)
    drafts, bonds = Drafts(), Bonds()
    for kind, found in of_kind.items():
        if found:
            kind.read(found, bonds, drafts)
    bonds.finish(drafts)
    drafts.settle()
    return drafts


def _kind(source: Source) -> _Kind:
    kind = _kind_of(source)
    if kind is not None:
        return kind
    known = ", ".join(kind.name for kind in _KINDS)
    raise UsageError(f"{source.name}: none of {known}")


def _kind_of(source: Source) -> _Kind | None:
    return next((kind for kind in _KINDS if kind.is_kind(source)), None)


def _nothing(drafts: Drafts) -> str:
    """What to do about files without any lagg."""
    read = [what for what, _ in drafts.left if what.startswith("source")]
    more = f"; {read[0]}: give these files, too" if read else ""
    return f"no bond, team or lagg is in there{more}"


def _text(name: str) -> str:
    return read_file(name, most=FILE_BYTES_MAX).decode("utf-8", "replace")


# ---- kinds -------------------------------------------------------------------------


def _has(pattern: str) -> Callable[[Source], bool]:
    """Whether a line of it looks so."""
    found = re.compile(rf"^[ \t]*(?:{pattern})", re.MULTILINE)
    return lambda source: found.search(source.text) is not None


def _is_ifcfg(source: Source) -> bool:
    named = source.base.startswith("ifcfg-") and "=" in source.text
    return named or _SAYS_IFCFG(source)


_SAYS_IFCFG = _has(r"(?:BONDING_\w+|TEAM_\w+|MASTER|DEVICE)=")


def _is_interfaces(source: Source) -> bool:
    in_script = source.text.startswith("#!") or script.writes_files(source)
    return _HAS_STANZA(source) and not in_script


_HAS_STANZA = _has(r"(?:iface|auto|allow-\w+)[ \t]+\S")
_MODPROBE = r"options[ \t]+bond\w*[ \t]|alias[ \t]+\S+[ \t]+bonding\b"
_NETPLAN = r"""\{?[ \t]*["']?network["']?[ \t]*:"""
_RC_CONF = r"(?:cloned_interfaces|ifconfig_\w+|create_args_\w+)\+?="

_KINDS = (
    _Kind("modprobe.d", _has(_MODPROBE), modprobe.read),
    _Kind("teamd's JSON", team.is_file_of_team, team.read),
    _Kind("/etc/network/interfaces", _is_interfaces, interfaces.read),
    _Kind("scripts of ip, sysrc or ifconfig", script.is_script, script.read),
    _Kind("netplan's YAML", _has(_NETPLAN), netplan.read),
    _Kind("rc.conf", _has(_RC_CONF), rc_conf.read),
    _Kind("ifcfg files", _is_ifcfg, ifcfg.read),
    _Kind("ovs-vsctl's show and list", ovs.is_ovs, ovs.read),
    _Kind("/proc/net/bonding", procfs.is_procfs, procfs.read),
    _Kind("NetworkManager's keyfiles", keyfile.is_keyfile, keyfile.read),
    _Kind("networkd's files", networkd.is_networkd, networkd.read),
)
"""In the order in which they are asked, and read: what rules comes after."""
