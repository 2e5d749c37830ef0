# SPDX-License-Identifier: BSD-2-Clause
"""The way in to a lagg: when it is news, and how often the network is told.

Owns what makes a way another one for whoever sends to the lagg, and the rounds of
announcements and of multicast rejoins that follow, which restart with every news.
Pure, on the integer clock: what is left of them is part of Wanted, so that whoever goes
on with the lagg says the rest.  Knows no frame.
"""

from dataclasses import replace

from lagg.lacp.values import NS_OF_MS, Instant
from lagg.model import Options, Rounds, Wanted, WayIn
from lagg.plan.plan import Plan
from lagg.plan.shape import Shape

REJOIN_INTERVAL_NS = 200 * NS_OF_MS
"""As bonding's, which nobody can set."""


def way_in(shape: Shape, plan: Plan) -> WayIn:
    """The way by which a lagg of this shape is reached; `plan` is made of it."""
    ways, stations = plan.way_in, plan.stations
    ports = (port.link.ifindex for port in shape.ports if port.slot in ways)
    home = None if stations is None else shape.at(stations.home).link.ifindex
    return WayIn(frozenset(ports), shape.mac.address or None, home)


def looked_at(wanted: Wanted, way: WayIn, options: Options, now: Instant) -> Wanted:
    """What is wanted when the way in is this one: rounds, if that is news.

    Without a port that carries nothing can be said; the first one to come is news.
    """
    before = wanted.way_in
    if way == before:
        return wanted
    wanted = replace(wanted, way_in=way)
    if not way.ports:
        return replace(wanted, announcements=Rounds(), rejoins=Rounds())
    # A port more changes nothing for who sends by the others, where no MAC moves.
    other_ports = not before.ports or not before.ports <= way.ports
    other_ports = other_ports or way.home != before.home
    if other_ports:
        wanted = replace(wanted, rejoins=Rounds(options.rejoin_count, now))
    if other_ports or way.mac != before.mac:
        wanted = to_announce(wanted, options, now)
    return wanted


def to_announce(wanted: Wanted, options: Options, now: Instant) -> Wanted:
    """What is wanted when the way in is to be announced for another reason."""
    return replace(wanted, announcements=Rounds(options.announce_count, now))


def due_at(wanted: Wanted) -> Instant | None:
    """When something is to be said next; None: nothing is."""
    rounds = (wanted.announcements, wanted.rejoins)
    return min((each.due for each in rounds if each.left), default=None)


def is_due(rounds: Rounds, now: Instant) -> bool:
    """Whether a round is to be said by now."""
    return rounds.left > 0 and rounds.due <= now


def said(wanted: Wanted, begun: Wanted, options: Options, at: Instant) -> Wanted:
    """What is wanted when that was said which was due at `at` of what `begun` wanted.

    What has been restarted since has all of its rounds before it.
    """
    interval_ns = options.announce_interval_ms * NS_OF_MS
    ours, theirs = wanted.announcements, wanted.rejoins
    return replace(
        wanted,
        announcements=_after(ours, begun.announcements, interval_ns, at),
        rejoins=_after(theirs, begun.rejoins, REJOIN_INTERVAL_NS, at),
    )


def _after(rounds: Rounds, begun: Rounds, interval_ns: int, at: Instant) -> Rounds:
    if rounds != begun or not is_due(begun, at):
        return rounds
    # Who is late, for nobody was there, does not say all of them at once.
    due = begun.due + interval_ns
    return Rounds(rounds.left - 1, due if due > at else at + interval_ns)
