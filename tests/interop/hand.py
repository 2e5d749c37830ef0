# SPDX-License-Identifier: BSD-2-Clause
"""A partner made by hand, of one port: well-mannered until a test bends its PDUs.

    hand.bend = lambda pdu: setattr(pdu[LACP], "actor_key", 0)

Owns a packet socket and a thread that answers what it hears at its own pace.  scapy
makes and reads the PDUs: none of our code does.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.l2 import Ether

from lab import Host
from lab.ear import listening, stamped

SLOW_PROTOCOLS = "01:80:c2:00:00:02"
ETH_P_SLOW = 0x8809
SYSTEM = "02:00:5e:00:53:99"
KEY, PRIORITY = 7, 100
ACTIVE_FAST, SYNC, COLLECTING, DISTRIBUTING = 0x07, 0x08, 0x10, 0x20
MARKER, RESPONSE = 1, 2

SO_TIMESTAMPNS = 35

PERIOD_S = 0.4
"""Two or three PDUs a second: what a good partner sends at most."""


class Hand:
    """One port of a partner; speaks from the beginning, until `close`."""

    def __init__(self, host: Host, name: str, number: int) -> None:
        """On an interface of `host`, as port `number` of SYSTEM."""
        self.number = number
        self.bend: Callable[[Any], object] = lambda pdu: None
        self.silent = False
        self._mac = host.link(name).mac
        self._socket = host.packet_socket(name, ETH_P_SLOW)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._lock = threading.Lock()
        self._heard: list[tuple[float, Any]] = []
        self._theirs: Any = None  # the last LACPDU
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"hand {name}")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    # ---- what it hears -------------------------------------------------------------

    def take(self) -> list[tuple[float, Any]]:
        """(seconds, frame) of all PDUs since the last call; the kernel's time of it."""
        with self._lock:
            found, self._heard = self._heard, []
        return found

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            left = max(0.0, due - time.monotonic())
            if select.select([self._socket], [], [], left)[0]:
                self._hear()
            if time.monotonic() >= due:
                due += PERIOD_S
                if not self.silent:
                    self.send(self.pdu())

    def _hear(self) -> None:
        at, frame = received(self._socket)
        with self._lock:
            self._heard.append((at, frame))
            if LACP in frame:
                self._theirs = frame[LACP]

    # ---- what it says --------------------------------------------------------------

    def send(self, frame: Any) -> None:  # noqa: ANN401  scapy's have no type
        """Any frame, as it is."""
        self._socket.setblocking(True)
        self._socket.send(bytes(frame))

    def flood(self, frame: Any, seconds: float) -> int:  # noqa: ANN401
        """One frame as fast as this machine sends it; how often."""
        raw, sent, end = bytes(frame), 0, time.monotonic() + seconds
        self._socket.setblocking(True)
        while time.monotonic() < end:
            for _ in range(64):
                self._socket.send(raw)
            sent += 64
        return sent

    def pdu(self) -> Any:  # noqa: ANN401
        """What a partner in good order says now, bent."""
        with self._lock:
            theirs = self._theirs
        pdu = self.slow(1) / LACP(
            actor_system_priority=PRIORITY,
            actor_system=SYSTEM,
            actor_key=KEY,
            actor_port_priority=PRIORITY,
            actor_port_number=self.number,
            actor_state=ACTIVE_FAST | _agreement(theirs),
            partner_system="00:00:00:00:00:00",
        )
        if theirs is not None:
            for field in ("system_priority", "system", "key", "port_priority"):
                setattr(pdu, f"partner_{field}", getattr(theirs, f"actor_{field}"))
            pdu.partner_port_number = theirs.actor_port_number
            pdu.partner_state = theirs.actor_state
        self.bend(pdu)
        return pdu

    def marker(self, transaction: int, *, kind: int = MARKER) -> Any:  # noqa: ANN401
        """A Marker PDU of this port, or a response to nobody's."""
        return self.slow(2) / MarkerProtocol(
            marker_type=kind,
            requester_port=self.number,
            requester_system=SYSTEM,
            requester_transaction_id=transaction,
            reserved=bytes(90),
        )

    def slow(self, subtype: int) -> Any:  # noqa: ANN401
        """The head of a slow-protocol frame."""
        ether = Ether(src=self._mac, dst=SLOW_PROTOCOLS, type=ETH_P_SLOW)
        return ether / SlowProtocol(subtype=subtype)


def _agreement(theirs: Any) -> int:  # noqa: ANN401
    """Sync once the other is known, then as independent control has it."""
    if theirs is None:
        return 0
    state = SYNC
    if theirs.actor_state & SYNC:
        state |= COLLECTING
        if theirs.actor_state & COLLECTING:
            state |= DISTRIBUTING
    return state


def received(opened: socket.socket) -> tuple[float, Any]:
    """As stamped(), the frame taken apart."""
    time_s, raw = stamped(opened)
    return time_s, Ether(raw)


@contextmanager
def overheard(host: Host, name: str) -> Iterator["Overheard"]:
    """All slow-protocol frames that come in by an interface, while the block runs.

    Also those that tc(8) takes from there: a socket of all protocols comes first.
    """
    with listening(host, name) as opened:
        yield Overheard(opened)


class Overheard:
    """What comes to an interface; speaks not."""

    def __init__(self, opened: socket.socket) -> None:
        """The caller closes the socket."""
        self._socket = opened
        self._frames: list[tuple[float, Any]] = []

    def heard(self, layer: type) -> list[tuple[float, Any]]:
        """(seconds, frame) of all that have such a layer; the kernel's time of it."""
        with suppress(BlockingIOError):
            while True:
                self._frames.append(received(self._socket))
        return [(at, frame) for at, frame in self._frames if layer in frame]

    def gaps(self, last: int) -> list[float]:
        """Seconds between the last LACPDUs heard, so many of them or fewer."""
        times = [at for at, _ in self.heard(LACP)]
        return [round(later - at, 3) for at, later in pairwise(times[-last - 1 :])]

    def silence_s(self) -> float:
        """Seconds since the last LACPDU, which there must have been."""
        return time.time() - self.heard(LACP)[-1][0]

    def beats(self, period_s: float) -> bool:
        """Whether the last four LACPDUs came a period apart, to a tenth of it."""
        found = self.gaps(3)
        near = [gap for gap in found if abs(gap - period_s) <= period_s / 10]
        return len(near) == 3

    def send(self, frame: Any) -> None:  # noqa: ANN401
        """Any frame, as if the partner had sent it."""
        self._socket.send(bytes(frame))
