# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's shape: its protocol, options and ports as one value, and how it changes.

Owns which slot a port gets, who is primary, and which port a flow bucket belongs to.
Pure: each change is a new Shape; knows no kernel and no device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lagg.link import Link, Modes
from lagg.model import (
    PORTS_MAX,
    Agreement,
    Options,
    PortFlag,
    PortOptions,
    PortView,
    Proto,
)
from lagg.plan import Homes, Situation, flags, plan, reason, rehome


@dataclass(frozen=True, slots=True)
class Port:
    """One attached port."""

    slot: int
    link: Link  # as the kernel last described it
    home_mac: str  # what it had before it was attached
    modes: Modes
    lacp: Agreement = field(default_factory=Agreement)

    @property
    def number(self) -> int:
        """As port_number()."""
        return port_number(self.slot)

    @property
    def view(self) -> PortView:
        """What a plan needs to know of it."""
        return PortView(
            self.slot, self.link.ifindex, active=self.link.active, lacp=self.lacp
        )


def port_number(slot: int) -> int:
    """A port's number in LACPDUs, which is never 0 (6.3.4)."""
    return slot + 1


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
    # By name, of interfaces that are no ports, too.
    port_options: Mapping[str, PortOptions] = field(default_factory=dict)

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

    def options_of(self, port: str) -> PortOptions:
        """What is set for the port of that name."""
        return self.port_options.get(port, PortOptions())

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

    def with_link(self, link: Link, modes: Modes) -> "Shape":
        """A port whose link the kernel describes anew; its options follow its name."""
        known = self.find(link.ifindex)
        options = dict(self.port_options)
        if known is not None and known.link.name in options:
            options[link.name] = options.pop(known.link.name)
        ports = tuple(
            replace(port, link=link, modes=modes)
            if port.link.ifindex == link.ifindex
            else port
            for port in self.ports
        )
        return replace(self, ports=ports, port_options=options)

    def with_agreements(self, agreed: Mapping[int, Agreement]) -> "Shape":
        """What LACP says now, by slot; of a port that is not named it says nothing."""
        ports = tuple(
            replace(port, lacp=agreed.get(port.slot, Agreement()))
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
