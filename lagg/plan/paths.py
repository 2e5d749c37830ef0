# SPDX-License-Identifier: BSD-2-Clause
"""What a port's path counts as before any watch has found out.

Owns that each port has one verdict for each watch that applies to it, and how it
begins: a port that carries is trusted until it is found dead; one that comes, or whose
carrier returns, is proved first.  What was found stands when a watch asks the same at
another pace.  Pure; the time of day is an argument, in nanoseconds since 1970.
"""

from dataclasses import replace

from lagg.plan.shape import Port, Shape
from lagg.watches import LinkWatch, Verdict, Watched, WatchState


def settled(before: Shape, after: Shape, at_ns: int) -> Shape:
    """`after` with the verdicts of its ports.

    `before` is the shape that was settled last.
    """
    ports = tuple(
        _settled(port, before.find(port.link.ifindex), after, at_ns)
        for port in after.ports
    )
    return after if ports == after.ports else replace(after, ports=ports)


def _settled(port: Port, old: Port | None, shape: Shape, at_ns: int) -> Port:
    options = shape.options
    verdicts = tuple(
        _verdict(watch, port, old, at_ns)
        for watch in options.watch
        if watch.applies_to(port.link.name)
    )
    watched = Watched(verdicts, options.watch_policy) if verdicts else Watched()
    return port if watched == port.watched else replace(port, watched=watched)


def _verdict(watch: LinkWatch, port: Port, old: Port | None, at_ns: int) -> Verdict:
    said = port.watched.of(watch)
    before = None if old is None else old.watched.of(watch)
    known = said if before is None else before
    if not port.link.active:
        said = Verdict(watch, WatchState.DOWN, "no carrier")
    elif said is None:
        trusted = old is not None and old.link.active and old.watched.alive
        state = WatchState.INIT if trusted else WatchState.DOWN
        said = Verdict(watch, state, "no reply yet")
    if known is None:
        return replace(said, since_ns=at_ns)
    fails = said.state is WatchState.DOWN and known.state is not WatchState.DOWN
    return replace(
        said,
        watch=watch,
        since_ns=known.since_ns if known.state is said.state else at_ns,
        failures=known.failures + (fails and port.link.active),
    )
