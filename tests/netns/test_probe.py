# SPDX-License-Identifier: BSD-2-Clause
"""A probe socket hears what link watchers want, tags in place, and nothing else."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from lab import Namespace, wait_until
from lagg.errors import LaggError
from lagg.kernel.probe import ProbeSocket
from tests.netns.frames import in_order
from tests.netns.steer import DEADLINE_S

OURS, OTHER, HOST = "62:00:5e:00:53:01", "02:00:5e:00:53:02", "02:00:5e:00:53:fe"
BFD, LAST = 3784, 3785
OUTER, INNER = Dot1AD(vlan=100, prio=5), Dot1Q(vlan=10)
REPLY = ARP(op=2, hwsrc=HOST, psrc="192.0.2.1", hwdst=OURS)
ADVERTISED = IPv6(src="fe80::1", dst="fe80::2", hlim=255) / ICMPv6ND_NA(tgt="fe80::1")


def to(mac: str) -> Any:  # noqa: ANN401
    return Ether(src=HOST, dst=mac)


def bfd(port: int = BFD) -> Any:  # noqa: ANN401
    return UDP(sport=49152, dport=port) / bytes(24)


V4, V6 = (
    IP(src="192.0.2.1", dst="192.0.2.2", ttl=255),
    IPv6(src="fe80::1", dst="fe80::2"),
)
HEARD = {
    "a reply": to(OURS) / REPLY,
    "a reply in a VLAN": to(OURS) / INNER / REPLY,
    "a reply in two": to(OURS) / OUTER / INNER / REPLY,
    "an advertisement": to(OURS) / ADVERTISED,
    "an advertisement in two": to(OURS) / OUTER / INNER / ADVERTISED,
    "bfd": to(OTHER) / V4 / bfd(),
    "bfd in a VLAN": to(OTHER) / INNER / V4 / bfd(),
    "bfd over IPv6": to(OTHER) / V6 / bfd(),
    "bfd over IPv6 in two": to(OTHER) / OUTER / INNER / V6 / bfd(),
}
UNHEARD = {
    "a reply to another": to(OTHER) / REPLY,
    "a question to all": to("ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.2"),
    "an advertisement to another": to(OTHER) / ADVERTISED,
    "a solicitation": to(OURS) / V6 / ICMPv6ND_NS(tgt="fe80::2"),
    "another port": to(OURS) / V4 / bfd(LAST),
    "another port over IPv6": to(OURS) / V6 / bfd(LAST),
    "a fragment": to(OURS) / IP(src="192.0.2.1", dst="192.0.2.2", frag=3) / bfd(),
    "TCP": to(OURS) / IP(src="192.0.2.1", dst="192.0.2.2", proto=6) / bytes(24),
    "cut short": bytes(to(OURS) / V4)[:30],
    "a bare header": bytes(to(OURS))[:14],
}


@pytest.fixture
def near_and_far() -> Iterator[tuple[Namespace, Namespace]]:
    with Namespace() as near, Namespace() as far:
        for each in (near, far):
            each.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        near.veth("p0", "q0", far)
        yield near, far


def heard(opened: ProbeSocket, last: bytes) -> list[bytes]:
    """All that came before `last`, which comes in any case."""
    found: list[bytes] = []

    def came() -> bool:
        found.extend(opened.frames())
        return last in found

    wait_until(came, DEADLINE_S, "the last frame is heard")
    return found[: found.index(last)]


def send(opened: socket.socket, *frames: bytes) -> None:
    in_order()
    for each in frames:
        opened.send(each)


def test_it_hears_answers_and_sessions_and_nothing_else(
    near_and_far: tuple[Namespace, Namespace],
) -> None:
    near, far = near_and_far
    opened = near.inside(lambda: ProbeSocket(near.ifindex("p0"), "p0"))
    wanted = [bytes(frame) for frame in HEARD.values()]
    last = bytes(to(OURS) / V4 / UDP(sport=1, dport=BFD) / b"the last")
    with far.packet_socket("q0") as into:
        far.inside(lambda: send(into, *map(bytes, UNHEARD.values()), *wanted, last))
        found = heard(opened, last)
    opened.close()
    assert [frame[: len(each)] for frame, each in zip(found, wanted, strict=True)] == (
        wanted
    )


def test_the_nic_lets_in_what_is_admitted_as_long_as_it_is(
    near_and_far: tuple[Namespace, Namespace],
) -> None:
    near, _ = near_and_far
    opened = near.inside(lambda: ProbeSocket(near.ifindex("p0"), "p0"))
    before = near.link("p0").promiscuity
    for macs in ({OURS, OTHER}, {OURS}, set(), {OTHER}):
        opened.admit(macs)
    assert near.link("p0").promiscuity >= before
    opened.close()
    assert near.link("p0").promiscuity == before


def test_what_it_sends_it_does_not_hear(
    near_and_far: tuple[Namespace, Namespace],
) -> None:
    near, far = near_and_far
    opened = near.inside(lambda: ProbeSocket(near.ifindex("p0"), "p0"))
    last = bytes(to(OURS) / V4 / UDP(sport=1, dport=BFD) / b"the last")
    with far.packet_socket("q0") as into:
        assert opened.send(bytes(to(OURS) / REPLY))
        into.send(last)
        assert heard(opened, last) == []
    opened.close()


def test_an_interface_of_another_name_is_refused(
    near_and_far: tuple[Namespace, Namespace],
) -> None:
    near, _ = near_and_far
    for ifindex, name in ((near.ifindex("p0") + 7, "p0"), (1, "p7")):
        with pytest.raises(LaggError, match=f"{name}: bind a probe socket"):
            near.inside(lambda i=ifindex, n=name: ProbeSocket(i, n))  # type: ignore[misc]
