# SPDX-License-Identifier: BSD-2-Clause
"""All interfaces of a namespace, kept by what the kernel tells of them.

Owns the rule how a dump and the events around it become one picture.  Pure.
"""

from collections.abc import Iterable

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
        elif isinstance(event, LinkGone):
            self.links.pop(event.ifindex, None)
            if not self.whole:
                self._gone.add(event.ifindex)
