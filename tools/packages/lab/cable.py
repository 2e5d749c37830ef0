# SPDX-License-Identifier: BSD-2-Clause
"""A cable between two hosts: a veth pair, or two with a patch panel in between.

Owns how a cable is cut: the carrier goes, the interfaces stay; and how a patched one
loses frames while all carriers stay.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

from lab.host import Host

MTU_MAX = 65535
"""The largest MTU of a veth."""

HOLE = "hole"
"""Where lost frames go: a veth whose other end is nobody's."""

_indices = itertools.count(101)
_FAR = 1_000_000
_FIRST = "1"  # a filter of this priority is asked before those without one


class Cable(Protocol):
    """What can be cut and mended."""

    def cut(self) -> None:
        """The carrier goes."""

    def mend(self) -> None:
        """Gives the far end its carrier back."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One end: an interface of a host."""

    host: Host
    name: str

    def set(self, state: str) -> None:
        """Sets the interface "up" or "down"."""
        self.host.set_link(self.name, state=state)


class Veth:
    """A veth pair.  To cut it, the far end is set down: the near end has no carrier."""

    def __init__(self, near: Plug, far: Plug, *, like_hardware: bool) -> None:
        """Makes the pair, both ends up; for `like_hardware` see Lab.cable."""
        self._far = far
        index = next(_indices)
        far_index = index if like_hardware else index + _FAR
        near.host.run(
            *("ip", "link", "add", near.name, "index", str(index), "type", "veth"),
            *("peer", "name", far.name, "index", str(far_index)),
            *("netns", far.host.netns),
        )
        near.set("up")
        far.set("up")

    def cut(self) -> None:
        """The near end loses its carrier; the far end is administratively down."""
        self._far.set("down")

    def mend(self) -> None:
        """Both ends carry again."""
        self._far.set("up")


class Lossy(Cable, Protocol):
    """What can lose frames besides, while all carriers stay."""

    def lose(self, *, to_near: bool, protocol: str = "all") -> None:
        """Frames on their way to one end are lost, until `pass_again`.

        Of one protocol, as "0x8809", or of all.
        """

    def pass_again(self, *, to_near: bool) -> None:
        """Lets frames arrive again."""


class Joint:
    """Two interfaces of one host: what enters by one leaves by the other, and back.

    Frames of any protocol and size pass, those that no bridge forwards as well.
    """

    def __init__(self, host: Host, one: str, other: str) -> None:
        """Joins them; neither may do anything else."""
        self._host = host
        self._losing: set[str] = set()
        for name, to in ((one, other), (other, one)):
            host.run("tc", "qdisc", "add", "dev", name, "ingress")
            self._redirect(name, "all", to)

    def lose(self, name: str, protocol: str = "all") -> None:
        """What enters by `name` is lost: all, or of a protocol as "0x8809"."""
        if not self._host.has_link(HOLE):
            end = ("peer", "name", f"{HOLE}-end")
            self._host.run("ip", "link", "add", HOLE, "type", "veth", *end)
            for each in (HOLE, f"{HOLE}-end"):
                self._host.set_link(each, state="up")
        self._redirect(name, protocol, HOLE, "prio", _FIRST)
        self._losing.add(name)

    def pass_again(self, name: str) -> None:
        """What enters by `name` is lost no more, if it was."""
        if name in self._losing:
            self._losing.remove(name)
            words = ("tc", "filter", "del", "dev", name, "ingress", "prio", _FIRST)
            self._host.run(*words)

    def _redirect(self, name: str, protocol: str, to: str, *priority: str) -> None:
        self._host.run(
            *("tc", "filter", "add", "dev", name, "ingress", "protocol", protocol),
            *(*priority, "u32", "match", "u32", "0", "0"),
            *("action", "mirred", "egress", "redirect", "dev", to),
        )


class Patched:
    """Two veth pairs that meet in a third namespace, the patch panel.

    Cut, both ends lose their carrier and stay administratively up, as with a real
    cable.  Costs each frame another hop.
    """

    def __init__(
        self, near: Plug, far: Plug, panel: Host, *, like_hardware: bool
    ) -> None:
        """Makes the pairs and joins them in `panel`."""
        number = len(panel.links())
        self._plugs = (Plug(panel, f"n{number}"), Plug(panel, f"f{number}"))
        Veth(near, self._plugs[0], like_hardware=like_hardware)
        Veth(far, self._plugs[1], like_hardware=like_hardware)
        for plug in self._plugs:
            panel.set_link(plug.name, mtu=MTU_MAX)
        self._joint = Joint(panel, *(plug.name for plug in self._plugs))

    def cut(self) -> None:
        """Both ends lose their carrier."""
        for plug in self._plugs:
            plug.set("down")

    def mend(self) -> None:
        """Both ends have it again."""
        for plug in self._plugs:
            plug.set("up")

    def complete(self) -> None:
        """What arrives at either end is segmented and has its checksums."""
        for plug in self._plugs:
            plug.host.complete(plug.name)

    def lose(self, *, to_near: bool, protocol: str = "all") -> None:
        """Frames on their way to one end are lost; its carrier stays."""
        self._joint.lose(self._from(to_near=to_near), protocol)

    def slow(self, *, to_near: bool, kbit_s: int) -> None:
        """Frames on their way to one end queue up for a line of so many kbit/s.

        What passes while the line is laid is lost; a line that is there loses nothing
        when it becomes a slower one.
        """
        line = ("rate", f"{kbit_s}kbit", "burst", "1600", "limit", "4mb")
        self._shape("replace", to_near, "root", "tbf", *line)

    def quick_again(self, *, to_near: bool) -> None:
        """Ends the delay; frames that still queue are lost."""
        self._shape("del", to_near, "root")

    def _shape(self, verb: str, to_near: bool, *words: str) -> None:
        plug = self._plugs[0 if to_near else 1]
        plug.host.run("tc", "qdisc", verb, "dev", plug.name, *words)

    def pass_again(self, *, to_near: bool) -> None:
        """Lets frames arrive again."""
        self._joint.pass_again(self._from(to_near=to_near))

    def _from(self, *, to_near: bool) -> str:
        return self._plugs[1 if to_near else 0].name
