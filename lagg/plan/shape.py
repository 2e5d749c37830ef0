# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's shape: its protocol, options and ports as one value, and how it changes.

Owns which slot a port gets, who is primary, and which port a flow bucket belongs to.
Pure: each change is a new Shape; knows no kernel and no device.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import U32, Instant, Mac
from lagg.link import Link, Modes
from lagg.model import (
    BUCKETS,
    Agreement,
    LaggConfig,
    LinkLocal,
    MacPolicy,
    Options,
    Pin,
    PortOptions,
    Proto,
)
from lagg.options import PORTS_MAX
from lagg.plan.buckets import Homes, Slot, rehome
from lagg.plan.loop import Loop
from lagg.plan.penalty import Penalty
from lagg.watches import LinkWatch, Verdict, Watched

Caller = Annotated[int, range(BUCKETS + 1)]
"""A bucket of peers; BUCKETS: none, the place is free."""

_UNSET = PortOptions()  # of a port for which nothing is set


@dataclass(frozen=True, slots=True)
class LaggMac:
    """The MAC that a lagg and all its ports have, and whose it is."""

    address: Mac
    fixed: bool = False  # the user's: it stays whatever ports come and go
    donor: str | None = None  # the port that gave it, which may have left

    def lasting(self, config: LaggConfig) -> LaggConfig:
        """`config` of the lagg, with this if its ports would not give it again."""
        if self.donor is None or self.donor in config.ports:
            return config
        return replace(config, mac=self.address)


@dataclass(frozen=True, slots=True)
class Wait:
    """A port counts as what it was before its link changed: see delays.py."""

    active: bool  # what it counts as
    until: Instant


@dataclass(frozen=True, slots=True)
class Port:
    """One attached port."""

    slot: Slot
    link: Link  # as the kernel last described it
    home_mac: Mac  # what it had before it was attached
    modes: Modes
    lacp: Agreement = field(default_factory=Agreement)
    warnings: tuple[str, ...] = ()  # what somebody uses it for beside, in words
    wait: Wait | None = None
    held: bool = False  # by its option, or for a time: see gate.py
    held_until: Instant | None = None
    lowered: bool = False  # set down for being held: see gate.py
    last_speed_mbps: U32 = 0  # before its link went, while that tells none
    penalty: Penalty | None = None  # for having been lost: see damping.py
    loop: Loop | None = None  # own frames came back by it: see loop_guard.py
    watched: Watched = field(default_factory=Watched)  # its path: see paths.py

    def with_link(self, link: Link, modes: Modes) -> "Port":
        """With its link as it is now; a driver tells no speed while there is none."""
        last = 0 if modes.speed_mbps else self.speed_mbps
        return replace(self, link=link, modes=modes, last_speed_mbps=last)

    @property
    def speed_mbps(self) -> int:
        """Its speed, or the last that is known; 0: none is."""
        return self.modes.speed_mbps or self.last_speed_mbps

    @property
    def number(self) -> int:
        """The port's number in LACPDUs."""
        return port_number(self.slot)

    @property
    def lends(self) -> LaggMac:
        """The MAC that it can give its lagg."""
        return LaggMac(self.home_mac, donor=self.link.name)

    @property
    def active(self) -> bool:
        """F-ACT-1: link up and administratively up, when a delay is over."""
        return self.link.active if self.wait is None else self.wait.active

    @property
    def damped(self) -> bool:
        """Whether it is kept out until it is steady: see damping.py."""
        return self.penalty is not None and self.penalty.suppresses

    @property
    def looped(self) -> bool:
        """Whether it is kept out, for own frames come back: see loop_guard.py."""
        return self.loop is not None and self.loop.holds

    @property
    def usable(self) -> bool:
        """Whether frames may be given to it, as far as its lagg is concerned."""
        kept_out = self.held or self.damped or self.looped
        return self.active and not kept_out and self.watched.alive

    @property
    def has_dead_path(self) -> bool:
        """Whether its watches call its path dead though its link is up."""
        return self.link.active and not self.watched.alive

    @property
    def unused_words(self) -> str:
        """Why it is not usable, for whom another port stands in."""
        if not self.active:
            return "down"
        dead = f" ({self.watched.reason})" if self.has_dead_path else ""
        return f"not in use{dead}"


def port_number(slot: int) -> int:
    """A port's number in LACPDUs, which is never 0 (6.3.4)."""
    return slot + 1


@dataclass(frozen=True, slots=True)
class Shape:
    """All that a lagg's plan depends on."""

    proto: Proto
    options: Options  # hash_seed drawn
    ports: tuple[Port, ...] = ()  # by ifindex, as lagg(4) keeps them (F-ID-5)
    primary: Slot | None = None
    homes: Homes = ()
    timed_pins: tuple[tuple[Pin, Instant], ...] = ()  # until then; see pins.py
    callers: tuple[Caller, ...] = ()  # places of peers that are taught: stations.py
    closing: frozenset[Slot] = frozenset()  # of ports that went; what comes in counts
    # By name, of interfaces that are no ports, too.
    port_options: Mapping[str, PortOptions] = field(default_factory=dict)
    # The ports that a file names, as it names them, there or not; none made by hand.
    order: tuple[str, ...] = ()
    mac: LaggMac = LaggMac("")  # when all have it, and not before
    # Of elections: see election.py.
    picked: Slot | None = None  # a user's choice, until it fails
    incumbent: Slot | None = None  # that carried last by failover
    carriers: frozenset[Slot] = frozenset()  # that carried last by a static spread
    primary_due: bool = False  # the named primary is yet to carry, whatever reselect is

    @property
    def preferred(self) -> tuple[Port, ...]:
        """The ports in the file's order, those it does not name after, by ifindex."""
        return tuple(self._preferred(self.ports))

    @property
    def names(self) -> tuple[str, ...]:
        """The ports as they are to be attached: who gives the MAC comes first."""
        first = self.primary if self.options.primary is None else None
        ports = sorted(self.ports, key=lambda p: (p.slot != first, p.slot))
        return tuple(port.link.name for port in ports)

    def lasting_options(self, ports: Collection[str]) -> Options:
        """The options but for a primary and pins that are none of these ports."""
        primary = self.options.primary
        return replace(
            self.options,
            primary=primary if primary in ports else None,
            pin=tuple(pin for pin in self.options.pin if pin.port in ports),
        )

    @property
    def primary_port(self) -> Port | None:
        """The port that is preferred (F-AT-7)."""
        return None if self.primary is None else self.at(self.primary)

    @property
    def wanted_mac(self) -> LaggMac:
        """What the lagg's MAC is to be, with these ports and its policy."""
        primary, policy = self.primary_port, self.options.mac_policy
        if self.mac.fixed or primary is None:
            return self.mac
        if policy is MacPolicy.ACTIVE and self.mac.donor is not None:
            carrying = (port for port in self.ports if port.slot == self.incumbent)
            return next((port.lends for port in carrying), self.mac)
        keeps = policy in (MacPolicy.STABLE, MacPolicy.OWN) and self._keeps_mac(primary)
        return self.mac if keeps else primary.lends

    @property
    def keeps_own(self) -> bool:
        """Whether each port keeps its own MAC, by the policy or the protocol."""
        return self.options.mac_policy.keeps_own or self.proto.by_stations

    def mac_of(self, port: Port) -> Mac:
        """What a port's own MAC is to be."""
        return port.home_mac if self.keeps_own else self.mac.address

    @property
    def own_macs(self) -> frozenset[Mac]:
        """The sources of what the lagg sends; who stands on it may have others."""
        macs = {self.mac.address, *(self.mac_of(port) for port in self.ports)}
        return frozenset(macs - {""})

    @property
    def keeps_local(self) -> bool:
        """Whether frames for one cable alone stay on their port."""
        return self.options.link_local is LinkLocal.STAY

    @property
    def asked_in_vlans(self) -> tuple[str, ...]:
        """The watches whose answers come with a tag, in words."""
        watches = self.options.watch
        return tuple(f"the watch of {each.target}" for each in watches if each.vlan)

    def lets_in(self, home_mac: Mac) -> frozenset[Mac]:
        """The MACs that a port with this one must let in beside its own."""
        options = self.options
        if not self.keeps_own or home_mac == self.mac.address:
            return frozenset()
        # Of who carries it is the own one, and by the others nothing is taken.
        by_others = self.mac.fixed or options.failover_rx_all
        if options.mac_policy is MacPolicy.ACTIVE and not by_others:
            return frozenset()
        return frozenset({self.mac.address})

    def _keeps_mac(self, primary: Port) -> bool:
        """Whether the port that gave the lagg its MAC keeps that role.

        It has, but for a port that the file puts before it, which came later.
        """
        donor = self.mac.donor
        if donor is None:
            return False
        has_place = donor in self.order or self.named(donor) is not None
        return not has_place or self.rank(donor) <= self.rank(primary.link.name)

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
        return self.port_options.get(port, _UNSET)

    def rank(self, port: str) -> int:
        """The place that the file gives a port by its name, 0 the first.

        What it does not name comes after all that it does.
        """
        return self.order.index(port) if port in self.order else len(self.order)

    def _preferred(self, ports: Iterable[Port]) -> list[Port]:
        """The ports in the file's order, then all others by ifindex, as lagg(4)."""
        return sorted(ports, key=lambda p: (self.rank(p.link.name), p.link.ifindex))

    def free_slot(self, name: str) -> int | None:
        """The slot for the port of that name; None when all PORTS_MAX are taken.

        Its place in the file, so that its number in LACPDUs is that of every start;
        else the lowest that is nobody's place.
        """
        taken = {port.slot for port in self.ports}
        free = [slot for slot in range(PORTS_MAX) if slot not in taken]
        place = self.rank(name)
        return min(
            free, key=lambda s: (s != place, s < len(self.order), s), default=None
        )

    def in_order(self, order: Sequence[str]) -> "Shape":
        """The shape with the file's order of ports, the first of which is primary."""
        shape = replace(self, order=tuple(order))
        first = next(iter(shape._preferred(shape.ports)), None)
        if first is None or first.link.name not in order:
            return shape
        return replace(
            shape,
            primary=first.slot
            if shape._named_primary is None
            else shape._named_primary,
        )

    @property
    def _named_primary(self) -> Slot | None:
        name = self.options.primary
        port = None if name is None else self.named(name)
        return None if port is None else port.slot

    def with_options(self, options: Options) -> "Shape":
        """With these; a port that they name is primary.

        When they name none any more, the file's first is; of ports that no file names
        the one that was stays, for who came first is forgotten.
        """
        shape = replace(self, options=options)
        primary = shape._named_primary
        if primary is None and self.options.primary is not None and self.order:
            return shape.in_order(self.order)
        return shape if primary is None else replace(shape, primary=primary)

    def with_pick(self, name: str) -> "Shape":
        """With the port of this name as a user's choice; "": with none.

        Then the incumbent is forgotten, too: whoever is preferred carries.
        """
        if name == "":
            return replace(self, picked=None, incumbent=None)
        port = self.named(name)
        return self if port is None else replace(self, picked=port.slot)

    def with_port(self, port: Port) -> "Shape":
        """With one more port; the file's first, else the first to come, is primary."""
        ports = sorted((*self.ports, port), key=lambda port: port.link.ifindex)
        primary = self.primary_port
        named = self.options.primary
        keeps = primary is not None and (
            primary.link.name == named
            or self.rank(primary.link.name) <= self.rank(port.link.name)
        )
        keeps = keeps and port.link.name != named
        return self._with_ports(ports, self.primary if keeps else port.slot)

    def without_port(self, slot: int) -> "Shape":
        """Without a port; the next primary is the first port left (F-DT-1)."""
        ports = [port for port in self.ports if port.slot != slot]
        primary = self.primary
        if primary == slot:
            primary = self._preferred(ports)[0].slot if ports else None
        return self._with_ports(ports, primary)

    def _with_ports(self, ports: Sequence[Port], primary: int | None) -> "Shape":
        return replace(self, ports=tuple(ports), primary=primary).rehomed()

    def rehomed(self) -> "Shape":
        """With each bucket's home as the ports' weights are now."""
        return replace(self, homes=rehome(self.homes, self.weights(self.ports)))

    def rehomed_since(self, before: "Shape") -> "Shape":
        """rehomed(), where a weight or a speed is another than in `before`."""
        was, now = (shape.weights(shape.ports) for shape in (before, self))
        return self if was == now else self.rehomed()

    def weights(self, ports: Iterable[Port]) -> dict[Slot, int]:
        """What these ports weigh, by slot, in thousandths; by speed that is in Mbit/s.

        A speed that is not known counts as 1.
        """
        found = {}
        for port in ports:
            weight = self.options_of(port.link.name).weight
            found[port.slot] = weight * 1000 or port.speed_mbps or 1000
        return found

    def with_link(self, link: Link, modes: Modes) -> "Shape":
        """With a port's link as the kernel describes it now."""
        known = self.find(link.ifindex)
        if known is not None and known.link.name != link.name:
            return self._renamed(known.link.name, link.name).with_link(link, modes)
        ports = tuple(
            port.with_link(link, modes) if port.link.ifindex == link.ifindex else port
            for port in self.ports
        )
        return replace(self, ports=ports)

    def _renamed(self, was: str, name: str) -> "Shape":
        """Moves what is set for a port by its former name to its new name."""
        ports = tuple(
            replace(
                port,
                link=replace(port.link, name=name)
                if port.link.name == was
                else port.link,
                watched=port.watched.renamed(was, name),
            )
            for port in self.ports
        )
        options = self.options
        primary = options.primary
        of_ports = dict(self.port_options)
        if was in of_ports:
            of_ports[name] = of_ports.pop(was)
        order = dict.fromkeys(name if each == was else each for each in self.order)
        return replace(
            self,
            ports=ports,
            options=replace(
                options,
                watch=tuple(each.renamed(was, name) for each in options.watch),
                primary=name if primary == was else primary,
                pin=tuple(each.renamed(was, name) for each in options.pin),
            ),
            timed_pins=tuple(
                (pin.renamed(was, name), until) for pin, until in self.timed_pins
            ),
            port_options=of_ports,
            order=tuple(order),
            mac=replace(self.mac, donor=name) if self.mac.donor == was else self.mac,
        )

    def with_warnings(self, slot: int, warnings: tuple[str, ...]) -> "Shape":
        """With these warnings for a port, in place of those before."""
        ports = tuple(
            replace(port, warnings=warnings) if port.slot == slot else port
            for port in self.ports
        )
        return replace(self, ports=ports)

    def with_waits(self, waits: Mapping[int, Wait]) -> "Shape":
        """With these waits by slot; a port whose slot is not named has none."""
        ports = tuple(
            port
            if port.wait == waits.get(port.slot)
            else replace(port, wait=waits.get(port.slot))
            for port in self.ports
        )
        return replace(self, ports=ports)

    def with_verdicts(self, said: Mapping[int, Mapping[LinkWatch, Verdict]]) -> "Shape":
        """With these verdicts by slot and watch; those that are not named stay."""
        ports = tuple(
            replace(port, watched=port.watched.told(said[port.slot]))
            if port.slot in said
            else port
            for port in self.ports
        )
        return self if ports == self.ports else replace(self, ports=ports)

    def with_agreements(self, agreed: Mapping[int, Agreement]) -> "Shape":
        """With LACP's agreements by slot; a slot that is not named has none."""
        ports = tuple(
            replace(port, lacp=agreed.get(port.slot, Agreement()))
            for port in self.ports
        )
        return replace(self, ports=ports)
