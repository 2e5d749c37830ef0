# SPDX-License-Identifier: BSD-2-Clause
"""A BFD session: asynchronous mode, active role, single hop (RFC 5880, section 6.8).

Owns the state of one end: what it says, when, and when it gives its partner up.  Knows
no frame, no link and no lagg; time is an argument.

Theory.  Each end says how often it would send and how often it can hear, and sends at
the slower of its own wish and the other's ability.  It is Up when both have heard each
other, and Down when the other was silent for so many of the other's periods, or says
that it is Down itself: so both give up a path that is dead one way.  Where an interval
that counts at once would let either end believe in a silence that is none, it counts
when the other has answered a Poll by a Final.
"""

from dataclasses import replace

from lagg.frozen import dataclass
from lagg.lacp.values import NS, NS_OF_MS, U32, Instant
from lagg.watchers.bfd_packet import BadBfd, ControlPacket, Diagnostic, SessionState

SLOW_NS = NS
"""The least that a session waits between two packets while it is not Up (6.8.3)."""

GRID_NS = 10 * NS_OF_MS
"""Sessions send at multiples of it, where jitter allows: many then have one timer."""

HASTE_NS = 5 * NS_OF_MS
"""News and Finals are no closer together, so that no storm is answered by another."""

_NS_OF_US = 1000
_U32 = 0xFFFF_FFFF
_GOLDEN = 0x9E37_79B9  # 2**32 / the golden ratio: its multiples fill a range evenly

ADMIN_DOWN, DOWN, INIT, UP = SessionState

_NEXT = {
    (DOWN, DOWN): INIT,
    (DOWN, INIT): UP,
    (INIT, ADMIN_DOWN): DOWN,
    (INIT, INIT): UP,
    (INIT, UP): UP,
    (UP, ADMIN_DOWN): DOWN,
    (UP, DOWN): DOWN,
}
"""6.2: our state and the one we are told of; of others nothing follows."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What this end would have; `multiplier` 1 ... 255."""

    interval_ns: Instant
    multiplier: int


class Session:
    """One end.  After each call due_at() says when tick() is to be called."""

    def __init__(
        self, wants: Wants, discriminator: U32, state: SessionState = SessionState.DOWN
    ) -> None:
        """Silent until begin().  `discriminator`: ours, not 0.

        `state` UP: it goes on as another process left it, when that had the same
        discriminator; of the partner all is learned by its next packet, or recall().
        """
        self._wants = wants
        self._discriminator = discriminator
        self._state = state
        self._diagnostic = Diagnostic.NONE
        self._partner: ControlPacket | None = None
        self._turn = discriminator  # of the jitter
        self._polls = self._polls_again = False
        self._paced_ns, self._listens_ns = self._desired_ns, wants.interval_ns
        self._renegotiate()  # whether the last Poll was answered nobody knows
        self._sent_at: Instant | None = None
        self._send_at: Instant | None = None
        self._answered_at: Instant | None = None  # by a Final
        self._silence_ns = wants.multiplier * wants.interval_ns
        self._period_ns: Instant | None = None  # by which _send_at was set, and
        self._longest_ns: Instant | None = None
        self._expires_at: Instant | None = None
        self._packet = self._made()

    @property
    def state(self) -> SessionState:
        """bfd.SessionState."""
        return self._state

    @property
    def diagnostic(self) -> Diagnostic:
        """Why it left Up last, unless it is Up."""
        return self._diagnostic

    @property
    def partner(self) -> ControlPacket | None:
        """What was heard last; None: nothing, for too long."""
        return self._partner

    @property
    def silence_ns(self) -> Instant:
        """For how long the partner may be silent, or was until it was given up."""
        return self._silence_ns

    @property
    def period_ns(self) -> Instant | None:
        """The longest from the packet that was sent last to the next; None: none."""
        return self._longest_ns

    def due_at(self) -> Instant | None:
        """When tick() is to be called; None: not before something is heard."""
        if self._send_at is None or self._expires_at is None:
            return self._expires_at if self._send_at is None else self._send_at
        return min(self._send_at, self._expires_at)

    def tick(self, now: Instant) -> ControlPacket | None:
        """What is to be sent now, if anything; one object while it says the same."""
        if self.is_silent(now):
            self._expire(now)
        if self._send_at is None or now < self._send_at:
            return None
        self._schedule(now)
        return self._packet

    def is_silent(self, now: Instant) -> bool:
        """Whether the partner is given up, if nothing of it waits to be heard."""
        return self._expires_at is not None and now >= self._expires_at

    def heard_again(self, now: Instant) -> None:
        """The partner said what it said last."""
        self._expires_at = now + self._silence_ns

    def receive(
        self, packet: ControlPacket, now: Instant
    ) -> ControlPacket | BadBfd | None:
        """What follows from a packet (6.8.6): the Final to be sent at once, if any."""
        if packet.your_discriminator not in (0, self._discriminator):
            return BadBfd.DISCRIMINATOR
        if self._state is ADMIN_DOWN:
            return BadBfd.ADMIN_DOWN
        self._partner = packet
        if packet.final and self._polls:
            self._polls_end()
        self._enter(_NEXT.get((self._state, packet.state), self._state))
        self._measure()
        self.heard_again(now)
        self._settle(now)
        return self._final(now) if packet.poll else None

    def change(self, wants: Wants, now: Instant) -> None:
        """Wants something else from now on, without leaving Up (6.8.3)."""
        if wants == self._wants:
            return
        self._wants = wants
        self._renegotiate()
        self._measure()
        if self._partner is not None:
            self.heard_again(now)
        self._settle(now)

    def recall(self, partner: ControlPacket) -> None:
        """What the partner of a session that goes on said last; before begin()."""
        if self._state is UP:
            self._partner = partner
            self._measure()

    def fail(self, why: Diagnostic) -> None:
        """The path is known to be dead: nothing is sent until begin()."""
        self._leave(DOWN, why)
        self._partner = self._expires_at = self._send_at = None

    def begin(self, now: Instant) -> None:
        """The path may live; of a session that goes on the partner must be heard.

        Unless it is known: then that one hears of us now.
        """
        self._packet = self._made()
        if self._state is UP:
            self.heard_again(now)
        if self._pace_ns is not None:
            self._send_at = now

    def end(self, now: Instant) -> ControlPacket:
        """Ends by hand; what the partner is to hear last (6.8.16)."""
        self._leave(ADMIN_DOWN, Diagnostic.ADMIN_DOWN)
        self._settle(now)
        self._expires_at = self._send_at = None
        return self._packet

    # ---- states --------------------------------------------------------------------

    def _expire(self, now: Instant) -> None:
        self._partner = self._expires_at = None
        if self._state in (INIT, UP):
            self._leave(DOWN, Diagnostic.EXPIRED)
        self._settle(now)

    def _enter(self, state: SessionState) -> None:
        if state is self._state:
            return
        if state is DOWN:
            self._leave(DOWN, Diagnostic.NEIGHBOUR_DOWN)
            return
        self._state = state
        if state is UP:
            self._diagnostic = Diagnostic.NONE
            self._renegotiate()

    def _leave(self, state: SessionState, why: Diagnostic) -> None:
        self._state, self._diagnostic = state, why
        self._renegotiate()

    def _measure(self) -> None:
        """The partner's multiplier, of periods by its wish and our ability (6.8.4)."""
        if self._partner is not None:
            wish_ns = self._partner.desired_min_tx_us * _NS_OF_US
            period_ns = max(self._listens_ns, wish_ns)
            self._silence_ns = self._partner.multiplier * period_ns

    # ---- what is said, and how often -----------------------------------------------

    @property
    def _desired_ns(self) -> Instant:
        slowest = self._wants.interval_ns if self._state is UP else SLOW_NS
        return max(self._wants.interval_ns, slowest)

    def _renegotiate(self) -> None:
        """Intervals are others: by a Poll while it is Up, at once while it is not."""
        if self._state is not UP:
            self._polls = self._polls_again = False
            self._paced_ns, self._listens_ns = self._desired_ns, self._wants.interval_ns
            return
        self._polls, self._polls_again = True, self._polls
        self._paced_ns = min(self._paced_ns, self._desired_ns)
        self._listens_ns = max(self._listens_ns, self._wants.interval_ns)

    def _polls_end(self) -> None:
        self._polls, self._polls_again = self._polls_again, False
        if not self._polls:
            self._paced_ns, self._listens_ns = self._desired_ns, self._wants.interval_ns

    def _made(self) -> ControlPacket:
        return ControlPacket(
            self._state,
            self._diagnostic,
            self._wants.multiplier,
            self._discriminator,
            0 if self._partner is None else self._partner.my_discriminator,
            self._desired_ns // _NS_OF_US,
            self._wants.interval_ns // _NS_OF_US,
            poll=self._polls,
        )

    def _final(self, now: Instant) -> ControlPacket | None:
        if self._answered_at is not None and now < self._answered_at + HASTE_NS:
            return None
        self._answered_at = now
        return replace(self._packet, poll=False, final=True)

    def _settle(self, now: Instant) -> None:
        """Another packet is sent at once, but for its Poll; and the pace may change."""
        made = self._made()
        if made != self._packet:
            news = replace(made, poll=self._packet.poll) != self._packet
            self._packet = made
            if news and self._pace_ns is not None:
                sent_at = now if self._sent_at is None else self._sent_at + HASTE_NS
                self._send_at = max(now, sent_at)
                return
        if self._pace_ns != self._period_ns:
            self._schedule(self._sent_at)

    @property
    def _pace_ns(self) -> Instant | None:
        """The longest between two packets (6.8.7); None: nothing is to be sent."""
        partner = self._partner
        if partner is None:  # to say that we are Up we must know to whom
            return None if self._state is UP else self._paced_ns
        is_up = self._state is UP and partner.state is UP
        if partner.required_min_rx_us == 0:
            return None
        if partner.demand and is_up and not self._polls:
            return None
        return max(self._paced_ns, partner.required_min_rx_us * _NS_OF_US)

    def _schedule(self, sent_at: Instant | None) -> None:
        """The next packet is due 75 to 100 % of the pace after the last (6.8.7)."""
        self._sent_at = sent_at
        self._period_ns = self._longest_ns = pace_ns = self._pace_ns
        if pace_ns is None or sent_at is None:
            self._send_at = None if pace_ns is None else self._send_at
            return
        self._turn = (self._turn + _GOLDEN) & _U32
        alone = self._wants.multiplier == 1  # then each one must come in time
        self._longest_ns = longest_ns = pace_ns * 9 // 10 if alone else pace_ns
        latest = sent_at + longest_ns
        earliest = sent_at + pace_ns * 3 // 4
        at = earliest + ((latest - earliest) * self._turn >> 32)
        self._send_at = min(latest, at + -at % GRID_NS)
