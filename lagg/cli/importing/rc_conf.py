# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's rc.conf(5), as a file or as sysrc(8) and ifconfig(8) set it.

Owns which of its variables make a lagg and which speak of one: of itself, of its ports,
or of what stands on it.  ifconfig(8)'s words are the grammar's.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from lagg.cli.ifconfig_words import Elsewhere, Step, joined, take_word
from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.shell import ShellCommand, assignment, commands
from lagg.cli.importing.text import Source, is_secret, mentions
from lagg.cli.output import UsageError

_LAGG = re.compile(r"lagg\d*")
_LAGG_WORDS = frozenset(("laggproto", "laggport"))
_BY_DHCP = re.compile(r"(?:NO)?(?:SYNC)?DHCP", re.IGNORECASE)
_OF_RC = frozenset(("WPA", "HOSTAP", "NOAUTO", "NOSYNCDHCP"))

ADDRESSES = "addresses are for ip(8)"
WIRELESS = "a wireless interface sends from one MAC only, and cannot be a port here"

HARMLESS = frozenset(("cloned_interfaces", "if_lagg_load", "up", "create", "inet"))
"""Words that say only what a laggd.toml says by being there."""

_SPEAKS_OF_IT = "speaks of a lagg or its ports, and stays as it is"
_OF_PORT = "of a port: laggd sets up what it is given"
_NOT_OURS = "no lagg's"


class Variables:
    """What the files set, the last one counting, in the order of the first."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.replaced: list[tuple[str, str]] = []
        self.asides: list[str] = []  # what sysrc(8) was told beside

    def set(self, name: str, sign: str, value: str) -> None:
        """`name=value`; with += and -= of sysrc(8) words are added or taken away."""
        before = self.values.get(name, "")
        if sign == "+=":
            value = f"{before} {value}".strip()
        elif sign == "-=":
            gone = value.split()
            value = " ".join(word for word in before.split() if word not in gone)
        elif before and not set(before.split()) <= set(value.split()):
            self.replaced.append((name, before))
        self.values[name] = value

    def take(self, command: ShellCommand) -> bool:
        """Whether it is a command that sets variables, or interfaces."""
        words = command.words[1:] if command.words[:1] == ["sudo"] else command.words
        head = words[0].rpartition("/")[2] if words else ""
        if head == "sysrc":
            aside = [word for word in words[1:] if assignment(word) is None]
            self.asides += [" ".join(["sysrc", *aside])] if aside else []
            return self._take_all(word for word in words[1:] if assignment(word))
        if head == "ifconfig" and len(words) > 2 and _is_lagg_line(words[1:]):
            self.set(f"ifconfig_{words[1]}", "+=", " ".join(words[2:]))
            return True
        plain = words[1:] if head == "export" else words
        return self._take_all(plain)

    def _take_all(self, words: Iterable[str]) -> bool:
        parts = [assignment(word) for word in words]
        found = [part for part in parts if part is not None]
        if not found or len(found) < len(parts):
            return False
        for name, sign, value in found:
            self.set(name, sign, value)
        return True


def _is_lagg_line(words: list[str]) -> bool:
    return bool(_LAGG.fullmatch(words[0]) or _LAGG_WORDS & set(words))


def read(sources: Iterable[Source], _: Bonds, drafts: Drafts) -> None:
    """The laggs of files that are read one after the other."""
    variables = Variables()
    for source in sources:
        for command in commands(source.text):
            if not variables.take(command):
                head = "".join(command.words[:1])
                what = f"{source.base} line {command.line}: {head} ..."
                drafts.leave(what, "a command, not a variable")
    add_laggs(variables, drafts)


def add_laggs(variables: Variables, drafts: Drafts) -> None:
    """What the variables ask for, and each of them that asks for something else."""
    reading = _Reading(variables.values)
    for name, unit in reading.laggs():
        drafts.add(reading.lagg(name, unit))
    made = frozenset(unit for _, unit in reading.laggs())
    names = made.union(*(draft.ports for draft in drafts), (d.name for d in drafts))
    for name, value in variables.replaced:
        drafts.leave(f"{name}={value}", "set again further down")
    for aside in variables.asides:
        drafts.leave(aside, "read as if it were of rc.conf")
    for name, value in reading.left(drafts):
        if mentions(f"{name.replace('_', ' ')} {value}", names):
            drafts.leave(f"{name}={value}", _SPEAKS_OF_IT)
        else:
            drafts.leave(name, _NOT_OURS)


class _Reading:
    """The variables, and which of them were told already."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._told = set(HARMLESS)

    def laggs(self) -> list[tuple[str, str]]:
        """(the name it has in the end, the name it is made with)."""
        cloned = self._values.get("cloned_interfaces", "").split()
        units = [name for name in cloned if _LAGG.fullmatch(name)]
        renamed = {self._renamed(unit): unit for unit in units}
        for key, value in self._values.items():
            name = key.removeprefix("ifconfig_")
            makes = _LAGG_WORDS & set(value.split()) or _LAGG.fullmatch(name)
            if name != key and name not in units and makes:
                renamed.setdefault(name, name)
        return list(renamed.items())

    def _renamed(self, unit: str) -> str:
        return self._values.get(f"ifconfig_{unit}_name", unit)

    def left(self, drafts: Drafts) -> Iterator[tuple[str, str]]:
        """The variables that no lagg has told."""
        cloned = self._values.get("cloned_interfaces", "").split()
        made = {unit for _, unit in self.laggs()} | {draft.name for draft in drafts}
        others = [name for name in cloned if name not in made]
        if others:
            yield "cloned_interfaces", " ".join(others)
        for key, value in self._values.items():
            if key not in self._told:
                yield key, value

    def lagg(self, name: str, unit: str) -> Draft:
        """One lagg with its ports."""
        draft = Draft(name)
        draft.set("mac_policy", "primary")  # F-DT-1
        for key in dict.fromkeys(
            f"{kind}_{each}"
            for each in (unit, name)
            for kind in ("create_args", "ifconfig")
        ):
            self._told.add(key)
            _add_words(draft, self._values.get(key, "").split())
        self._told.add(f"ifconfig_{unit}_name")
        if name != unit:
            draft.note(f"{unit}", f"renamed to {name}")
        for each in (unit, name):
            self._note_others(draft, each)
        self._add_ports(draft)
        return draft

    def _note_others(self, draft: Draft, name: str) -> None:
        """Notes the lagg's addresses and descriptions."""
        kinds = rf"ifconfig_{re.escape(name)}_(?:alias\d+|aliases|ipv[46].*|descr\w*)"
        of_addresses = re.compile(rf"{kinds}|ipv[46]_addrs_{re.escape(name)}")
        for key, value in self._values.items():
            if of_addresses.fullmatch(key) and key not in self._told:
                self._told.add(key)
                why = "use ip(8)" if "descr" in key else ADDRESSES
                draft.note(f'{key}="{value}"', why)

    def _add_ports(self, draft: Draft) -> None:
        """A lagg takes MTU and MAC from its first port (F-PR-MTU, F-PR-MAC)."""
        wireless = {
            name
            for key, value in self._values.items()
            if key.startswith("wlans_")
            for name in value.split()
        }
        for port in tuple(draft.ports):
            if port in wireless or re.fullmatch(r"wlan\d+", port):
                draft.drop_port(port, WIRELESS)
        for port in draft.ports:
            key = f"ifconfig_{port}"
            self._told.add(key)
            words = self._values.get(key, "").split()
            _add_port_words(draft, port, words, is_first=port == draft.ports[0])


# ---- words -------------------------------------------------------------------------


def _add_words(draft: Draft, words: list[str]) -> None:
    for step in joined(_steps(draft, words)):
        _add_step(draft, step)


def _steps(draft: Draft, words: list[str], of: str = "") -> list[Step]:
    """What the words ask for; those of rc.conf itself, and those that are none, noted.

    The values of a secret word are not even looked at.
    """
    found: list[Step] = []
    left = [word.lower() if word.upper() in ("UP", "DOWN") else word for word in words]
    while left:
        word = left[0]
        try:
            found += take_word(left)
            joined(found[-3:])  # an address, its netmask and its broadcast
        except UsageError as error:
            found = [
                step for step in found if step.verb not in ("netmask", "broadcast")
            ]
            by_dhcp = _BY_DHCP.fullmatch(word)
            reason = str(error).removeprefix(f"{word}: ")
            reason = "rc(8)'s own word" if word.upper() in _OF_RC else reason
            draft.note(f"{of}{word}", ADDRESSES if by_dhcp else reason)
            if is_secret(word):
                del left[:1]
    return found


def _add_step(draft: Draft, step: Step) -> None:
    match step:
        case Step("proto" | "mac" | "mtu", value):
            draft.set(step.verb, value)
        case Step("attach", value):
            draft.add_port(str(value))
        case Step("option", (key, value)):
            draft.set(str(key), value)
        case Step("up" | "create", _):
            draft.note("down", "use ip(8)") if step.value is False else None
        case _:
            draft.note(*_said(step, draft.name))


def _said(step: Step, name: str) -> tuple[str, str]:
    """A step that asks for nothing of a lagg's own, and who does it to `name`."""
    link = f"use ip(8): ip link set dev {name}"
    match step:
        case Step("inet", (address, netmask, broadcast)):
            mask = f" netmask {netmask}" if netmask else ""
            to_all = f" broadcast {broadcast}" if broadcast else ""
            return f"inet {address}{mask}{to_all}", ADDRESSES
        case Step("elsewhere", Elsewhere(said, remedy)):
            return said, remedy.replace("NAME", name)
        case Step("description", value):
            return f"description {value}", f"{link} alias TEXT"
        case Step(verb, bool(on)):
            return verb if on else f"-{verb}", f"{link} ..."
        case _:
            return f"{step.verb} {step.value}", "has no equivalent"


def _add_port_words(
    draft: Draft, port: str, words: list[str], *, is_first: bool
) -> None:
    for step in joined(_steps(draft, words, of=f"{port}: ")):
        value = step.value
        if step.verb in ("mac", "mtu") and is_first and step.verb not in draft.keys:
            draft.set(step.verb, value, f"{port}: {step.verb} {value}")
        elif step.verb in ("mac", "mtu"):
            if draft.keys.get(step.verb) != value:
                draft.note(f"{port}: {step.verb} {value}", "all ports have the lagg's")
        elif step != Step("up", True):
            said, why = _said(step, port)
            draft.note(f"{port}: {said}", _OF_PORT if step.verb == "up" else why)
