# SPDX-License-Identifier: BSD-2-Clause
"""Commands that make bonds: ip(8), ifenslave(8), modprobe(8), and echo into sysfs.

Owns what each asks for, in a script as in a hook of ifupdown.  A command that is none
of these, or says more than a bond can, is kept, and told at the end.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lagg.cli.importing.bonding import Bonds, Pairs, pairs
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.shell import ShellCommand
from lagg.cli.importing.text import mentions, whole

_BEFORE = ("sudo", "exec", "command", "nohup", "doas")
_SHOWN = frozenset(
    (
        *(
            "ip",
            "ifconfig",
            "route",
            "ifenslave",
            "modprobe",
            "ethtool",
            "tc",
            "bridge",
        ),
        *("brctl", "vconfig", "sysctl", "echo", "sleep", "ifup", "ifdown"),
    )
)
"""Commands whose words are shown; of any other its name, for it may hold a secret."""

HARMLESS = frozenset(("true", ":", "set", "exit", "sleep", "echo", "printf", "return"))
"""What has nothing to do with a network, and is not even told."""

_LINK = ("link", "lin", "li", "l")
_SET = ("set", "s", "change", "replace")
_ADD = ("add", "a", "replace")
_ALONE = frozenset(("up", "down"))
"""Words of `ip link` without a value; laggd sets up what it is given."""

_BONDING = re.compile(r"/sys/(?:class|devices/virtual)/net/([^/]+)/bonding/(\w+)")
_MASTERS = "/sys/class/net/bonding_masters"


class CommandReader:
    """A reader of one command after the other, which may speak of any bond."""

    def __init__(self, bonds: Bonds) -> None:
        self._bonds = bonds
        self._joins: list[tuple[str, str, str]] = []  # port, master, how it was said
        self._said: list[tuple[str, Pairs, str]] = []  # port, options, how it was said
        self._left: list[tuple[str, ShellCommand]] = []

    def take(self, command: ShellCommand, where: str) -> None:
        """What it asks for; `where` is told of one that is not understood."""
        words = plain(command.words)
        head = words[0].rpartition("/")[2] if words else ""
        reader = _READERS.get(head)
        if reader is None or not reader(self, words[1:], command):
            self.leave(command, where)

    def leave(self, command: ShellCommand, where: str) -> None:
        """Notes a command that is not done here, as one for when an interface goes."""
        self._left.append((where, command))

    def finish(self, drafts: Drafts) -> None:
        """Who joined what turned out to be a bond, and what was left over."""
        made = {bond.draft.name for bond in self._bonds}
        for port, master, said in self._joins:
            if master in made:
                self._bonds.of(master).draft.add_port(port)
            else:
                drafts.leave(said, f"{master} is no bond here")
        for port, options, said in self._said:
            of = (bond for bond in self._bonds if port in bond.draft.ports)
            bond = next(of, None)
            if bond is None:
                drafts.leave(said, f"{port} is a port of no bond here")
            else:
                bond.of_ports += [(port, key, value) for key, value in options]
        for where, command in self._left:
            self._tell(drafts, where, command)

    def _tell(self, drafts: Drafts, where: str, command: ShellCommand) -> None:
        words = plain(command.words)
        head = words[0].rpartition("/")[2] if words else ""
        said = f"{where}: {command}"
        if head in _SHOWN and mentions(said, self._bonds.names):
            drafts.leave(said, "stays where it is")
        elif head not in HARMLESS or command.target:
            name = head if re.fullmatch(r"[\w.-]+", head) else "a command"
            drafts.leave(f"{where}: {name} ...", "stays where it is")

    # ---- ip(8) ---------------------------------------------------------------------

    def ip(self, words: list[str], command: ShellCommand) -> bool:
        """`ip [-n NS] link add|set ...`; True when all of it is told."""
        words, namespace = _without_options(words)
        if len(words) < 3 or words[0] not in _LINK:
            return False
        verb, rest = words[1], words[2:]
        if verb in _ADD and "type" in rest:
            name = self._added(rest)
        elif verb in _SET:
            name = self._set(rest, command)
        else:
            return False
        if name is None:
            return False
        if namespace is not None and self._bonds.of(name).is_made:
            self._bonds.of(name).draft.note(
                f"namespace {namespace}", "laggd serves the one that it is started in"
            )
        return True

    def _added(self, words: list[str]) -> str | None:
        at = words.index("type")
        head, kind, options = words[:at], words[at + 1 : at + 2], words[at + 2 :]
        if kind != ["bond"] or not head:
            return None
        name, head = _named(head)
        bond = self._bonds.made(name)
        bond.add_options(_options(options))
        self._keys(name, head)
        return name

    def _set(self, words: list[str], command: ShellCommand) -> str | None:
        """`ip link set` for a bond or a port; None when it is about neither."""
        name, rest = _named(words)
        rest, kind, options = _typed(rest)
        if kind == "bond":
            self._bonds.made(name).add_options(options)
        elif kind == "bond_slave":
            self._said.append((name, options, str(command)))
        masters = [value for key, value in _pairs(rest) if key == "master"]
        if masters:
            self._joins.append((name, masters[-1], str(command)))
            self._notes(masters[-1], name, rest)
            return masters[-1]
        if name in {bond.draft.name for bond in self._bonds}:
            self._keys(name, rest)
            return name
        told = kind == "bond_slave" or rest
        return name if told and set(rest) <= _ALONE else None

    def _keys(self, name: str, words: list[str]) -> None:
        draft = self._bonds.of(name).draft
        for key, value in _pairs(words):
            number = whole(value)
            if key == "mtu" and number is not None:
                draft.set("mtu", number, f"mtu {value}")
            elif key == "address":
                draft.set("mac", value, f"address {value}")
            elif key not in _ALONE:
                draft.note(f"{key} {value}".rstrip(), "use ip(8)")

    def _notes(self, master: str, port: str, words: list[str]) -> None:
        for key, value in _pairs(words):
            if key not in _ALONE and (key, value) != ("master", master):
                said = f"{port}: {key} {value}".rstrip()
                self._bonds.of(master).draft.note(said, "of a port: use ip(8)")

    # ---- the others ----------------------------------------------------------------

    def ifenslave(self, words: list[str], _: ShellCommand) -> bool:
        """`ifenslave bond0 eth0 eth1`; what it takes away is not asked for."""
        options = [word for word in words if word.startswith("-")]
        names = [word for word in words if not word.startswith("-")]
        if len(names) < 2 or set(options) - {"-f", "-v", "--force", "--verbose"}:
            return False
        bond = self._bonds.made(names[0])
        for port in names[1:]:
            bond.draft.add_port(port)
        return True

    def modprobe(self, words: list[str], _: ShellCommand) -> bool:
        """`modprobe bonding mode=1`."""
        names = [word for word in words if not word.startswith("-")]
        if names[:1] != ["bonding"] or {"-r", "--remove"} & set(words):
            return False
        self._bonds.module += pairs(names[1:])
        return True

    def echo(self, words: list[str], command: ShellCommand) -> bool:
        """`echo VALUE > /sys/class/net/bond0/bonding/OPTION`."""
        value = " ".join(word for word in words if word not in ("-n", "-e"))
        target = (command.target or "").replace("//", "/")
        if target == _MASTERS and value.startswith("+"):
            self._bonds.made(value[1:])
            return True
        found = _BONDING.fullmatch(target)
        if found is None:
            return False
        bond, option = self._bonds.made(found[1]), found[2]
        if option != "slaves":
            bond.add_options([(option, value)])
        elif value.startswith("+"):
            bond.draft.add_port(value[1:])
        else:
            return False
        return True


_Reader = Callable[[CommandReader, list[str], ShellCommand], bool]

_READERS: dict[str, _Reader] = {
    "ip": CommandReader.ip,
    "ifenslave": CommandReader.ifenslave,
    "modprobe": CommandReader.modprobe,
    "echo": CommandReader.echo,
}


def plain(words: list[str]) -> list[str]:
    """Without what only says as whom or in which namespace, which ip() asks for."""
    while words and words[0].rpartition("/")[2] in _BEFORE:
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
    return words


def _without_options(words: list[str]) -> tuple[list[str], str | None]:
    """What follows `ip`, and the namespace that it is for."""
    namespace = None
    while words:
        if words[0] in ("-n", "-netns") and len(words) > 1:
            namespace, words = words[1], words[2:]
        elif words[0].startswith("-"):
            words = words[1:]
        elif words[:2] == ["netns", "exec"] and len(words) > 3:
            namespace, words = words[2], words[3:]
            if words[0].rpartition("/")[2] != "ip":
                return [], namespace
            words = words[1:]
        else:
            break
    return words, namespace


def _named(words: list[str]) -> tuple[str, list[str]]:
    """`[dev|name] NAME ...`, wherever the name has its word before it."""
    for key in ("dev", "name"):
        if key in words[:-1] and (key == "dev" or words[0] == "name"):
            at = words.index(key)
            return words[at + 1], words[:at] + words[at + 2 :]
    return words[0], words[1:]


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """`a 1 up b 2` -> a, up, b; a word without a value has the value ""."""
    found, at = [], 0
    while at < len(words):
        alone = words[at] in _ALONE or at + 1 == len(words)
        found.append((words[at], "" if alone else words[at + 1]))
        at += 1 if alone else 2
    return found


def _typed(words: list[str]) -> tuple[list[str], str, list[tuple[str, str]]]:
    """What is before `type bond` or `type bond_slave`, which, and the options behind.

    All of the words where neither is.
    """
    at = words.index("type") if "type" in words else len(words)
    kind = "".join(words[at + 1 : at + 2])
    if kind not in ("bond", "bond_slave"):
        return words, "", []
    return words[:at], kind, _options(words[at + 2 :])


def _options(words: list[str]) -> list[tuple[str, str]]:
    """What is said after `type bond`."""
    return [(key, value) for key, value in _pairs(words) if key not in _ALONE]
