# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's shape: its protocol, options and ports as one value, and how it changes.

Owns which slot a port gets, who is primary, and which port a flow bucket belongs to.
Pure: each change is a new Shape; knows no kernel and no device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lagg.link import Link
from lagg.model import PORTS_MAX, Options, PortFlag, PortView, Proto
from lagg.plan import Homes, Situation, flags, plan, reason, rehome


@dataclass(frozen=True, slots=True)
class Port:
    """One attached port."""

    slot: int
    link: Link  # as the kernel last described it
    home_mac: str  # what it had before it was attached
    speed_mbps: int  # 0 when unknown

    @property
    def view(self) -> PortView:
        """What a plan needs to know of it."""
        return PortView(self.slot, self.link.ifindex, active=self.link.active)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a port is to its lagg."""

    flags: tuple[PortFlag, ...]  # as ifconfig(8) prints them
    reason: str | None  # why it carries nothing, in words; None when it does


@dataclass(frozen=True, slots=True)
class Shape:
    """All that a lagg's plan depends on."""

    proto: Proto
    options: Options  # hash_seed drawn
    ports: tuple[Port, ...] = ()  # by ifindex, as lagg(4) keeps them (F-ID-5)
    primary: int | None = None  # slot
    homes: Homes = ()

    @property
    def situation(self) -> Situation:
        """The same, as plan.py wants it."""
        views = tuple(port.view for port in self.ports)
        return Situation(self.proto, self.options, views, self.primary, self.homes)

    @property
    def primary_port(self) -> Port | None:
        """The port that gives the lagg its MAC (F-AT-7)."""
        return None if self.primary is None else self.at(self.primary)

    def at(self, slot: int) -> Port:
        """The port in a slot; it must be there."""
        return next(port for port in self.ports if port.slot == slot)

    def find(self, ifindex: int) -> Port | None:
        """The port with this ifindex."""
        return next((p for p in self.ports if p.link.ifindex == ifindex), None)

    def named(self, name: str) -> Port | None:
        """The port with this interface name."""
        return next((p for p in self.ports if p.link.name == name), None)

    def free_slot(self) -> int | None:
        """The lowest slot without a port; None when all PORTS_MAX are taken."""
        taken = {port.slot for port in self.ports}
        return next((slot for slot in range(PORTS_MAX) if slot not in taken), None)

    def with_port(self, port: Port) -> "Shape":
        """Attached: the first port becomes primary."""
        ports = sorted((*self.ports, port), key=lambda port: port.link.ifindex)
        primary = port.slot if self.primary is None else self.primary
        return self._with_ports(ports, primary)

    def without_port(self, slot: int) -> "Shape":
        """Detached: the next primary is the first port left (F-DT-1)."""
        ports = [port for port in self.ports if port.slot != slot]
        primary = self.primary
        if primary == slot:
            primary = ports[0].slot if ports else None
        return self._with_ports(ports, primary)

    def _with_ports(self, ports: Sequence[Port], primary: int | None) -> "Shape":
        slots = [port.slot for port in ports]
        homes = rehome(self.homes, slots)
        return replace(self, ports=tuple(ports), primary=primary, homes=homes)

    def with_link(self, link: Link, speed_mbps: int) -> "Shape":
        """A port whose link the kernel describes anew."""
        ports = tuple(
            replace(port, link=link, speed_mbps=speed_mbps)
            if port.link.ifindex == link.ifindex
            else port
            for port in self.ports
        )
        return replace(self, ports=ports)

    def standings(self) -> dict[int, Standing]:
        """How each port stands, by slot; all at once, for each needs the whole plan."""
        situation = self.situation
        carrying = plan(situation).distributing
        return {
            port.slot: Standing(
                flags(situation, port.slot),
                reason(situation, port.slot, carrying, admin_up=port.link.up),
            )
            for port in self.ports
        }
