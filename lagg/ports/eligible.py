# SPDX-License-Identifier: BSD-2-Clause
"""Who may become a port.

Owns the refusals of attach and their errnos.  Pure: values in, None or a refusal out.
"""

import errno
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from lagg.errors import LaggError
from lagg.frozen import dataclass
from lagg.link import Address, Link

ARPHRD_ETHER = 1
_ARPHRD_WORDS = {
    32: "InfiniBand",
    512: "PPP",
    768: "an IP tunnel",
    769: "an IPv6 tunnel",
    776: "a SIT tunnel",
    778: "a GRE tunnel",
    801: "wireless",
    802: "wireless",
    803: "wireless",
    0xFFFE: "without link layer (a tun?)",
}


def check_port(
    candidate: Link,
    tap: int,
    links: Mapping[int, Link],
    laggs: Mapping[int, Iterable[int]],
    addresses: Iterable[Address],
    *,
    wireless: bool = False,
) -> None:
    """Raises LaggError unless `candidate` may become a port of the lagg of `tap`.

    `laggs`: the ifindexes of the ports of each lagg of ours by the ifindex of its TAP;
    `addresses`: the candidate's.  Being a port already is the caller's to check.
    """
    _check_stacking(candidate, tap, links, laggs)
    _check_type(candidate, wireless)
    _check_unused(candidate, links, addresses)
    _check_mac(candidate)


def _check_stacking(
    candidate: Link,
    tap: int,
    links: Mapping[int, Link],
    laggs: Mapping[int, Iterable[int]],
) -> None:
    if candidate.ifindex == tap:
        raise LaggError(candidate.name, "a lagg cannot be its own port", errno.EINVAL)
    if candidate.ifindex in laggs:
        raise LaggError(candidate.name, "is a lagg; laggs do not stack", errno.EINVAL)
    for ifindex, way in _reached(candidate.ifindex, links, laggs):
        if way is Way.DOWN and ifindex in laggs:
            cause = f"stands on lagg {_name(ifindex, links)}; laggs do not stack"
            raise LaggError(candidate.name, cause, errno.EINVAL)
        if way is Way.DOWN and any(ifindex in ports for ports in laggs.values()):
            port = _name(ifindex, links)
            cause = f"stands on {port}, which is a port and lets nobody hear"
            raise LaggError(candidate.name, cause, errno.EBUSY)
        if ifindex == tap:
            cause = f"its frames would come back to {_name(tap, links)}: a loop"
            raise LaggError(candidate.name, cause, errno.EINVAL)


class Way(Enum):
    """What becomes of a frame, sent out of the candidate, at an interface."""

    DOWN = "sent out of what the candidate stands on"
    UP = "received"
    OUT = "forwarded, after it was received"


def _reached(
    start: int, links: Mapping[int, Link], laggs: Mapping[int, Iterable[int]]
) -> Iterator[tuple[int, Way]]:
    """Every interface that a frame sent out of `start` may get to, and how."""
    seen = {(start, Way.DOWN)}
    queue = deque(seen)
    while queue:
        ifindex, way = queue.popleft()
        if way is Way.UP:
            steps = _above(ifindex, links, laggs)
        else:
            steps = _below(ifindex, way, links, laggs)
        for reached in steps:
            if reached not in seen:
                seen.add(reached)
                queue.append(reached)
                yield reached


def _below(
    ifindex: int,
    way: Way,
    links: Mapping[int, Link],
    laggs: Mapping[int, Iterable[int]],
) -> Iterator[tuple[int, Way]]:
    """Where a frame goes that is sent out of an interface."""
    link = links.get(ifindex)
    if link is not None and link.lower:
        # What is sent into one end of a veth pair is received by the other.
        yield link.lower, Way.UP if link.kind == "veth" else way
    yield from ((port, way) for port in laggs.get(ifindex, ()))
    for other in links.values():
        if other.master == ifindex:
            yield other.ifindex, way


def _above(
    ifindex: int, links: Mapping[int, Link], laggs: Mapping[int, Iterable[int]]
) -> Iterator[tuple[int, Way]]:
    """Where a frame goes that an interface receives."""
    for tap, ports in laggs.items():
        if ifindex in ports:
            yield tap, Way.UP
    link = links.get(ifindex)
    master = links.get(link.master) if link is not None else None
    if master is not None:
        yield master.ifindex, Way.UP
        if master.kind == "bridge":  # it forwards to its other ports
            yield master.ifindex, Way.OUT
    for other in links.values():
        if other.lower == ifindex and other.kind != "veth":
            yield other.ifindex, Way.UP


def _check_type(candidate: Link, wireless: bool) -> None:
    if candidate.loopback:
        what = "the loopback interface"
    elif candidate.arphrd != ARPHRD_ETHER:
        what = _ARPHRD_WORDS.get(candidate.arphrd, f"of ARPHRD type {candidate.arphrd}")
    elif wireless:
        what = "wireless"
    else:
        return
    cause = f"is {what}; a port must be Ethernet"
    raise LaggError(candidate.name, cause, errno.EPROTONOSUPPORT)


@dataclass(frozen=True, slots=True)
class Use:
    """What an interface is used for that it cannot be used for as a port."""

    words: str  # "has the address 192.0.2.1/24"
    plea: str
    remedy: str  # a command

    def __str__(self) -> str:
        """The words and what ends it."""
        return f"{self.words} ({self.remedy})"


def uses(
    link: Link, links: Mapping[int, Link], addresses: Iterable[Address]
) -> Iterator[Use]:
    """All that somebody uses an interface for, who would hear nothing by a port.

    `links`: all of the namespace; what stands on it in another one is not seen.
    """
    if link.master:
        master = links.get(link.master)
        holder = (
            f"{master.kind} {master.name}" if master else f"interface {link.master}"
        )
        remedy = f"ip link set {link.name} nomaster"
        yield Use(f"belongs to {holder}", "release it first", remedy)
    for other in links.values():
        # The lower of a veth is the other end of its cable.
        if other.lower == link.ifindex and other.kind != "veth":
            what = f"{other.kind or 'interface'} {other.name}"
            remedy = f"ip link del {other.name}"
            yield Use(f"has {what} on it", "take it away first", remedy)
    # What the kernel made by itself attach takes away, and detach puts back.  FreeBSD
    # strips all IPv6 addresses before it checks anything.
    for address in addresses:
        if not address.self_made:
            remedy = f"ip address del {address} dev {link.name}"
            yield Use(f"has the address {address}", "take it away first", remedy)


def _check_unused(
    candidate: Link, links: Mapping[int, Link], addresses: Iterable[Address]
) -> None:
    found = list(uses(candidate, links, addresses))
    if not found:
        return
    words = " and ".join(use.words for use in found)
    plea = found[0].plea if len(found) == 1 else "undo that first"
    remedy = "; ".join(use.remedy for use in found)
    raise LaggError(candidate.name, f"{words}; {plea} ({remedy})", errno.EBUSY)


def _check_mac(candidate: Link) -> None:
    octets = [int(octet, 16) for octet in candidate.mac.split(":") if octet]
    if not any(octets):
        raise LaggError(candidate.name, "has no MAC address", errno.EADDRNOTAVAIL)
    if octets[0] & 1:
        cause = f"its MAC {candidate.mac} is a multicast address"
        raise LaggError(candidate.name, cause, errno.EINVAL)


def _name(ifindex: int, links: Mapping[int, Link]) -> str:
    return links[ifindex].name if ifindex in links else f"interface {ifindex}"
