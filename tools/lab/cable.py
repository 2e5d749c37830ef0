# SPDX-License-Identifier: BSD-2-Clause
"""A cable between two hosts: a veth pair, or two with a patch panel in between.

Owns how a cable is cut: the carrier goes, the interfaces stay.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

from lab.host import Host

MTU_MAX = 65535
"""Of a veth."""

_indices = itertools.count(101)
_FAR = 1_000_000


class Cable(Protocol):
    """What can be cut and mended."""

    def cut(self) -> None:
        """The carrier goes."""

    def mend(self) -> None:
        """It comes back."""


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
        _join(panel, self._plugs[0].name, self._plugs[1].name)
        _join(panel, self._plugs[1].name, self._plugs[0].name)

    def cut(self) -> None:
        """Both ends lose their carrier."""
        for plug in self._plugs:
            plug.set("down")

    def mend(self) -> None:
        """Both ends have it again."""
        for plug in self._plugs:
            plug.set("up")


def _join(panel: Host, plug: str, other: str) -> None:
    """Whatever enters by `plug` leaves by `other`, of any protocol and size."""
    panel.set_link(plug, mtu=MTU_MAX)
    panel.run("tc", "qdisc", "add", "dev", plug, "ingress")
    panel.run(
        *("tc", "filter", "add", "dev", plug, "ingress", "protocol", "all"),
        *("u32", "match", "u32", "0", "0"),
        *("action", "mirred", "egress", "redirect", "dev", other),
    )
