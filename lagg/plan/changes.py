# SPDX-License-Identifier: BSD-2-Clause
"""What differs between a lagg's shape and the next, in words for people.

Owns which options are others, what made the plan another, and what of it is an event.
Pure, as shape.py.
"""

from collections.abc import Iterator

from lagg.events import EventKind
from lagg.frozen import dataclass
from lagg.model import Spread, differences, words
from lagg.plan.buckets import Slot
from lagg.plan.pins import pins
from lagg.plan.plan import Plan
from lagg.plan.shape import Port, Shape
from lagg.watches import WatchState


@dataclass(frozen=True, slots=True)
class OptionChange:
    """One option that is another."""

    port: str | None  # whose; None: the lagg's
    key: str
    was: object
    now: object

    def __str__(self) -> str:
        """As "lacp_strict: true -> false"."""
        was, now = (words(value, none="the lagg's") for value in (self.was, self.now))
        return f"{self.key}: {was} -> {now}"


def option_changes(before: Shape, after: Shape) -> Iterator[OptionChange]:
    """The lagg's own options, then those of ports by name.

    What is said of a port by its name follows it to another name, and is no change.
    """
    for key, was, now in differences(before.options, after.options):
        yield OptionChange(None, key, was, now)
    former = _former_names(before, after)
    named = {*before.port_options, *after.port_options} - {*former.values()}
    for port in sorted({*named, *former}):
        known = before.options_of(former.get(port, port))
        for key, was, now in differences(known, after.options_of(port)):
            yield OptionChange(port, key, was, now)


def _former_names(before: Shape, after: Shape) -> dict[str, str]:
    """The former names of renamed ports, by their present names."""
    found = ((port, before.find(port.link.ifindex)) for port in after.ports)
    pairs = ((port.link.name, old.link.name) for port, old in found if old is not None)
    return {name: was for name, was in pairs if name != was}


def cause(before: Shape, after: Shape) -> str | None:
    """Why the plan is another, as "eth0 down, eth1 attached"; None: nobody knows."""
    found = [*_of_lagg(before, after), *_of_ports(before, after)]
    return ", ".join(found) or None


_ELECTING = frozenset({"primary", "reselect", "min_links", "priority", "weight", "pin"})
"""Options by which another port may carry."""


def _of_lagg(before: Shape, after: Shape) -> Iterator[str]:
    for change in option_changes(before, after):
        if change.key in _ELECTING:
            yield f"{change.port} {change}" if change.port else str(change)
    if after.picked is not None and before.picked != after.picked:
        yield f"a user chose {after.at(after.picked).link.name}"
    if before.proto is not after.proto:
        yield f"laggproto {after.proto.value}"
    if before.order != after.order:
        yield "the order of its ports"


def picks(before: Shape, after: Shape) -> Iterator[str]:
    """What a user chose beside the options: who carries, whom nothing is given to."""
    was = None if before.picked is None else before.at(before.picked).link.name
    now = None if after.picked is None else after.at(after.picked).link.name
    if was != now:
        yield f"active: {now or 'by itself'}"
    for port in after.ports:
        old = before.find(port.link.ifindex)
        if old is not None and old.held_until != port.held_until:
            held = "held for a time" if port.held_until else "held for no time"
            yield f"port {port.link.name}: {held}"


def _of_ports(before: Shape, after: Shape) -> Iterator[str]:
    for old in before.ports:
        port = after.find(old.link.ifindex)
        if port is None:
            yield f"{old.link.name} left"
        else:
            yield from _of_port(old, port)
    for port in after.ports:
        if before.find(port.link.ifindex) is None:
            yield f"{port.link.name} attached"


def _of_port(old: Port, port: Port) -> Iterator[str]:
    if old.active != port.active:
        yield f"{port.link.name} {'up' if port.active else 'down'}"
    elif old.held != port.held:
        yield f"{port.link.name} {'held' if port.held else 'held no more'}"
    elif old.damped != port.damped:
        yield f"{port.link.name} {'kept out' if port.damped else 'let in again'}"
    elif old.looped != port.looped:
        heard = "own frames come back" if port.looped else "own frames come no more"
        yield f"{port.link.name}: {heard}"
    elif old.watched.alive != port.watched.alive:
        found = "replies" if port.watched.alive else port.watched.reason
        yield f"{port.link.name} path: {found}"
    elif old.lacp.distributing and not port.lacp.distributing:
        yield f"{port.link.name} distributes no more: {port.lacp.reason}"
    elif old.speed_mbps != port.speed_mbps:
        yield f"{port.link.name} at {port.speed_mbps} Mbit/s"
    elif port.lacp.distributing and not old.lacp.distributing:
        yield f"{port.link.name} distributes"


@dataclass(frozen=True, slots=True)
class News:
    """An event that is to be told of a lagg."""

    event: EventKind
    details: str
    port: str | None = None
    cause: str | None = None
    warns: bool = False  # somebody may not have meant it


def news(before: Shape, after: Shape) -> Iterator[News]:
    """Links, MAC and protocol that are others."""
    for port in after.ports:
        old = before.find(port.link.ifindex)
        if old is not None:
            yield from _link_news(old, port)
            yield from _hold_news(after, old, port)
            yield from _damping_news(old, port)
            yield from _loop_news(old, port)
            yield from _watch_news(old, port)
    yield from _pin_news(before, after)
    if before.mac.address != after.mac.address:
        whose = after.mac.donor and f"that of {after.mac.donor}"
        yield News(EventKind.MAC, after.mac.address, cause=whose)
    if before.proto is not after.proto:
        protos = f"{before.proto.value} -> {after.proto.value}"
        yield News(EventKind.PROTO, protos)


def _link_news(old: Port, port: Port) -> Iterator[News]:
    """While a port is kept out for it, what its link does is no news."""
    name, up = port.link.name, port.link.active
    if old.damped:
        return
    if old.link.active != up:
        delay = "up_delay_ms" if up else "down_delay_ms"
        waits = f", waits for {delay}" if port.wait is not None else ""
        words = f"{'up' if up else 'down'}{waits}"
        yield News(EventKind.PORT_LINK, words, name, warns=not up)
    elif old.active != port.active:
        yield News(EventKind.PORT_DELAY, "is used" if port.active else "is left", name)


def _hold_news(after: Shape, old: Port, port: Port) -> Iterator[News]:
    if old.held == port.held:
        return
    words = "held" if port.held else "no longer held"
    last = port.held and not any(each.usable for each in after.ports)
    if last:
        words += ": no other port is usable, so the lagg carries nothing"
    yield News(EventKind.PORT_HOLD, words, port.link.name, warns=last)


def _damping_news(old: Port, port: Port) -> Iterator[News]:
    if old.damped == port.damped:
        return
    words = "kept out until it is steady"
    if not port.damped:
        words = f"let in again, and its link is {'up' if port.link.active else 'down'}"
    yield News(EventKind.PORT_DAMPING, words, port.link.name, warns=port.damped)


def _loop_news(old: Port, port: Port) -> Iterator[News]:
    if old.looped == port.looped:
        return
    words = "kept out by loop_guard: the lagg's own frames come back by it"
    if not port.looped:
        words = "let in again by loop_guard"
    yield News(EventKind.PORT_LOOP, words, port.link.name, warns=port.looped)


def _pin_news(before: Shape, after: Shape) -> Iterator[News]:
    """Buckets that a user pinned, or no more; also for a time that is over."""
    was, now = pins(before), pins(after)
    for bucket in sorted({*was, *now}):
        port = now.get(bucket)
        if was.get(bucket) != port:
            words = f"bucket {bucket} is pinned" if port else f"bucket {bucket} no more"
            yield News(EventKind.PIN, words, port or was[bucket])


def _watch_news(old: Port, port: Port) -> Iterator[News]:
    """What each watch has found, from and to; by `cause`, whether the port counts."""
    for now in port.watched.verdicts:
        was = old.watched.of(now.watch)
        if was is None or was.state is now.state or not port.link.active:
            continue
        words = f"{now.watch.kind.value} {now.watch.target}".strip()
        states = f"{was.state.value} -> {now.state.value}"
        lost = now.state is WatchState.DOWN
        yield News(
            EventKind.PORT_WATCH,
            f"{words}: {states}",
            port.link.name,
            cause=now.reason,
            warns=lost,
        )


def option_news(before: Shape, after: Shape) -> Iterator[News]:
    """Options that are others."""
    for change in option_changes(before, after):
        if change.key != "pin":  # each is told by itself
            yield News(EventKind.OPTION, str(change), change.port)


def active_news(before: Shape, was: Plan, after: Shape, now: Plan) -> Iterator[News]:
    """Another port that is active, where one is; `was` and `now` are made of these."""
    if not (_has_active(was) and _has_active(now)):
        return
    held = [before.at(slot).link for slot in _active(was)]
    for slot in _active(now):
        active = after.at(slot).link
        if [link.ifindex for link in held] != [active.ifindex]:
            old = ", ".join(link.name for link in held)
            ways = f"{old or 'none'} -> {active.name}"
            yield News(EventKind.ACTIVE_PORT, ways, active.name, cause(before, after))


def _has_active(plan: Plan) -> bool:
    """Whether one port is the active one, or none is yet."""
    by_one = plan.spread is Spread.FIRST or plan.stations is not None
    return by_one or not plan.tx_slots


def _active(plan: Plan) -> tuple[Slot, ...]:
    """The slot of the active port, where there is one."""
    return plan.distributing if plan.stations is None else (plan.stations.home,)
