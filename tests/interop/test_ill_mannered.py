# SPDX-License-Identifier: BSD-2-Clause
"""A partner that does what none should, on p0; p1 has a good one, and must not care.

Numbers are those of the project's list of faults reported with other implementations
(L-I) and of hostile inputs (H).
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.layers.l2 import Dot1Q, Ether

from lab import Lab, conserved, wait_until
from lagg.control.client import Client
from tests.interop.hand import COLLECTING, DISTRIBUTING, RESPONSE, SYNC, Hand
from tests.kept import Kept
from tests.netns.frames import ETH_P_LOCAL, Capture, ether

LAGG = "lagg0"
PORTS, ENDS = ("p0", "p1"), ("q0", "q1")
DEADLINE_S = 60.0
PDUS_MAX = 3  # in a second, whatever the partner does
LATE = 1
"""Frames more in a second: it is seen when they left, not when they were due."""

HELD = "held: the partner changes too often"
HOLD_S = 60.0
STRIKES = 5
"""More, once it is held: then it is for so long."""

STORM_S = 2.0
FRAMES = 200


class Scene:
    """A lagg of p0 and p1, and where its cables end; `begin` before anything else."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = lab.host("near"), lab.host("far")
        for host in (self.near, self.far):
            host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        for port, end in zip(PORTS, ENDS, strict=True):
            lab.cable(self.near, port, self.far, end)
        self.laggd = lab.daemon(self.near, log_level="info")
        self._client = Client(str(self.laggd.socket))
        self.hands: list[Hand] = []

    def close(self) -> None:
        self._client.__exit__(None, None, None)

    def put_back(self) -> None:
        if self.near.has_link(LAGG):
            self._client.call("Destroy", name=LAGG)

    def begin(self, hands: list[Hand]) -> None:
        """Both ports distribute."""
        self.hands = hands
        options = {"lacp_fast_timeout": True}
        self._client.call(
            "Create", name=LAGG, proto="lacp", ports=[*PORTS], options=options
        )
        for number in (0, 1):
            self.wait(number, distributing=True)

    def set(self, **options: object) -> None:
        self._client.call("Set", name=LAGG, options=options)

    def release(self, *ports: str) -> None:
        self._client.call("Release", name=LAGG, ports=[*ports])

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.call("List", name=LAGG)["laggs"][0]
        return found

    def port(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.record()["ports"][number]
        return found

    def counters(self, number: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.port(number)["lacp"]["counters"]
        return found

    def bad(self, number: int = 0) -> dict[str, int]:
        """The reasons that counted anything."""
        return {why: n for why, n in self.counters(number)["bad"].items() if n}

    def distributing(self, number: int) -> bool:
        return "DISTRIBUTING" in self.port(number)["flags"]

    def wait(self, number: int, *, distributing: bool) -> float:
        word = "in" if distributing else "out"
        return wait_until(
            lambda: self.distributing(number) is distributing,
            DEADLINE_S,
            f"{PORTS[number]} is {word}",
        )

    def wait_reason(self, words: str) -> None:
        """Until p0's reason begins so."""
        wait_until(
            lambda: str(self.port(0)["reason"]).startswith(words),
            DEADLINE_S,
            f"p0: {words}",
        )

    def took_markers(self, count: int) -> bool:
        """Whether p0 has had so many."""
        return bool(self.counters()["marker_rx"] >= count)

    def hears(self, pdus: int) -> None:
        """Until so many more LACPDUs of p0's partner were taken."""
        wanted = self.counters()["lacpdu_rx"] + pdus
        wait_until(
            lambda: self.counters()["lacpdu_rx"] >= wanted, DEADLINE_S, "PDUs taken"
        )


@pytest.fixture(scope="session")
def kept_scene() -> Iterator[Kept[Scene]]:
    kept = Kept(Scene)
    yield kept
    kept.end()


@pytest.fixture
def scene(kept_scene: Kept[Scene], request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Two good partners at first; at the end p1's never lost its port."""
    for scene in kept_scene.lend(request.session):
        with ExitStack() as opened:
            hands = [
                opened.enter_context(Hand(scene.far, end, number))
                for number, end in enumerate(ENDS, 1)
            ]
            scene.begin(hands)
            yield scene
            scene.wait(1, distributing=True)
            # The good one may be late, on a busy machine.
            good = scene.counters(1)
            assert good["flaps"] <= good["lacpdu_late"]
            conserved(scene.record())


def in_a_second(times: list[float]) -> int:
    """The most that came in any second."""
    return max((sum(at <= t < at + 1 for t in times) for at in times), default=0)


def pdus_heard(hand: Hand, seconds: float) -> list[float]:
    """When LACPDUs came to a partner, from now on for some time."""
    hand.take()
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, 2 * seconds, "a while passes")
    return [at for at, frame in hand.take() if LACP in frame]


# ---- LACPDUs -----------------------------------------------------------------------


def test_a_partner_that_never_collects_is_sent_nothing_unless_coupled(
    scene: Scene,
) -> None:
    """L-I-7: some have no Collecting and Distributing; then Sync has to do."""
    hand = scene.hands[0]

    def never(pdu: Any) -> None:  # noqa: ANN401
        pdu[LACP].actor_state &= ~(COLLECTING | DISTRIBUTING)

    hand.bend = never
    scene.wait(0, distributing=False)
    assert scene.port(0)["reason"] == "partner not collecting"
    assert scene.port(0)["lacp"]["mux"] == "collecting"
    scene.set(lacp_coupled=True)
    scene.wait(0, distributing=True)


def test_a_partner_that_leaves_sync_is_believed_at_once(scene: Scene) -> None:
    """H-25, L-I-6: our port stops to distribute, and comes back when it does."""
    hand = scene.hands[0]

    def out(pdu: Any) -> None:  # noqa: ANN401
        pdu[LACP].actor_state &= ~(SYNC | COLLECTING | DISTRIBUTING)

    hand.bend = out
    scene.wait(0, distributing=False)
    counters = scene.counters()
    assert (counters["flaps"], counters["lacpdu_late"]) == (1, 0)
    hand.bend = lambda pdu: None
    scene.wait(0, distributing=True)


@pytest.mark.parametrize("field", ["actor_key", "actor_system_priority"])
def test_a_partner_that_is_another_in_each_pdu_is_held_off(
    scene: Scene, field: str
) -> None:
    """H-14, L-I-3: it is out, and never makes us send more than three in a second."""
    hand, numbers = scene.hands[0], itertools.cycle(range(1000, 2000))
    hand.bend = lambda pdu: setattr(pdu[LACP], field, next(numbers))
    scene.wait(0, distributing=False)
    scene.wait_reason(HELD)
    times = pdus_heard(hand, 3)
    assert 1 <= in_a_second(times) <= PDUS_MAX + LATE
    assert scene.counters()["flaps"] == 1


def test_a_user_ends_the_hold_of_a_partner_that_is_steady_now(scene: Scene) -> None:
    hand, numbers = scene.hands[0], itertools.cycle(range(1000, 2000))
    hand.bend = lambda pdu: setattr(pdu[LACP], "actor_key", next(numbers))
    scene.wait_reason(HELD)
    scene.hears(STRIKES)  # a minute's hold from now on
    hand.bend = lambda pdu: None
    scene.hears(2)
    assert scene.port(0)["reason"] == HELD
    scene.release(PORTS[0])
    assert scene.port(0)["reason"] != HELD
    wait_until(lambda: scene.distributing(0), HOLD_S / 2, "p0 is in")


def test_a_partner_that_echoes_garbage_never_gets_in_sync(scene: Scene) -> None:
    """H-15, L-I-2: what it says of us is wrong each time; our answers are limited."""
    hand, numbers = scene.hands[0], itertools.cycle(range(1000, 2000))
    hand.bend = lambda pdu: setattr(pdu[LACP], "partner_key", next(numbers))
    scene.wait(0, distributing=False)
    times = pdus_heard(hand, 3)
    assert 1 <= in_a_second(times) <= PDUS_MAX + LATE
    assert scene.port(0)["reason"] == "partner not in sync"
    hand.bend = lambda pdu: None
    scene.wait(0, distributing=True)


def test_other_versions_and_longer_pdus_are_taken(scene: Scene) -> None:
    """H-3, H-5, L-I-9: the fixed part is read, and what is behind it is not.

    Version 2 with its TLVs, SONiC's 0xF1 with retry counts, and two that no one has.
    """
    hand = scene.hands[0]
    tails = {
        2: bytes.fromhex("0406000000010514") + bytes(18),
        0xF1: bytes.fromhex("8004030081040300") + bytes(42),
        0: b"",
        0xFF: bytes(1300),
    }
    for version, tail in tails.items():

        def longer(pdu: Any, version: int = version, tail: bytes = tail) -> None:  # noqa: ANN401
            pdu[LACP].version = version
            pdu[LACP].actor_reserved = b"\xff\xff\xff"
            pdu[LACP].reserved = b"\xa5" * 50
            pdu.add_payload(tail)

        hand.bend = longer
        scene.hears(3)
    assert scene.bad() == {}
    assert scene.counters()["flaps"] == 0
    assert scene.distributing(0)


def bent(**fields: object) -> Callable[[Hand], Any]:
    """A good PDU but for some fields."""

    def make(hand: Hand) -> Any:  # noqa: ANN401
        pdu = hand.pdu()
        for name, value in fields.items():
            setattr(pdu[LACP], name, value)
        return pdu

    return make


def from_ether(**fields: object) -> Callable[[Hand], Any]:
    """A good PDU but for its Ethernet header."""

    def make(hand: Hand) -> Any:  # noqa: ANN401
        pdu = hand.pdu()
        for name, value in fields.items():
            setattr(pdu[Ether], name, value)
        return pdu

    return make


def cut(size: int) -> Callable[[Hand], bytes]:
    """The beginning of a good PDU."""
    return lambda hand: bytes(hand.pdu())[:size]


BAD: dict[str, tuple[str, Callable[[Hand], Any]]] = {
    "14-bytes": ("runt", cut(14)),
    "60-bytes": ("truncated", cut(60)),
    "123-bytes": ("truncated", cut(123)),
    "to-all": ("destination", from_ether(dst="ff:ff:ff:ff:ff:ff")),
    "to-bridges": ("destination", from_ether(dst="01:80:c2:00:00:00")),
    "from-a-group": ("source", from_ether(src="01:00:5e:00:00:01")),
    "from-nobody": ("source", from_ether(src="00:00:00:00:00:00")),
    "oam": ("subtype", lambda hand: hand.slow(3) / (b"\0" * 109)),
    "actor-19": ("tlv", bent(actor_length=19)),
    "partner-0": ("tlv", bent(partner_length=0)),
    "collector-255": ("tlv", bent(collector_length=255)),
    "terminator-1": ("tlv", bent(terminator_length=1)),
    "port-0": ("party", bent(actor_port_number=0)),
    "system-0": ("party", bent(actor_system="00:00:00:00:00:00")),
    "system-group": ("party", bent(actor_system="01:80:c2:00:00:02")),
    "response": ("marker", lambda hand: hand.marker(1, kind=RESPONSE)),
}
"""By name: the reason it is counted under, and what makes it."""


def test_bad_frames_are_counted_by_reason_and_do_nothing(scene: Scene) -> None:
    """H-1, H-2, H-4, H-6, H-8, H-9, H-13, H-19; between the PDUs of a good partner."""
    hand = scene.hands[0]
    hand.take()
    wanted: Counter[str] = Counter()
    for name, (why, make) in BAD.items():
        hand.send(make(hand))
        wanted[why] += 1
        wait_until(lambda: scene.bad() == wanted, DEADLINE_S, f"{name} is counted")
    scene.hears(3)
    assert scene.bad() == wanted
    assert scene.counters()["flaps"] == 0
    assert scene.distributing(0)
    assert not [frame for _, frame in hand.take() if MarkerProtocol in frame]


def test_a_tagged_lacpdu_is_data(scene: Scene) -> None:
    """H-7: with a VLAN tag, or a priority tag, it never reaches LACP."""
    hand = scene.hands[0]
    hand.silent = True
    hand.send(hand.pdu())
    before = scene.counters()
    for vlan in (0, 5):
        pdu = hand.pdu()
        pdu[Ether].type = 0x8100
        inner = pdu[Ether].payload
        pdu[Ether].remove_payload()
        hand.send(pdu / Dot1Q(vlan=vlan, type=0x8809) / inner)
    scene.wait(0, distributing=False)  # it heard nothing for three seconds
    after = scene.counters()
    assert after["lacpdu_rx"] - before["lacpdu_rx"] <= 1
    assert after["bad"] == before["bad"]


def test_two_ports_with_one_partner_port_do_not_both_carry(scene: Scene) -> None:
    """H-12: the one that was there stays; a hub or a mirror is behind the other."""
    scene.hands[0].number = scene.hands[1].number
    scene.wait(0, distributing=False)
    scene.wait_reason("duplicate partner port")


def test_our_own_system_in_a_pdu_is_a_loop(scene: Scene) -> None:
    """H-10, H-11: the port is out, says why, and comes back when the loop is gone."""
    hand = scene.hands[0]
    ours = scene.record()["lacp"]["actor"]["system"]
    hand.bend = lambda pdu: setattr(pdu[LACP], "actor_system", ours)
    scene.wait(0, distributing=False)
    scene.wait_reason("loops back to this system")
    assert scene.bad()["own-system"] > 0
    hand.bend = lambda pdu: None
    scene.wait(0, distributing=True)


# ---- floods ------------------------------------------------------------------------


def test_a_marker_flood_gets_five_answers_a_second(scene: Scene) -> None:
    """H-18: all are counted, and none costs the port its place."""
    hand = scene.hands[0]
    hand.take()
    sent, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        sent += 1
        hand.send(hand.marker(sent))
        wait_until(
            partial(scene.took_markers, sent - 4), DEADLINE_S, "markers are taken"
        )
    answers = [at for at, frame in hand.take() if MarkerProtocol in frame]
    assert 5 <= len(answers) < sent
    assert in_a_second(answers) <= 5 + LATE
    assert scene.bad().get("rate", 0) >= sent - len(answers) - 4
    assert scene.distributing(0)
    assert scene.counters()["flaps"] == 0


@pytest.mark.alone
def test_a_storm_of_pdus_on_one_port_costs_the_others_nothing(scene: Scene) -> None:
    """H-16, H-17: data and control go on, and our PDUs stay within their limit."""
    hand = scene.hands[0]
    hand.take()
    with ExitStack() as opened:
        ends = [opened.enter_context(Capture(scene.far, end)) for end in ENDS]
        threads = opened.enter_context(ThreadPoolExecutor(1))
        storm = threads.submit(hand.flood, hand.pdu(), STORM_S)
        send_frames(scene)
        seen: set[bytes] = set()
        wait_until(
            lambda: take_frames(ends, seen) >= FRAMES, DEADLINE_S, "all frames arrive"
        )
        answers = 0
        while not storm.done():
            scene.record()
            answers += not storm.done()
    sent = storm.result()
    print(f"{sent / STORM_S:.0f} PDUs and {answers / STORM_S:.0f} answers a second")
    assert sent > 1_000
    assert answers > 0
    times = [at for at, frame in hand.take() if LACP in frame]
    assert in_a_second(times) <= PDUS_MAX + LATE
    assert scene.bad()["rate"] > 0
    scene.wait(0, distributing=True)


def send_frames(scene: Scene) -> None:
    """Into the lagg, each from another MAC, so that both ports have some."""
    with scene.near.packet_socket(LAGG) as into:
        for number in range(FRAMES):
            into.send(ether(b"", src=b"\2" + number.to_bytes(5, "big")))


def take_frames(ends: list[Capture], seen: set[bytes]) -> int:
    """Adds those of these frames that have come out; how many there are."""
    local = ETH_P_LOCAL.to_bytes(2, "big")
    for end in ends:
        seen.update(s.wire for s in end.take() if s.wire[12:14] == local)
    return len(seen)
