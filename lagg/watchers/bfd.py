# SPDX-License-Identifier: BSD-2-Clause
"""The watcher `bfd`: whether a port's partner is heard and hears us, by a BFD session.

Owns the session of one port, the frames around it, and the verdict that follows.  It is
not the session's state: a partner that takes its end down by hand says nothing of the
path (RFC 5882, 4.2).  Knows no socket and no other port.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

from lagg.lacp.lease import Lease
from lagg.lacp.pdu import mac_of, octets
from lagg.lacp.values import NS_OF_MS, Instant, Mac
from lagg.watchers.bfd_packet import (
    BadBfd,
    ControlPacket,
    Diagnostic,
    Envelope,
    SessionState,
    decode_control,
    encode_control,
)
from lagg.watchers.bfd_session import SLOW_NS, Session, Wants
from lagg.watchers.watcher import Ends, Watcher
from lagg.watches import LinkWatch, WatchState

_TELLS = {
    Diagnostic.NONE: "",
    Diagnostic.EXPIRED: ": it hears nothing of us",
    Diagnostic.ECHO_FAILED: ": its echoes fail",
    Diagnostic.NEIGHBOUR_DOWN: ": it was told that we are",
    Diagnostic.PLANE_RESET: ": its forwarding plane was reset",
    Diagnostic.PATH_DOWN: ": its path is down",
    Diagnostic.CONCATENATED_PATH_DOWN: ": its path goes no further",
    Diagnostic.ADMIN_DOWN: ": by hand",
    Diagnostic.REVERSE_PATH_DOWN: ": its way back goes no further",
}
"""What a partner's diagnostic says of it, in words."""

_NOTHING: list[bytes] = []


class Bfd(Watcher):
    """A session of one port."""

    speaks = True

    def __init__(self, watch: LinkWatch, ends: Ends, state: WatchState) -> None:
        """`state`: see kinds.Maker.  UP: the session of before goes on."""
        self.state = state
        self.reason = "no packet of the partner yet"
        self._wants = Wants(watch.interval_ms * NS_OF_MS, watch.missed_max)
        discriminator = _discriminator(watch, ends)
        self._envelope = _envelope(watch, ends, discriminator)
        is_up = state is WatchState.UP
        begins = SessionState.UP if is_up else SessionState.DOWN
        self._session = Session(self._wants, discriminator, begins)
        self._has_link = False
        self._ended_by_hand = False  # by the partner, of a path that was not dead
        self._patient_until: Instant | None = None  # with a session that is not up
        self._bad: Counter[BadBfd] = Counter()
        self._packet: ControlPacket | None = None  # sealed last, and
        self._frame = b""
        self._period_ns: Instant | None = None  # by which it is sent
        self._known: bytes | None = None  # the frame that says nothing new

    @property
    def bad(self) -> Mapping[str, int]:
        """The frames that were not taken, by their reasons."""
        return {why.value: frames for why, frames in self._bad.items()}

    @property
    def strays(self) -> bool:
        """Never: what comes in by another port is of that one's session."""
        return False

    @property
    def macs(self) -> tuple[Mac, ...]:
        """To which the partner sends."""
        return tuple(map(mac_of, self._envelope.heard_at))

    def recall(self, memory: str) -> None:
        """The partner of the session that goes on, by its last packet."""
        packet = decode_control(bytes.fromhex(memory))
        if isinstance(packet, ControlPacket):
            self.memory = memory
            self._session.recall(packet)

    def due_at(self) -> Instant | None:
        """When tick() is to be called; None: not before link()."""
        due_at, until = self._session.due_at(), self._patient_until
        if due_at is None or until is None:
            return until if due_at is None else due_at
        return min(due_at, until)

    def tick(self, now: Instant) -> list[bytes]:
        """Gives a silent partner up; says what is due."""
        packet = self._session.tick(now)
        if self._session.state is not SessionState.UP:
            self._judge(now)
        return _NOTHING if packet is None else [self._sealed(packet)]

    def judges(self, now: Instant) -> bool:
        """When the partner was silent for too long, or patience is over."""
        until = self._patient_until
        return self._session.is_silent(now) or (until is not None and now >= until)

    def heard_again(self, frame: bytes, now: Instant) -> bool:
        """Whether it is the last one once more: the partner is there, and no more."""
        if frame != self._known:
            return False
        self._session.heard_again(now)
        return True

    def heard(self, frame: bytes, now: Instant) -> list[bytes]:
        """Takes a frame that came in, anybody's; the Final, if it polls."""
        if self.heard_again(frame, now):
            return _NOTHING
        if not self._has_link:  # it waited in the socket, and proves nothing any more
            return _NOTHING
        packet = self._envelope.open(frame)
        if packet is None:
            return _NOTHING
        if isinstance(packet, BadBfd):
            return self._refuse(packet)
        answer = self._session.receive(packet, now)
        if isinstance(answer, BadBfd):
            return self._refuse(answer)
        self._note_hand(packet, now)
        self._judge(now)
        self._known = frame if self._is_steady(packet) else None
        return _NOTHING if answer is None else [self._envelope.seal(answer)]

    def link(self, up: bool, now: Instant) -> None:
        """The port has a carrier from now on, or has none.  At first it has none."""
        self._known = None
        self._has_link = up
        self._ended_by_hand, self._patient_until = False, None
        if up:
            self._session.begin(now)
            if self.state is WatchState.INIT:
                self._be_patient(now)
            return
        self._session.fail(Diagnostic.PATH_DOWN)
        self.memory, self.lease = "", Lease()
        self.state, self.reason = WatchState.DOWN, "carrier down"

    def change(self, watch: LinkWatch, now: Instant) -> None:
        """Another interval, or as many to miss: by a Poll, if the session is up."""
        self._wants = Wants(watch.interval_ms * NS_OF_MS, watch.missed_max)
        self._session.change(self._wants, now)

    def end(self, now: Instant) -> list[bytes]:
        """Ends the session by hand; what the partner is to hear of that."""
        self._known = None
        return [self._envelope.seal(self._session.end(now))]

    def _refuse(self, why: BadBfd) -> list[bytes]:
        self._bad[why] += 1
        return _NOTHING

    def _is_steady(self, packet: ControlPacket) -> bool:
        """Whether the packet, when it comes again, will change nothing."""
        is_up = self._session.state is packet.state is SessionState.UP
        return is_up and not (packet.poll or packet.final)

    def _sealed(self, packet: ControlPacket) -> bytes:
        """What leaves now; and again while nobody is here, if it says Up."""
        period_ns = self._session.period_ns
        if packet is not self._packet or period_ns != self._period_ns:
            self._packet, self._frame = packet, self._envelope.seal(packet)
            self._period_ns = period_ns
            self.lease = self._leased(packet)
        return self._frame

    def _leased(self, packet: ControlPacket) -> Lease:
        if packet.state is not SessionState.UP or self._period_ns is None:
            return Lease()
        return Lease(self._frame, self._period_ns // NS_OF_MS)

    # ---- the verdict ---------------------------------------------------------------

    def _judge(self, now: Instant) -> None:
        """By the session; one that is not up may have a while, or be no matter."""
        self.reason, self.memory = self._words(), self._remembered()
        if self._session.state is SessionState.UP:
            self.state, self._patient_until = WatchState.UP, None
        elif not self._ended_by_hand and not self._is_patient(now):
            self.state, self._patient_until = WatchState.DOWN, None

    def _remembered(self) -> str:
        """The partner of a session that another one can go on with."""
        partner = self._session.partner
        if partner is None or self._session.state is not SessionState.UP:
            return ""
        return encode_control(replace(partner, poll=False, final=False)).hex()

    def _is_patient(self, now: Instant) -> bool:
        return self._patient_until is not None and now < self._patient_until

    def _be_patient(self, now: Instant) -> None:
        """For as long as a session that begins may take."""
        slow_ns = max(self._wants.interval_ns, SLOW_NS)
        self._patient_until = now + self._wants.multiplier * slow_ns

    def _note_hand(self, packet: ControlPacket, now: Instant) -> None:
        """A partner that ended by hand may stay away; one that returns has a while."""
        if packet.state is SessionState.ADMIN_DOWN:
            self._ended_by_hand = self.state is not WatchState.DOWN
            self._patient_until = None
        elif self._ended_by_hand:
            self._ended_by_hand = False
            self._be_patient(now)

    def _words(self) -> str:
        session = self._session
        if session.state is SessionState.UP:
            return "the session is up"
        if self._ended_by_hand:
            return "the partner has ended its session by hand"
        if session.partner is None and session.diagnostic is Diagnostic.EXPIRED:
            return f"no packet of the partner for {session.silence_ns // NS_OF_MS} ms"
        if session.partner is None:
            return "no packet of the partner yet"
        if session.partner.state is SessionState.DOWN:
            return f"the partner says down{_TELLS[session.partner.diagnostic]}"
        return "the session begins"


def _discriminator(watch: LinkWatch, ends: Ends) -> int:
    """What every process has that watches this port so; not 0."""
    return crc32(f"{ends.mac} {ends.slot} {watch.target}".encode()) or 1


def _envelope(watch: LinkWatch, ends: Ends, discriminator: int) -> Envelope:
    """With a partner's address RFC 7130's; without one, as Open vSwitch has it."""
    mac = octets(ends.mac)
    if not watch.targets or watch.source is None:
        return Envelope.open_vswitch(mac, discriminator)
    return Envelope.micro(mac, watch.source, watch.targets[0], discriminator)
