# SPDX-License-Identifier: BSD-2-Clause
"""All interfaces of a namespace, kept by what the kernel tells of them.

Owns the rule how a dump and the events around it become one picture.  Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from lagg.link import Link, LinkChanged, LinkEvent, LinkGone


class Table:
    """Links by ifindex; `links` is good once `whole`."""

    def __init__(self) -> None:
        """Empty: a dump is due."""
        self.links: dict[int, Link] = {}
        self.whole = False
        self._gone: set[int] = set()  # since the dump was asked for

    def begin(self) -> None:
        """A dump is asked for now; what is learned from here on is newer than it."""
        self.links.clear()
        self._gone.clear()

    def complete(self, dumped: Iterable[Link]) -> None:
        """The dump's answer."""
        for link in dumped:
            if link.ifindex not in self._gone:
                self.links.setdefault(link.ifindex, link)
        self._gone.clear()
        self.whole = True

    def learn(self, event: LinkEvent) -> None:
        """Takes what an event tells."""
        if isinstance(event, LinkChanged):
            self.links[event.link.ifindex] = event.link
            self._gone.discard(event.link.ifindex)
            self._pair(event.link)
        elif isinstance(event, LinkGone):
            self.links.pop(event.ifindex, None)
            if not self.whole:
                self._gone.add(event.ifindex)

    def _pair(self, link: Link) -> None:
        """The first end of a new veth pair is told before it has the other."""
        peer = self.links.get(link.lower)
        if peer is not None and link.kind == peer.kind == "veth" and not peer.lower:
            self.links[peer.ifindex] = replace(peer, lower=link.ifindex)
