# SPDX-License-Identifier: BSD-2-Clause
"""A port whose frames are shaped or filtered as they leave sends by the packet socket,
for AF_XDP would pass that by: from its first frame on, and as long as it is so.
"""

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import bpf
from lab import Namespace
from lagg.errors import LaggError
from lagg.kernel.netlink import DeafPorts, Netlink, nft, wire
from lagg.kernel.netlink.wire import NETLINK_NETFILTER, Socket
from lagg.link import EgressRules
from lagg.model import Drop, Proto, Transmit
from lagg.operations.kernel_events import KernelEvents
from lagg.records import LaggRecord
from tests.netns.commands_world import World
from tests.netns.frames import ether

SHAPER = "root tbf rate 20mbit burst 32k latency 50ms"
FRAMES = 40
HARMLESS = ("root pfifo limit 100", "ingress", "root sfq")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        made.plug(0, 1)
        yield made


@pytest.fixture
def lagg(world: World) -> World:
    world.create("lagg0", "p0", "p1", proto=Proto.ROUNDROBIN)
    if Transmit.PACKET in transmits(world):
        pytest.skip("no AF_XDP here")
    return world


def transmits(world: World) -> list[Transmit]:
    return [Transmit(port["tx"]) for port in world.record()["ports"]]


def tc(world: World, words: str) -> None:
    command = ["tc", "qdisc", *words.split()]
    done = world.near.inside(lambda: subprocess.run(command, capture_output=True))
    if b"kind is unknown" in done.stderr:
        pytest.skip(f"this kernel has no {words}")
    assert done.returncode == 0, done.stderr


class Chain:
    """A chain without a rule, in a table of somebody else's, until it is closed."""

    def __init__(
        self, world: World, hook: int, port: str, policy: int = nft.ACCEPT
    ) -> None:
        async def make() -> Socket:
            owner = Socket(NETLINK_NETFILTER)
            table = nft.new_table("others", "for a test")
            chain = nft.new_chain("others", "chain", hook, port, policy)
            await nft.batch(owner, table, chain)
            return owner

        self._owner = world.near.arun(make)

    def close(self) -> None:
        self._owner.close()


def await_transmits(world: World, *wanted: Transmit) -> None:
    world.wait(lambda: transmits(world) == list(wanted), f"the ports send by {wanted}")


@pytest.mark.parametrize("filtering", [SHAPER, "clsact"])
def test_a_port_that_is_given_a_qdisc_that_decides_sends_through_it(
    lagg: World, filtering: str
) -> None:
    tc(lagg, f"add dev p0 {filtering}")
    await_transmits(lagg, Transmit.PACKET, Transmit.XDP)
    tc(lagg, f"del dev p0 {filtering.split()[0]}")
    await_transmits(lagg, Transmit.XDP, Transmit.XDP)


def test_a_port_that_is_given_an_egress_chain_sends_through_it(lagg: World) -> None:
    chain = Chain(lagg, nft.EGRESS, "p1")
    await_transmits(lagg, Transmit.XDP, Transmit.PACKET)
    chain.close()
    await_transmits(lagg, Transmit.XDP, Transmit.XDP)


def test_a_port_that_is_given_a_program_without_a_qdisc_sends_through_it(
    lagg: World,
) -> None:
    port = lagg.near.ifindex("p1")
    program = lagg.near.inside(bpf.attach, port, bpf.accepting())
    await_transmits(lagg, Transmit.XDP, Transmit.PACKET)
    lagg.near.inside(bpf.detach, port, program)
    await_transmits(lagg, Transmit.XDP, Transmit.XDP)


def test_what_a_filter_drops_is_counted_as_that(lagg: World) -> None:
    chain = Chain(lagg, nft.EGRESS, "p0", nft.DROP)
    await_transmits(lagg, Transmit.PACKET, Transmit.XDP)
    before = lagg.record()["counters"]
    with lagg.near.packet_socket("lagg0") as above:
        for _ in range(FRAMES):
            above.send(ether(b"to be filtered"))

    def filtered_of(record: LaggRecord) -> int:
        return record["ports"][0]["drops"][Drop.TX_FILTERED.value]

    # The host may say something of its own meanwhile, by turns as well.
    lagg.wait(lambda: filtered_of(lagg.record()) >= FRAMES // 2, "half were filtered")
    record = lagg.record()
    assert filtered_of(record) <= record["counters"]["tx_in"] - before["tx_in"]
    filtered = filtered_of(record)
    assert record["counters"]["drops"][Drop.TX_FILTERED.value] == filtered
    assert record["counters"]["drops"][Drop.TX_FULL.value] == 0
    chain.close()


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_decides_nothing_about_frames_that_leave_is_passed_by(
    lagg: World, harmless: str
) -> None:
    tc(lagg, f"add dev p0 {harmless}")
    tc(lagg, f"add dev p1 {SHAPER}")  # when this is noticed, the other was looked at
    await_transmits(lagg, Transmit.XDP, Transmit.PACKET)


def test_a_chain_for_what_comes_in_is_no_egress_filter(lagg: World) -> None:
    chain = Chain(lagg, nft.INGRESS, "p0")
    tc(lagg, f"add dev p1 {SHAPER}")
    await_transmits(lagg, Transmit.XDP, Transmit.PACKET)
    chain.close()


def test_a_port_that_has_a_shaper_when_it_is_attached_never_passes_it_by(
    world: World,
) -> None:
    tc(world, f"add dev p0 {SHAPER}")
    world.create("lagg0", "p0", "p1", proto=Proto.ROUNDROBIN)
    assert transmits(world)[0] is Transmit.PACKET


def test_filters_are_listed_once_for_all_ports_that_come_together(
    world: World, lagg: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, listed = Netlink.egress_rules, []

    async def listing(netlink: Netlink) -> EgressRules:
        listed.append(len(world.commands._laggs.bundles))
        return await rules(netlink)

    async def no_poll(follower: KernelEvents) -> None:
        pass

    lagg.destroy()
    world.stop()
    monkeypatch.setattr(KernelEvents, "_look_for_sniffers", no_poll)
    monkeypatch.setattr(Netlink, "egress_rules", listing)
    world.start()
    world.create("lagg0", "p0", "p1")
    assert transmits(world) == [Transmit.XDP, Transmit.XDP]
    assert listed == [1]


@pytest.mark.parametrize("code", [errno.EINTR, errno.ENOBUFS])
def test_filters_that_cannot_be_listed_refuse_no_port_and_are_passed_by_by_none(
    lagg: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def fail(_: Netlink) -> EgressRules:
        raise LaggError("netlink", "look for egress filters: for a test", code)

    lagg.destroy()
    with monkeypatch.context() as patch:
        patch.setattr(Netlink, "egress_rules", fail)
        lagg.create("lagg0", "p0", "p1", proto=Proto.ROUNDROBIN)
        assert transmits(lagg) == [Transmit.PACKET, Transmit.PACKET]
    await_transmits(lagg, Transmit.XDP, Transmit.XDP)


def test_a_kernel_without_nftables_filters_nothing_and_is_told_of_at_attach(
    near: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(family: int, kind: int, protocol: int) -> socket.socket:
        if protocol == NETLINK_NETFILTER:
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        return socket.socket(family, kind, protocol)

    async def start() -> tuple[EgressRules, LaggError]:
        with closing(Netlink()) as netlink, closing(DeafPorts(mark=1)) as deaf:
            rules = await netlink.egress_rules()
            with pytest.raises(LaggError) as caught:
                await deaf.claim(1, "lo")
            return rules, caught.value

    monkeypatch.setattr(
        wire, "socket", SimpleNamespace(**vars(socket) | {"socket": lacking})
    )
    rules, refusal = near.arun(start)
    assert rules == EgressRules()
    assert "this kernel has no CONFIG_NETFILTER_NETLINK" in str(refusal)
