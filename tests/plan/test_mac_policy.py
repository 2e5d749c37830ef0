# SPDX-License-Identifier: BSD-2-Clause
"""Whose MAC a lagg has, and what its ports have and let in, by mac_policy."""

from dataclasses import replace

import pytest

from lagg.model import MacPolicy, Options, Proto, senseless
from lagg.plan.shape import LaggMac, Shape
from tests.plan.test_election import shape_of

HOMES = {slot: f"02:00:5e:00:01:{slot:02x}" for slot in range(3)}
LAGG_MAC, USERS = "02:00:5e:00:01:00", "02:00:5e:00:02:00"


def with_macs(policy: MacPolicy, *, carries: int, rx_all: bool = False) -> Shape:
    """Three ports with a MAC each; the lagg has that of the first."""
    shape = shape_of(Proto.FAILOVER)
    ports = [replace(port, home_mac=HOMES[port.slot]) for port in shape.ports]
    donor = shape.at(0).link.name
    return replace(
        shape,
        options=Options(mac_policy=policy, failover_rx_all=rx_all),
        ports=tuple(ports),
        incumbent=carries,
        mac=LaggMac(LAGG_MAC, donor=donor),
    )


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (MacPolicy.STABLE, HOMES[0]),
        (MacPolicy.PRIMARY, HOMES[0]),
        (MacPolicy.OWN, HOMES[0]),
        (MacPolicy.ACTIVE, HOMES[1]),
    ],
)
def test_the_policy_says_whose_mac_it_is(policy: MacPolicy, wanted: str) -> None:
    shape = with_macs(policy, carries=1)
    assert shape.wanted_mac.address == wanted
    assert replace(shape, mac=LaggMac(USERS, fixed=True)).wanted_mac.address == USERS


def test_while_none_carries_the_active_port_s_mac_stays() -> None:
    shape = with_macs(MacPolicy.ACTIVE, carries=1)
    assert replace(shape, incumbent=None).wanted_mac == shape.mac
    assert shape.without_port(1).wanted_mac == shape.mac


@pytest.mark.parametrize("policy", MacPolicy)
def test_ports_have_the_lagg_s_mac_or_their_own(policy: MacPolicy) -> None:
    shape = with_macs(policy, carries=0)
    own = policy in (MacPolicy.OWN, MacPolicy.ACTIVE)
    found = {port.slot: shape.mac_of(port) for port in shape.ports}
    assert found == (HOMES if own else dict.fromkeys(HOMES, LAGG_MAC))


@pytest.mark.parametrize(
    ("policy", "rx_all", "fixed", "lets_in"),
    [
        (MacPolicy.STABLE, False, False, False),
        (MacPolicy.OWN, False, False, True),
        (MacPolicy.OWN, False, True, True),
        (MacPolicy.ACTIVE, False, False, False),
        (MacPolicy.ACTIVE, False, True, True),
        (MacPolicy.ACTIVE, True, False, True),
    ],
)
def test_a_port_lets_in_the_lagg_s_mac_where_it_is_to_hear_it(
    policy: MacPolicy, rx_all: bool, fixed: bool, lets_in: bool
) -> None:
    shape = with_macs(policy, carries=0, rx_all=rx_all)
    shape = replace(shape, mac=replace(shape.mac, fixed=fixed))
    assert shape.lets_in(HOMES[0]) == frozenset()
    assert shape.lets_in(HOMES[1]) == (frozenset({LAGG_MAC}) if lets_in else set())


@pytest.mark.parametrize("proto", Proto)
@pytest.mark.parametrize("policy", MacPolicy)
def test_only_who_elects_one_has_an_active_port_whose_mac_a_lagg_could_have(
    proto: Proto, policy: MacPolicy
) -> None:
    elects = proto in (Proto.FAILOVER, Proto.TLB, Proto.ALB, Proto.NONE)
    wrong = policy is MacPolicy.ACTIVE and not elects
    assert (senseless(proto, Options(mac_policy=policy)) is not None) == wrong
