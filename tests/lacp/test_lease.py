# SPDX-License-Identifier: BSD-2-Clause
"""Which LACPDU is to be repeated while no laggd is there, and how often."""

import pytest

from lagg.lacp.lease import Lease, lease_of
from lagg.lacp.pdu import Lacpdu, Marker, encode_lacpdu, encode_marker
from lagg.lacp.values import Party, PortId, State, System

MAC = "02:00:5e:00:53:01"
SYNCED = State.ACTIVITY | State.AGGREGATION | State.SYNC
CARRIES = SYNCED | State.COLLECTING | State.DISTRIBUTING


def said(ours: State, partners: State) -> bytes:
    def party(state: State) -> Party:
        return Party(System(1, MAC), 2, PortId(3, 4), state)

    return encode_lacpdu(Lacpdu(party(ours), party(partners)), MAC)


@pytest.mark.parametrize(
    ("partners", "period_ms"), [(CARRIES | State.TIMEOUT, 1000), (CARRIES, 30_000)]
)
def test_a_port_that_carries_is_heard_as_often_as_its_partner_wants(
    partners: State, period_ms: int
) -> None:
    frame = said(CARRIES, partners)
    assert lease_of(frame) == Lease(frame, period_ms)


@pytest.mark.parametrize("ours", [SYNCED, SYNCED | State.COLLECTING])
def test_a_port_that_does_not_carry_is_not_heard(ours: State) -> None:
    assert lease_of(said(ours, CARRIES)) == Lease(b"", 0)


def test_a_marker_changes_nothing() -> None:
    assert lease_of(encode_marker(Marker(1, MAC, 2), MAC)) is None
