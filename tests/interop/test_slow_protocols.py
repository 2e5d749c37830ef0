# SPDX-License-Identifier: BSD-2-Clause
"""With real partners: PDUs at the rate the partner asks for, and markers answered."""

import pytest
from scapy.contrib.lacp import LACP, MarkerProtocol
from scapy.contrib.slowprot import SlowProtocol
from scapy.layers.l2 import Ether

from lab import wait_until
from lab.ovs import OvsPartner
from lab.partner import Lacp
from tests.interop.hand import (
    ETH_P_SLOW,
    RESPONSE,
    SLOW_PROTOCOLS,
    SYSTEM,
    Overheard,
    overheard,
)
from tests.interop.world import ENDS, World, octet

FAST_S, SLOW_S = 1.0, 30.0
TOLERANCE = 0.1
SILENT_S = 4 * FAST_S
"""Who still sends fast is never silent for so long."""

DEADLINE_S = 60.0
"""Far longer than anything takes; reached only by what never happens."""

BYTES = 124


def more(ear: Overheard, count: int) -> None:
    """Until so many more LACPDUs have been heard."""
    wanted = len(ear.heard(LACP)) + count
    wait_until(lambda: len(ear.heard(LACP)) >= wanted, DEADLINE_S, f"{count} LACPDUs")


def test_a_pdu_leaves_every_second_for_a_partner_that_asks_for_it(world: World) -> None:
    """Though we ask for slow ones ourselves: its timeout is its own (L-I-1, H-23)."""
    world.form(ours=Lacp(fast=False), theirs=Lacp(fast=True))
    world.wait_until_agreed()
    with overheard(world.far, ENDS[0]) as ear:
        # First come those of the agreeing; a busy machine may hold one up later.
        wait_until(lambda: ear.beats(FAST_S), DEADLINE_S, "a PDU leaves every second")
        print(f"{world.partner.version}: {ear.gaps(3)}")


@pytest.mark.parametrize("world", ["ovs"], indirect=True)
def test_a_partner_that_asks_for_slow_pdus_gets_one_in_30_s_from_then_on(
    world: World, long_run: bool
) -> None:
    """Changed live, at the partner; nothing flaps.  The next one only --long awaits.

    That it is after 30 s tests/lacp/test_partner.py shows by a clock of its own.
    """
    world.form(ours=Lacp(fast=False), theirs=Lacp(fast=True))
    world.wait_until_agreed()
    assert isinstance(world.partner, OvsPartner)
    with overheard(world.far, ENDS[0]) as ear:
        more(ear, 2)
        world.partner.switch.set_rate(fast=False)
        asked = {octet(Lacp(fast=False))}
        wait_until(
            lambda: {m.partner for m in world.members()} == asked, DEADLINE_S, "asked"
        )
        wait_until(lambda: ear.silence_s() > SILENT_S, DEADLINE_S, "no PDU for long")
        if long_run:
            wait_until(lambda: ear.gaps(1)[0] > SLOW_S / 2, DEADLINE_S, "a longer gap")
            (found,) = ear.gaps(1)
            print(f"{world.partner.version}: {found}")
            assert abs(found - SLOW_S) <= TOLERANCE * SLOW_S
    assert world.flaps() == [0, 0]


def test_our_pdus_are_124_bytes_from_the_port_s_own_mac(world: World) -> None:
    world.form(ports=2)
    world.wait_until_agreed()
    sources = set()
    for end, port in zip(ENDS[:2], world.record()["ports"], strict=True):
        with overheard(world.far, end) as ear:
            more(ear, 1)
            _, frame = ear.heard(LACP)[-1]
        assert len(frame) == BYTES
        assert frame.dst == SLOW_PROTOCOLS
        assert frame[LACP].version == 1
        assert frame[LACP].actor_port_number == port["lacp"]["actor"]["port"]
        sources.add(frame.src)
    assert len(sources) == 2
    assert world.record()["mac"] in sources  # the first port's is the lagg's


def test_a_marker_is_answered_once_as_it_was_asked(world: World) -> None:
    """With an aggregate at work; the answer bears the requester's own words (6.5.3)."""
    world.form(ports=2)
    world.wait_until_agreed()
    with overheard(world.far, ENDS[0]) as ear:
        ear.send(
            Ether(src="02:00:5e:00:53:0a", dst=SLOW_PROTOCOLS, type=ETH_P_SLOW)
            / SlowProtocol(subtype=2)
            / MarkerProtocol(
                requester_port=0x1234,
                requester_system=SYSTEM,
                requester_transaction_id=0xDEADBEEF,
                reserved=bytes(90),
            )
        )
        wait_until(lambda: ear.heard(MarkerProtocol), DEADLINE_S, "an answer")
        more(ear, 2)  # two PDUs later there is still one
        ((_, frame),) = ear.heard(MarkerProtocol)
    answer = frame[MarkerProtocol]
    assert answer.marker_type == RESPONSE
    assert answer.requester_port == 0x1234
    assert answer.requester_system == SYSTEM
    assert answer.requester_transaction_id == 0xDEADBEEF
    assert answer.marker_length == 16
    counters = world.record()["ports"][0]["lacp"]["counters"]
    assert (counters["marker_rx"], counters["marker_response_tx"]) == (1, 1)
