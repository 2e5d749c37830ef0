# SPDX-License-Identifier: BSD-2-Clause
"""Deaf ports: the host stack hears nothing of what packet sockets get whole.

far: eth1 192.0.2.2 ------------ eth0 192.0.2.1 :near
     sends UDP, ARP, pings       deaf or not

Dumb ports: of what the host stack sends by eth0, nothing comes to eth1.
"""

import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Namespace
from lagg.errors import LaggError
from lagg.kernel.netlink import DeafPorts, ingress, nft
from tests.netns.frames import ETH_P_ARP, ETH_P_IP, in_order, waiting
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 60.0
MARK = 0x10

NEAR_MAC, FAR_MAC = "02:00:5e:00:53:01", "02:00:5e:00:53:02"
NEAR_IP, FAR_IP = "192.0.2.1", "192.0.2.2"
UDP_PORT = 4000
FRAMES = 20  # of each kind
LAST = b"last frame"
ETH_P_LOCAL = 0x88B5  # IEEE 802's local experimental ethertype


@pytest.fixture
def cable(near: Namespace, far: Namespace) -> None:
    lay_cable(near, far)


def lay_cable(near: Namespace, far: Namespace) -> None:
    near.veth("eth0", "eth1", far)
    near.set_link("eth0", address=NEAR_MAC)
    far.set_link("eth1", address=FAR_MAC)
    near.add_address("eth0", f"{NEAR_IP}/24")
    far.add_address("eth1", f"{FAR_IP}/24")


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(ethertype: int, payload: bytes) -> bytes:
    head = packed(NEAR_MAC) + packed(FAR_MAC) + ethertype.to_bytes(2, "big")
    return (head + payload).ljust(60, b"\0")


def arp_request() -> bytes:
    target = bytes(6) + socket.inet_aton(NEAR_IP)
    sender = packed(FAR_MAC) + socket.inet_aton(FAR_IP)
    return frame(ETH_P_ARP, struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + sender + target)


def checksum(words: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ip(protocol: int, payload: bytes) -> bytes:
    ends = socket.inet_aton(FAR_IP) + socket.inet_aton(NEAR_IP)
    size = 20 + len(payload)
    blank = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, protocol, 0) + ends
    head = blank[:10] + checksum(blank).to_bytes(2, "big") + blank[12:]
    return frame(ETH_P_IP, head + payload)


def udp() -> bytes:
    return ip(socket.IPPROTO_UDP, struct.pack(">HHHH", 4001, UDP_PORT, 12, 0) + b"udp!")


def ping() -> bytes:
    blank = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    return ip(
        socket.IPPROTO_ICMP, blank[:2] + checksum(blank).to_bytes(2, "big") + blank[4:]
    )


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of FRAMES frames of each kind sent to near."""

    tapped: int  # seen by near's packet socket
    received: int  # by near's UDP socket
    replies: int  # ARP and ICMP, seen by far's packet socket


DEAF = Heard(tapped=3 * FRAMES, received=0, replies=0)
HEARS = Heard(tapped=3 * FRAMES, received=FRAMES, replies=2 * FRAMES)


def listen(near: Namespace, far: Namespace, name: str = "eth0") -> Heard:
    """Sends the frames and tells what became of them.

    One more frame each way, of no protocol, ends it: what the port did with the frames
    before it is done when it is seen, and its replies are there when it is answered.
    """
    with contextlib.ExitStack() as opened:
        tapped = opened.enter_context(near.packet_socket(name))
        sender = opened.enter_context(far.packet_socket("eth1"))
        listener = opened.enter_context(near.inside(udp_listener))
        far.inside(lambda: send_all(sender))
        seen = until_last(tapped)
        received = len(waiting(listener))
        near.inside(lambda: send_last(tapped))
        return Heard(
            tapped=sum(each[:12] == frame(0, b"")[:12] for each in seen),
            received=received,
            replies=sum(is_reply(each) for each in until_last(sender)),
        )


def send_all(sender: socket.socket) -> None:
    in_order()
    for each in (arp_request(), udp(), ping()):
        for _ in range(FRAMES):
            sender.send(each)
    sender.send(frame(ETH_P_LOCAL, LAST))


def send_last(sender: socket.socket) -> None:
    in_order()
    sender.send(outgoing(ETH_P_LOCAL, LAST))


def is_reply(seen: bytes) -> bool:
    arp_reply = seen[12:14] == b"\x08\x06" and seen[20:22] == b"\0\2"
    echo_reply = seen[12:14] == b"\x08\0" and seen[23] == 1 and seen[34] == 0
    return seen[:6] == packed(FAR_MAC) and (arp_reply or echo_reply)


def udp_listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((NEAR_IP, UDP_PORT))
    listener.setblocking(False)
    return listener


def until_last(opened: socket.socket) -> list[bytes]:
    """What a packet socket sees before the last frame."""
    seen: list[bytes] = []

    def complete() -> bool:
        seen.extend(waiting(opened))
        return any(LAST in each for each in seen)

    wait_until(complete, DEADLINE_S, "a packet socket sees the last frame")
    return [each for each in seen if LAST not in each]


def hears(near: Namespace, far: Namespace, name: str = "eth0") -> bool:
    heard = listen(near, far, name)
    assert heard in (DEAF, HEARS)
    return heard == HEARS


def with_deaf(near: Namespace, steps: Callable[[DeafPorts], Awaitable[None]]) -> None:
    async def run() -> None:
        with closing(DeafPorts(MARK)) as ports:
            await steps(ports)

    near.arun(run)


@pytest.mark.usefixtures("cable")
def test_a_deaf_port_answers_nothing_and_packet_sockets_see_all(
    near: Namespace, far: Namespace
) -> None:
    index = near.ifindex("eth0")

    async def steps(ports: DeafPorts) -> None:
        assert listen(near, far) == HEARS
        await ports.deafen(index, "eth0")
        assert listen(near, far) == DEAF
        await ports.deafen(index, "eth0")  # no matter
        assert listen(near, far) == DEAF
        await ports.undeafen(index)
        assert listen(near, far) == HEARS
        await ports.undeafen(index)  # no matter
        await ports.deafen(index, "eth0")
        assert listen(near, far) == DEAF

    with_deaf(near, steps)
    assert listen(near, far) == HEARS  # close() let it hear


@pytest.mark.usefixtures("cable")
def test_a_renamed_port_stays_deaf_and_its_old_name_is_free(
    near: Namespace, far: Namespace
) -> None:
    index = near.ifindex("eth0")

    async def steps(ports: DeafPorts) -> None:
        await ports.deafen(index, "eth0")
        near.rename("eth0", "wan0")
        await ports.deafen(index, "wan0")
        assert listen(near, far, "wan0") == DEAF
        near.delete_link("wan0")
        lay_cable(near, far)
        assert listen(near, far) == HEARS

    with_deaf(near, steps)


@pytest.mark.usefixtures("cable")
def test_a_new_link_of_a_deleted_port_s_name_hears(
    near: Namespace, far: Namespace
) -> None:
    index = near.ifindex("eth0")

    async def steps(ports: DeafPorts) -> None:
        await ports.deafen(index, "eth0")
        near.delete_link("eth0")
        await ports.undeafen(index)
        lay_cable(near, far)
        assert listen(near, far) == HEARS

    with_deaf(near, steps)


@pytest.mark.usefixtures("cable")
def test_a_port_that_is_renamed_too_fast_is_refused(near: Namespace) -> None:
    async def steps(ports: DeafPorts) -> None:
        with pytest.raises(LaggError) as caught:
            await ports.deafen(near.ifindex("eth0"), "wan0")
        assert caught.value.code == errno.ENODEV

    with_deaf(near, steps)


# ---- dumb --------------------------------------------------------------------------

ETH_P_LLDP, ETH_P_IPV6 = 0x88CC, 0x86DD
SO_MARK = 36


def outgoing(ethertype: int, payload: bytes = b"") -> bytes:
    head = packed(FAR_MAC) + packed(NEAR_MAC) + ethertype.to_bytes(2, "big")
    return (head + payload).ljust(60, b"\0")


STRANGERS = (f"192.0.2.{host}" for host in range(100, 200))
"""Each is asked for by ARP when something is sent to it first."""


def speak(opened: socket.socket) -> None:
    """The host stack sends by eth0, and then a packet socket that is open there."""
    in_order()
    index = socket.if_nametoindex("eth0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(b"IPv4", ("192.0.2.255", UDP_PORT))
        sender.sendto(b"ARP first", (next(STRANGERS), UDP_PORT))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"IPv6", ("ff02::1", UDP_PORT, 0, index))
    for ethertype in (ETH_P_IP, ETH_P_ARP, ETH_P_IPV6, ETH_P_LLDP):
        with contextlib.suppress(OSError):  # dropped: ENOBUFS
            opened.send(outgoing(ethertype, b"by hand"))
    opened.send(outgoing(ETH_P_LOCAL, LAST))


def heard_far(near: Namespace, far: Namespace, *, mark: int) -> set[tuple[int, bool]]:
    """What came to far of all that was said: ethertype, and whether by hand."""
    with far.packet_socket("eth1") as listener, near.packet_socket("eth0", 0) as opened:
        opened.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        near.inside(lambda: speak(opened))
        seen = until_last(listener)
    from_near = (each for each in seen if each[6:12] == packed(NEAR_MAC))
    return {(int.from_bytes(x[12:14], "big"), b"by hand" in x) for x in from_near}


BY_HAND = {(kind, True) for kind in (ETH_P_IP, ETH_P_ARP, ETH_P_IPV6, ETH_P_LLDP)}
BY_HOST = {(kind, False) for kind in (ETH_P_IP, ETH_P_ARP, ETH_P_IPV6)}


def give_address(near: Namespace) -> None:
    """One of IPv6 from which eth0 can send at once."""
    add = "ip address add fe80::53/64 dev eth0 nodad"
    near.inside(lambda: subprocess.run(add.split(), check=True))


@pytest.mark.usefixtures("cable")
def test_by_a_dumb_port_only_our_sockets_send_what_a_host_stack_sends(
    near: Namespace, far: Namespace
) -> None:
    index = near.ifindex("eth0")
    give_address(near)

    async def steps(ports: DeafPorts) -> None:
        assert heard_far(near, far, mark=0) == BY_HAND | BY_HOST
        await ports.deafen(index, "eth0")
        assert heard_far(near, far, mark=MARK) == BY_HAND
        assert heard_far(near, far, mark=0) == {(ETH_P_LLDP, True)}
        near.rename("eth0", "wan0")
        await ports.deafen(index, "wan0")
        near.rename("wan0", "eth0")
        await ports.deafen(index, "eth0")
        give_address(near)  # it went with the link
        assert heard_far(near, far, mark=0) == {(ETH_P_LLDP, True)}
        await ports.undeafen(index)
        assert heard_far(near, far, mark=0) == BY_HAND | BY_HOST

    with_deaf(near, steps)


@pytest.mark.usefixtures("cable")
def test_a_kernel_without_egress_hook_makes_ports_deaf_and_says_so_once(
    near: Namespace,
    far: Namespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    index = near.ifindex("eth0")
    monkeypatch.setattr(nft, "EGRESS", 7)  # what it answers to an unknown hook

    async def steps(ports: DeafPorts) -> None:
        for _ in range(2):
            await ports.deafen(index, "eth0")
            assert listen(near, far) == DEAF

    with_deaf(near, steps)
    assert caplog.text.count("CONFIG_NETFILTER_EGRESS") == 1


OWNER = """
import asyncio, sys
from lagg.kernel.netlink import DeafPorts

async def main():
    ports = DeafPorts(0)
    await ports.deafen(int(sys.argv[1]), "eth0")
    print("deaf", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@pytest.mark.usefixtures("cable")
def test_sigkill_of_the_owner_lets_the_port_hear(
    near: Namespace, far: Namespace
) -> None:
    command = [sys.executable, "-c", OWNER, str(near.ifindex("eth0"))]
    with near.inside(
        lambda: subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "deaf\n"
        assert listen(near, far) == DEAF
        owner.send_signal(signal.SIGKILL)
        assert owner.wait(DEADLINE_S) == -signal.SIGKILL
        wait_until(lambda: hears(near, far), DEADLINE_S, "the port hears again")
        # And it is anybody's again.
        index = near.ifindex("eth0")
        with_deaf(near, lambda ports: ports.deafen(index, "eth0"))


@pytest.mark.usefixtures("cable")
def test_a_port_has_one_owner_until_that_gives_it_up(
    near: Namespace, far: Namespace
) -> None:
    near.veth("lan0", "lan1", far)
    index, other = near.ifindex("eth0"), near.ifindex("lan0")

    async def steps(ports: DeafPorts) -> None:
        with closing(DeafPorts(MARK)) as others:
            await ports.deafen(index, "eth0")
            for way in (others.claim, others.deafen):
                with pytest.raises(LaggError) as caught:
                    await way(index, "eth0")
                assert caught.value.code == errno.EBUSY
                assert caught.value.cause == (
                    f"is a port of another laggd (pid {os.getpid()});"
                    " detach it there first"
                )
            await others.deafen(other, "lan0")  # another port is another matter
            await others.undeafen(index)
        assert listen(near, far) == DEAF
        with closing(DeafPorts(MARK)) as others:
            await ports.undeafen(index)
            await others.deafen(index, "eth0")
            assert listen(near, far) == DEAF
        await ports.claim(index, "eth0")
        assert listen(near, far) == HEARS

    with_deaf(near, steps)


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        (errno.EPROTONOSUPPORT, "CONFIG_NETFILTER_NETLINK"),
        (errno.EOPNOTSUPP, "CONFIG_NF_TABLES_NETDEV"),
    ],
)
def test_a_kernel_without_nftables_says_what_it_lacks(
    near: Namespace, monkeypatch: pytest.MonkeyPatch, code: int, lacking: str
) -> None:
    def refuse(protocol: int) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(ingress, "Socket", refuse)

    async def steps(ports: DeafPorts) -> None:
        with pytest.raises(LaggError, match=lacking) as caught:
            await ports.deafen(1, "lo")
        assert caught.value.code == code

    with_deaf(near, steps)
