# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl ifconfig`, or laggctl under the name ifconfig: FreeBSD's own grammar.

Owns what each step of a line becomes: calls to laggd for a lagg, ioctls for any other
interface.  As FreeBSD's, it is no transaction: what stands before a refusal is done,
and when a port is refused, or a word is another program's here, the words after it are
done all the same (F-AT-IDEM).
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from lagg.cli import interface
from lagg.cli.daemon import laggd_of
from lagg.cli.ifconfig_page import facts_of, interface_page
from lagg.cli.ifconfig_words import Elsewhere, Line, Step, parse_line
from lagg.cli.output import DONE, IFCONFIG, REFUSED, UsageError, complain, say
from lagg.cli.parser import help_of
from lagg.control.client import Client
from lagg.errors import LaggError

if TYPE_CHECKING:
    import argparse

    from lagg.records import LaggRecord

CLONER = "lagg"
"""`ifconfig lagg create` makes the first laggN that is free, and prints its name."""


def ifconfig(arguments: argparse.Namespace) -> int:
    """Does what a line asks for, or shows."""
    if arguments.words[:1] in (["-h"], ["--help"]):
        say(help_of(IFCONFIG))
        return DONE
    line = parse_line(arguments.words)
    with laggd_of(arguments) as laggd:
        if line.steps and line.name is not None:
            return _Run(laggd, line.name).all(line)
        laggs = {lagg["name"]: lagg for lagg in _laggs(laggd)}
    _show(line, laggs, as_json=arguments.json)
    return DONE


def _laggs(laggd: Client) -> list[LaggRecord]:
    return cast("list[LaggRecord]", laggd.call("List")["laggs"])


class _Run:
    """One line being done."""

    def __init__(self, laggd: Client, name: str) -> None:
        self.laggd = laggd
        self._names = {lagg["name"] for lagg in _laggs(laggd)}
        self.name = name
        self._code = DONE

    def all(self, line: Line) -> int:
        """Every step in order; answers the exit code."""
        if self.name == CLONER and line.steps[0].verb == "create":
            self.name = self._free_name()
            say(self.name)
        for step in line.steps:
            self._step(step)
        return self._code

    def _free_name(self) -> str:
        taken = self._names | set(interface.names())
        free = (f"{CLONER}{unit}" for unit in range(len(taken) + 1))
        return next(name for name in free if name not in taken)

    def _step(self, step: Step) -> None:
        is_lagg = self.name in self._names or step.verb == "create"
        acts = _OF_LAGG if is_lagg else _OF_ANY
        if step.verb not in acts:
            raise LaggError(self.name, "no such lagg", errno.ENXIO)
        acts[step.verb](self, step.value)

    def create(self) -> None:
        """The lagg, with no port, and the MAC of its primary as lagg(4) has it."""
        options = {"mac_policy": "primary"}
        self.laggd.call("Create", name=self.name, options=options)
        self._names.add(self.name)

    def destroy(self) -> None:
        """The lagg gone."""
        self.laggd.call("Destroy", name=self.name)
        self._names.discard(self.name)

    def attach(self, port: str) -> None:
        """A port added; a refusal is said, and the line goes on."""
        try:
            self.laggd.call("Attach", name=self.name, ports=[port])
        except LaggError as error:
            self._code = complain(str(error), REFUSED)

    def refer(self, to: Elsewhere) -> None:
        """A word that another program has here is said, and the line goes on."""
        remedy = to.remedy.replace("NAME", self.name)
        self._code = complain(f"{self.name}: {to.said}: {remedy}", REFUSED)

    def detach(self, port: str) -> None:
        """A port put back."""
        self.laggd.call("Detach", name=self.name, ports=[port])

    def set(self, **change: object) -> None:
        """Whatever Set takes."""
        self.laggd.call("Set", name=self.name, **change)


Act = Callable[[_Run, Any], None]

_OF_ANY: dict[str, Act] = {
    "up": lambda run, up: interface.set_flag(run.name, interface.IFF_UP, up),
    "promisc": lambda run, on: interface.set_flag(run.name, interface.IFF_PROMISC, on),
    "debug": lambda run, on: interface.set_flag(run.name, interface.IFF_DEBUG, on),
    "arp": lambda run, on: interface.set_flag(run.name, interface.IFF_NOARP, not on),
    "inet": lambda run, inet: interface.set_inet(run.name, *inet),
    "description": lambda run, text: interface.set_description(run.name, text),
    "elsewhere": lambda run, value: run.refer(value),
    "mtu": lambda run, mtu: interface.set_mtu(run.name, mtu),
    "mac": lambda run, mac: interface.set_mac(run.name, _plain_mac(mac)),
}
_OF_LAGG: dict[str, Act] = {
    **_OF_ANY,
    "create": lambda run, _: run.create(),
    "destroy": lambda run, _: run.destroy(),
    "proto": lambda run, proto: run.set(proto=proto),
    "attach": lambda run, port: run.attach(port),
    "detach": lambda run, port: run.detach(port),
    "option": lambda run, pair: run.set(options=dict([pair])),
    "mac": lambda run, mac: run.set(mac=mac),
    "mtu": lambda run, mtu: run.set(mtu=mtu),
}


def _plain_mac(word: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", word):
        raise UsageError(f"ether: {word!r} is no MAC address")
    return word


def _show(line: Line, laggs: dict[str, LaggRecord], *, as_json: bool) -> None:
    names = _shown_names(line, laggs)
    if as_json:
        say(json.dumps([laggs[name] for name in names if name in laggs]))
    elif line.names_only:
        say(" ".join(names))
    else:
        for name in names:
            say(_page(name, laggs.get(name), verbose=line.verbose))


def _shown_names(line: Line, laggs: dict[str, LaggRecord]) -> list[str]:
    if line.name is not None and not line.every:
        return [line.name]
    here = interface.names()
    return here + [name for name in laggs if name not in here]


def _page(name: str, lagg: LaggRecord | None, *, verbose: bool) -> str:
    try:
        found = interface.facts(name)
    except LaggError:
        if lagg is None:
            raise
        found = facts_of(lagg)  # laggd serves another namespace than this one
    return interface_page(found, lagg, verbose=verbose)
