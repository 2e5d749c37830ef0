# SPDX-License-Identifier: BSD-2-Clause
"""Frames for one cable alone (H-41): who on the port has them, and has the lagg?"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest

from lab import wait_until
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.frames import (
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_LLDP,
    Capture,
    ether,
    in_order,
    waiting,
)
from tests.netns.steer import DEADLINE_S, LAGG, Tally

ETH_P_802_2, ETH_P_PAE, ETH_P_SLOW, ETH_P_PAUSE = 0x0004, 0x888E, 0x8809, 0x8808
DAEMONS = (ETH_P_LLDP, ETH_P_PAE, ETH_P_802_2, ETH_P_SLOW, ETH_P_IP, ETH_P_ARP)
"""A socket for each: what is heard by it came in by the port, and past its chain."""

PROTOS = ("failover", "roundrobin", "loadbalance", "broadcast", "lacp", "tlb", "none")


def to(last: int, ethertype: int, payload: bytes = b"x") -> bytes:
    return ether(payload, ethertype, dst=bytes((1, 0x80, 0xC2, 0, 0, last)))


LLDP, EAPOL = to(0x0E, ETH_P_LLDP), to(0x03, ETH_P_PAE)
BPDU = to(0x00, 38, b"\x42\x42\x03")  # its length, and LLC's header
PAUSE, OAM = to(0x01, ETH_P_PAUSE), to(0x02, ETH_P_SLOW, b"\x03")
FEIGNED = [to(0x0E, each) for each in (ETH_P_IP, ETH_P_IPV6, ETH_P_ARP)]
NEXT_GROUP = to(0x10, ETH_P_LLDP)

Heard = Mapping[int, list[bytes]]


class Cable:
    """What is sent on one cable, and who has it: daemons on its port, and the lagg."""

    def __init__(self, bare: Bare, port: int) -> None:
        self._bare, self._name, self._end = bare, PORTS[port], ENDS[port]
        self.drops: Mapping[str, int] = {}
        self.above: list[bytes] = []

    def send(self, frames: Sequence[bytes]) -> Heard:
        """What each daemon heard of them."""
        tally = Tally(self._bare.steer)
        with ExitStack() as opened:
            above = opened.enter_context(Capture(self._bare.near, LAGG))
            ears = {
                kind: opened.enter_context(self._bare.near.inside(self._listen, kind))
                for kind in DAEMONS
            }
            wire = opened.enter_context(self._bare.far.packet_socket(self._end))
            in_order()
            for frame in frames:
                wire.send(frame)
            wait_until(
                lambda: tally.ports("rx_frames")[self._name] >= len(frames),
                DEADLINE_S,
                "all are taken",
            )
            self.drops = tally.port_drops(self._name)
            self.above = [each.wire for each in above.take()]
            heard = {kind: waiting(ear) for kind, ear in ears.items()}
        return {kind: frames for kind, frames in heard.items() if frames}

    def _listen(self, kind: int) -> socket.socket:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        found.bind((self._name, kind))
        found.setblocking(False)
        return found


DAEMONS_HEAR = {ETH_P_LLDP: [LLDP], ETH_P_PAE: [EAPOL], ETH_P_802_2: [BPDU]}


@pytest.mark.parametrize("proto", PROTOS)
def test_what_is_for_a_port_stays_there_for_whoever_listens(
    bare: Bare, proto: str
) -> None:
    bare.steer.set(proto=proto)
    frames = [LLDP, EAPOL, BPDU, PAUSE]
    for port in (0, 1):
        cable = Cable(bare, port)
        assert cable.send(frames) == DAEMONS_HEAR
        assert (cable.above, cable.drops) == ([], {"link-local": len(frames)})


def test_with_pass_it_goes_up_but_for_pause_and_live(bare: Bare) -> None:
    cable, frames = Cable(bare, 1), [LLDP, PAUSE, EAPOL, BPDU]
    bare.steer.set(proto="loadbalance", link_local="pass")
    assert cable.send(frames) == {}
    assert (cable.above, cable.drops) == ([LLDP, EAPOL, BPDU], {"link-local": 1})
    attach_anew(bare, PORTS[1])
    assert cable.send(frames) == {}
    bare.steer.set(link_local="stay")
    assert cable.send(frames) == DAEMONS_HEAR
    assert (cable.above, cable.drops) == ([], {"link-local": 4})
    attach_anew(bare, PORTS[1])
    assert cable.send(frames) == DAEMONS_HEAR


def attach_anew(bare: Bare, port: str) -> None:
    bare.steer.detach(port)
    bare.steer.attach(port)
    bare.steer.wait_link(port, up=True)


def test_the_host_has_no_ip_by_it_and_other_groups_are_the_lagg_s(bare: Bare) -> None:
    bare.steer.set(proto="loadbalance")
    cable = Cable(bare, 0)
    assert cable.send([*FEIGNED, OAM, NEXT_GROUP]) == {}
    assert (cable.above, cable.drops) == ([OAM, NEXT_GROUP], {"link-local": 3})
