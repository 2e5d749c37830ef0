# SPDX-License-Identifier: BSD-2-Clause
"""Which ports carry: the one of failover and tlb, and the group of a static spread.

Owns lagg(4)'s primary and its heirs, priorities, reselect, min_links and the choice of
a user.  Pure: who carried last is a part of the shape, and settled() keeps it so.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from lagg.model import Proto, Reselect
from lagg.plan.buckets import Slot
from lagg.plan.shape import Port, Shape

GROUPED = frozenset({Proto.ROUNDROBIN, Proto.LOADBALANCE, Proto.BROADCAST})
"""The protocols by which all ports of one group carry."""


def link_active(ports: Sequence[Port], slot: int | None) -> int | None:
    """FreeBSD's lagg_link_active(): the port, else its successor, else the first.

    `ports` in lagg(4)'s order; answers a slot, None when no port is active.
    """
    return _heir(ports, slot, {port.slot for port in ports if port.usable})


def _heir(ports: Sequence[Port], slot: int | None, of: Collection[int]) -> int | None:
    index = next((i for i, port in enumerate(ports) if port.slot == slot), None)
    candidates = [] if index is None else list(ports[index : index + 2])
    found = (port.slot for port in [*candidates, *ports] if port.slot in of)
    return next(found, None)


def settled(before: Shape, after: Shape) -> Shape:
    """`after` with what an election leaves: who carries, and who no more.

    `before` is the shape that was settled last.
    """
    shape = replace(
        after,
        picked=_still_usable(after, after.picked),
        incumbent=_still_usable(after, after.incumbent),
        carriers=after.carriers & _usable(after),
        primary_due=_is_primary_due(before, after),
    )
    if shape.proto.elects:
        chosen = elected(shape)
        named = _named(shape)
        due = shape.primary_due and (named is None or named.slot != chosen)
        shape = replace(shape, incumbent=chosen, primary_due=due)
    elif shape.proto in GROUPED:
        slots = frozenset(port.slot for port in group(shape))
        shape = replace(shape, carriers=slots)
    return after if shape == after else shape


def _usable(shape: Shape) -> frozenset[Slot]:
    return frozenset(port.slot for port in shape.ports if port.usable)


def _still_usable(shape: Shape, slot: Slot | None) -> Slot | None:
    return slot if slot in _usable(shape) else None


def _is_primary_due(before: Shape, after: Shape) -> bool:
    """Whether the primary is yet to carry, for it was named or attached just now."""
    name = after.options.primary
    if name is None:
        return False
    port = after.named(name)
    came = port is None or before.find(port.link.ifindex) is None
    return came or name != before.options.primary or after.primary_due


# ---- failover, and the home of stations --------------------------------------------


def elected(shape: Shape) -> Slot | None:
    """The slot of the port that carries a failover lagg, or is the home of tlb."""
    if len(_usable(shape)) < shape.options.min_links:
        return None
    best = preferred(shape)
    if shape.picked is not None and shape.at(shape.picked).usable:
        return shape.picked
    if best is None or shape.incumbent in (None, best):
        return best
    ours, held = shape.at(best), shape.at(shape.incumbent)
    due = shape.primary_due and ours == _named(shape)
    if not held.usable or due:
        return best
    if _stand_in_alike(shape, ours, held) or not _takes_over(shape, [ours], [held]):
        return held.slot
    return best


def _stand_in_alike(shape: Shape, ours: Port, held: Port) -> bool:
    """Whether both only stand in for a named primary, and neither is above the other.

    Bonding leaves the one that carries, then; without a name lagg(4) returns.
    """
    named = _named(shape)
    alike = priority_of(shape, ours) == priority_of(shape, held)
    return named is not None and ours != named and alike


def _takes_over(shape: Shape, best: Sequence[Port], held: Sequence[Port]) -> bool:
    """Whether those that are preferred carry in place of those that do, by reselect."""
    match shape.options.reselect:
        case Reselect.ALWAYS:
            return True
        case Reselect.BETTER:
            return _quality(best) > _quality(held)
        case Reselect.FAILURE:
            return False


def preferred(shape: Shape) -> Slot | None:
    """The usable port that would carry were there no incumbent and no user's choice.

    The named primary; else of the highest priority lagg(4)'s primary, or its heir.
    """
    primary = shape.primary_port
    if primary is not None and primary.usable and not shape.port_options:
        return primary.slot  # whatever the order of the others, which takes a sort
    named = _named(shape)
    if named is not None and named.usable:
        return named.slot
    best = _best_of(shape, [port for port in shape.ports if port.usable])
    slots = {port.slot for port in best}
    return _heir(shape.preferred, shape.primary, slots) if slots else None


def by_preference(shape: Shape) -> list[Port]:
    """The usable ports in the order in which they stand in for each other."""
    ports = [port for port in shape.preferred if port.usable]
    return sorted(ports, key=lambda port: -priority_of(shape, port))


def priority_of(shape: Shape, port: Port) -> int:
    """What a user set for a port; the highest is the best."""
    return shape.options_of(port.link.name).priority


def _named(shape: Shape) -> Port | None:
    name = shape.options.primary
    return None if name is None else shape.named(name)


def _best_of(shape: Shape, ports: Sequence[Port]) -> list[Port]:
    top = max((priority_of(shape, port) for port in ports), default=0)
    return [port for port in ports if priority_of(shape, port) == top]


def _quality(ports: Sequence[Port]) -> tuple[int, bool]:
    speed_mbps = sum(port.modes.speed_mbps for port in ports)
    return speed_mbps, all(port.modes.full_duplex for port in ports)


# ---- groups ------------------------------------------------------------------------


def group(shape: Shape) -> list[Port]:
    """The usable ports of the group that carries, in the file's order; may be none."""
    groups: dict[int, list[Port]] = {}
    for port in shape.preferred:
        if port.usable:
            groups.setdefault(priority_of(shape, port), []).append(port)
    enough = {
        priority: ports
        for priority, ports in groups.items()
        if len(ports) >= shape.options.min_links
    }
    if not enough:
        return []
    best, held = max(enough), _held_priority(shape)
    if held not in enough or held == best:
        return enough[best]
    taken = _takes_over(shape, enough[best], enough[held])
    return enough[best if taken else held]


def _held_priority(shape: Shape) -> int | None:
    """The priority of the group that carried last."""
    ports = [port for port in shape.ports if port.slot in shape.carriers]
    return max((priority_of(shape, port) for port in ports), default=None)


def members(shape: Shape) -> list[Port]:
    """All ports of the group that carries, usable or not; without any, all there are.

    In the file's order.
    """
    carrying = group(shape)
    if not carrying:
        return [*shape.preferred]
    wanted = priority_of(shape, carrying[0])
    return [port for port in shape.preferred if priority_of(shape, port) == wanted]


def is_carried(shape: Shape) -> bool:
    """Whether any port carries, by whatever protocol."""
    usable = [port for port in shape.ports if port.usable]
    if shape.proto is Proto.LACP:
        return any(port.lacp.distributing for port in usable)
    if shape.proto in GROUPED:
        return bool(group(shape))
    return len(usable) >= shape.options.min_links


# ---- why ---------------------------------------------------------------------------


def why(shape: Shape) -> str:
    """Why the port that is elected is, in words."""
    chosen = elected(shape)
    assert chosen is not None, "somebody carries"
    primary, best = shape.primary_port, preferred(shape)
    if chosen == shape.picked:
        return "a user chose this port, until it fails"
    if chosen != best and best is not None:
        name, reselect = shape.at(best).link.name, shape.options.reselect.value
        return f"it carried when {name}, the preferred, was back: reselect {reselect}"
    if primary is not None and primary.slot == chosen:
        return f"the primary {'receives' if shape.proto.by_stations else 'carries'} all"
    top = priority_of(shape, shape.at(chosen))
    if primary is not None and primary.usable and top > priority_of(shape, primary):
        return f"of the usable ports it has the highest priority, {top}"
    name = "none" if primary is None else primary.link.name
    state = "down" if primary is None else primary.unused_words
    return f"the primary, {name}, is {state}; this port stands in"
