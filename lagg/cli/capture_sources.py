# SPDX-License-Identifier: BSD-2-Clause
"""Where `capture` sees frames: the lagg and its ports, as they come and go.

Owns the watched interfaces, the number each has in the file, and what laggd tells of
them.  They are watched on while laggd is away.  Knows no frame.
"""

from __future__ import annotations

import errno
import selectors
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from lagg.cli import pcap
from lagg.cli.capture_socket import Sniffer
from lagg.errors import LaggError
from lagg.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from lagg.cli.follower import Follower
    from lagg.control.messages import EventJson
    from lagg.records import LaggRecord

_OF_ONE = {
    each.value
    for each in (
        EventKind.PORT_ATTACHED,
        EventKind.PORT_DETACHED,
        EventKind.PORT_DEPARTED,
        EventKind.PORT_RENAMED,
    )
}
_OF_ALL = {
    each.value
    for each in (EventKind.RENAMED, EventKind.DESTROYED, EventKind.EVENTS_LOST)
}
"""Events that may be about this lagg whatever they call it."""


class Place(NamedTuple):
    """An interface in the file."""

    number: int  # of its block
    name: str
    watch: Sniffer | None  # None: its frames are not wanted


class Places:
    """The interfaces of one lagg; a context manager."""

    def __init__(self, laggd: Follower, name: str, wanted: Collection[str]) -> None:
        """For the lagg `name`; `wanted` names the interfaces to watch, none: all."""
        self._laggd = laggd
        laggd.listen()  # from here on every change is told
        self._wanted = frozenset(wanted)
        self._places: dict[_Key, Place] = {}
        self._blocks = 0
        self._selector = selectors.DefaultSelector()
        self.lagg = cast("list[LaggRecord]", laggd.call("List", name=name)["laggs"])[0]

    def __enter__(self) -> Self:
        """These places, watched until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is watched any more."""
        for key in tuple(self._places):
            self._unwatch(key)
        self._selector.close()

    def begin(self) -> bytes:
        """Watches; the blocks of all there are.  LaggError where that is refused."""
        found = _interfaces(self.lagg).items()
        return b"".join(self._appear(key, comment) for key, comment in found)

    def ready(self) -> list[Place | None]:
        """Waits, and tells where frames are to be taken; None: refresh() is due."""
        if self._laggd.unread:
            return [None]
        listening = self._laggd.listen()  # another one when laggd was away
        self._selector.register(listening, selectors.EVENT_READ)
        try:
            return [key.data for key, _ in self._selector.select()]
        finally:
            self._selector.unregister(listening)

    def refresh(self) -> bytes:
        """Takes what laggd told; the blocks of interfaces that are new.

        LaggError (ENOENT) when the lagg is gone.
        """
        told = [self._laggd.next_event()]
        while self._laggd.unread:
            told.append(self._laggd.next_event())
        if not any(map(self._concerns, told)):
            return b""
        self.lagg = self._record(told)
        now = _interfaces(self.lagg)
        for key in self._places.keys() - now.keys():
            self._unwatch(key)
        new = (each for each in now.items() if each[0] not in self._places)
        return b"".join(self._appear_if_there(*each) for each in new)

    def _concerns(self, event: EventJson) -> bool:
        ours = event["lagg"] == self.lagg["name"]
        return event["event"] in _OF_ALL or (ours and event["event"] in _OF_ONE)

    def _record(self, told: Collection[EventJson]) -> LaggRecord:
        """The lagg by its ifindex; a laggd that was away may have made it anew."""
        laggs = cast("list[LaggRecord]", self._laggd.call("List")["laggs"])
        lost = EventKind.EVENTS_LOST.value in [event["event"] for event in told]
        for key in ("ifindex", "name") if lost else ("ifindex",):
            for lagg in laggs:
                if lagg[key] == self.lagg[key]:
                    return lagg
        raise LaggError(self.lagg["name"], "no such lagg any more", errno.ENOENT)

    def _appear_if_there(self, key: _Key, comment: str) -> bytes:
        try:
            return self._appear(key, comment)
        except LaggError as error:
            if error.code != errno.ENODEV:  # gone already, which we are to be told
                raise
            return b""

    def _appear(self, key: _Key, comment: str) -> bytes:
        name = key[1]
        watch = Sniffer(name) if not self._wanted or name in self._wanted else None
        place = self._places[key] = Place(self._blocks, name, watch)
        self._blocks += 1
        if watch is not None:
            self._selector.register(watch, selectors.EVENT_READ, place)
        return pcap.interface(name, comment)

    def _unwatch(self, key: _Key) -> None:
        watch = self._places.pop(key).watch
        if watch is not None:
            self._selector.unregister(watch)
            watch.close()


_Key = tuple[int, str]
"""ifindex and name: one that is renamed is another one in the file, which has names."""


def _interfaces(lagg: LaggRecord) -> dict[_Key, str]:
    """The lagg and its ports, and what the file says of each."""
    name = lagg["name"]
    own: dict[_Key, str] = {
        (lagg["ifindex"], name): f"the lagg, laggproto {lagg['proto']}"
    }
    return own | {
        (port["ifindex"], port["name"]): f"port of {name}, slot {port['slot']}"
        for port in lagg["ports"]
    }
