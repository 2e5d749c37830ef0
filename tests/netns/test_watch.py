# SPDX-License-Identifier: BSD-2-Clause
"""Paths that are cut where no carrier tells of it, and who can feign one that is."""

import json
import struct
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.l2 import ARP, Ether

from lab import Lab, Pair, Refused, Stream, wait_until
from lab.cable import Patched
from lab.pair import End
from tests.netns.frames import Capture, waiting
from tests.netns.steer import DEADLINE_S, LAGG, Steer
from tests.netns.watched import ARP as ARP_WATCH
from tests.netns.watched import FAST, HOST, NS, OURS, WatchedLagg

RATE = 2_000
FLOWS = 32
"""Flows: so many that neither of two ports is without one, but in one of 10^9 runs."""

FLOW_AT = 14 + 20 + 8 + 16
"""Where a frame of a stream says its flow."""

FEW = 10
THIRD = "02:00:5e:00:53:03"


@pytest.fixture(scope="module")
def kept_world() -> Iterator[WatchedLagg]:
    with Lab() as lab:
        made = WatchedLagg(lab)
        yield made
        made.close()


@pytest.fixture
def world(kept_world: WatchedLagg) -> Iterator[WatchedLagg]:
    yield kept_world
    kept_world.conserved()
    kept_world.put_back()


# ---- a path is cut -----------------------------------------------------------------


@pytest.mark.parametrize("watch", [ARP_WATCH, NS], ids=["arp", "ns"])
@pytest.mark.parametrize("proto", ["failover", "loadbalance", "roundrobin"])
def test_a_dead_path_is_left_and_taken_again_when_it_heals(
    world: WatchedLagg, proto: str, watch: str
) -> None:
    world.watch(watch, proto=proto)
    both = ["p0"] if proto == "failover" else ["p0", "p1"]
    assert world.carrying() == both
    world.cut(0)
    world.wait_states("down", "up")
    assert world.carrying() == ["p1"]
    port = world.port(0)
    kind = watch.partition(",")[0]
    assert port["link"] == "up"
    assert port["reason"] == f"{kind}: no reply for 3 x 100 ms"
    assert port["watch"][0]["reason"] == "no reply for 3 x 100 ms"
    failures = port["watch"][0]["failures"]
    assert failures == 1
    world.heal(0)
    world.wait_states("up", "up")
    assert world.carrying() == both
    (found,) = world.port(0)["watch"]
    assert (found["reason"], found["failures"]) == ("replies", failures)


def test_explain_says_of_a_dead_path_what_show_says_of_it(world: WatchedLagg) -> None:
    world.watch(ARP_WATCH)
    world.cut(0)
    world.wait_states("down", "up")
    shown = world.laggd.ctl("show", LAGG).splitlines()
    (found,) = [line.strip() for line in shown if "down since" in line]
    said = world.laggd.ctl("explain", LAGG, "src=10.77.0.1", f"dst={HOST}").splitlines()
    assert f"  p0: {found}" in said
    assert "  p0: in its place p1 carries" in said


def test_no_path_that_lives_is_no_port_that_carries(world: WatchedLagg) -> None:
    world.watch(ARP_WATCH, proto="loadbalance")
    world.cut(0)
    world.cut(1)
    world.wait_states("down", "down")
    record = world.steer.record()
    assert (record["link"], world.carrying()) == ("down", [])
    world.heal(1)
    world.wait_states("down", "up")
    assert world.steer.record()["link"] == "up"


def test_flows_of_the_other_port_lose_nothing(world: WatchedLagg) -> None:
    world.watch(ARP_WATCH, proto="loadbalance")
    ends = [world.switch.packet_socket(f"q{number}") for number in range(2)]
    stream = Stream(world.a, world.host, HOST, rate=RATE, flows=FLOWS)
    ways: list[set[int]] = [set(), set()]

    def all_seen() -> bool:
        for way, end in zip(ways, ends, strict=True):
            way.update(f[FLOW_AT + 1] for f in waiting(end) if len(f) > FLOW_AT + 2)
        return len(ways[0] | ways[1]) == FLOWS

    world.wait(all_seen, "each flow is seen")
    assert ways[0]
    assert ways[1]
    world.cut(0)
    world.wait_states("down", "up")
    world.heal(0)
    world.wait_states("up", "up")
    stream.stop()
    result = stream.result()
    lost = {number for number, flow in enumerate(result.flows) if flow.lost}
    assert lost == ways[0], str(result)
    assert result.corrupt == 0
    for each in ends:
        each.close()


def test_a_cut_costs_less_than_missed_max_intervals_and_one(
    world: WatchedLagg,
) -> None:
    """In state: what is measured in time is in tests/watchers/test_asking.py."""
    world.watch(ARP_WATCH, proto="failover")
    stream = Stream(world.a, world.host, HOST, rate=RATE, flows=1)
    world.cut(0)
    world.wait_states("down", "up")
    stream.stop()
    print(stream.result())


@pytest.mark.parametrize("tags", [(10,), (100, 20)])
def test_a_target_in_a_vlan_is_asked_there(
    world: WatchedLagg, tags: tuple[int, ...]
) -> None:
    """By this kernel no host has a VLAN, so that the test is the host."""
    vlan = ".".join(map(str, tags))
    world.steer.set(watch=[f"arp,target=10.78.0.2,vlan={vlan},interval_ms=500"])
    with Capture(world.host, "eth0") as seen:
        into = world.host.packet_socket("eth0")

        def answered(*states: str) -> Callable[[], bool]:
            def look() -> bool:
                for each in seen.take():
                    if reply := reply_in(tags, each.wire):
                        into.send(reply)
                return world.states() == [[state] for state in states]

            return look

        with into:
            world.wait(answered("up", "up"), "both are answered")
            world.cut(1)
            world.wait(answered("up", "down"), "one is answered")


def reply_in(tags: tuple[int, ...], frame: bytes) -> bytes | None:
    """A host's reply to a probe in these VLANs, the outer tag 802.1ad's of two."""
    probe = Ether(frame)
    types = (0x88A8, 0x8100)[2 - len(tags) :]
    head = b"".join(struct.pack("!HH", *tag) for tag in zip(types, tags, strict=True))
    if frame[12 : 12 + len(head) + 2] != head + b"\x08\x06" or probe[ARP].op != 1:
        return None
    body = arp_reply(probe.src, address=probe[ARP].pdst)
    return body[:12] + head + body[12:]


def arp_reply(to: str, *, address: str = HOST) -> bytes:
    body = ARP(op=2, hwsrc=THIRD, psrc=address, hwdst=to, pdst="0.0.0.0")
    return bytes(Ether(src=THIRD, dst=to) / body)


def test_any_and_all_of_several_watches(world: WatchedLagg) -> None:
    silent = f"arp,target=10.77.0.99,{FAST}"
    world.steer.set(watch=[ARP_WATCH, silent], watch_policy="any", proto="loadbalance")
    world.wait(lambda: world.states() == [["up", "down"]] * 2, "one replies")
    assert world.carrying() == ["p0", "p1"]
    world.steer.set(watch_policy="all")
    assert world.carrying() == []
    assert world.port(0)["reason"] == "arp: no reply for 3 x 100 ms"
    world.steer.set(watch=[f"{silent},port=p1"])
    world.wait(lambda: world.states() == [[], ["down"]], "p1 alone is watched")
    assert world.carrying() == ["p0"]
    world.steer.set(watch=[])
    assert world.carrying() == ["p0", "p1"]


def test_what_is_set_on_a_port_that_carries_is_trusted_at_first(
    world: WatchedLagg,
) -> None:
    world.steer.set(watch=["arp,target=10.77.0.99,interval_ms=3600000"])
    assert world.states() == [["init"], ["init"]]
    assert world.carrying() == ["p0"]
    world.a.set_link("p0", state="down")
    world.wait(lambda: world.states()[0] == ["down"], "it has no carrier")
    world.a.set_link("p0", state="up")
    world.wait(lambda: world.port(0)["link"] == "up", "its carrier is back")
    assert world.states()[0] == ["down"], "which is to be proved first"
    assert world.port(0)["reason"] == "arp: no reply yet"


# ---- whom probes reach ------------------------------------------------------------


def test_a_probe_by_a_port_on_standby_teaches_nobody_a_way(world: WatchedLagg) -> None:
    world.watch(ARP_WATCH)
    mac = world.steer.record()["mac"]
    world.a.run("ping", "-c1", HOST)
    told = json.loads(world.switch.run("bridge", "-j", "fdb", "show").stdout)
    ways = {(each["mac"], each["ifname"]) for each in told if "master" in each}
    assert (mac, "v0") in ways
    assert (mac, "v1") not in ways
    assert {(world.probe_macs[0], "v0"), (world.probe_macs[1], "v1")} <= ways
    assert not {(world.probe_macs[0], "v1"), (world.probe_macs[1], "v0")} & ways
    neighbours = json.loads(world.host.run("ip", "-j", "neigh").stdout)
    of_ours = {each["lladdr"] for each in neighbours if each["dst"] == OURS}
    assert of_ours == {mac}


@pytest.mark.parametrize("watch", [ARP_WATCH, NS], ids=["arp", "ns"])
def test_answers_go_to_the_watch_and_not_to_the_lagg(
    world: WatchedLagg, watch: str
) -> None:
    macs = {bytes.fromhex(each.replace(":", "")) for each in world.probe_macs}
    with Capture(world.a, LAGG) as seen, Capture(world.a, "p1") as wire:
        world.watch(watch, proto="loadbalance")
        answers = 0

        def answered_often() -> bool:
            nonlocal answers
            answers += sum(each.wire[:6] in macs for each in wire.take())
            return answers >= FEW

        world.wait(answered_often, "some answers came in")
        assert world.states() == [["up"], ["up"]]
        assert [each for each in seen.take() if each.wire[:6] in macs] == []
        world.steer.set(watch=[])
        frame = arp_reply(world.probe_macs[1])
        with world.host.packet_socket("eth0") as into:

            def is_the_lagg_s() -> bool:
                into.send(frame)
                return any(each.wire[:6] in macs for each in seen.take())

            world.wait(is_the_lagg_s, "without a watch it is a frame like any other")


# ---- what it outlives, and what is refused -----------------------------------------


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_verdict_outlives_laggd(world: WatchedLagg, way: str) -> None:
    world.watch(ARP_WATCH, proto="loadbalance")
    world.cut(0)
    world.wait_states("down", "up")
    before = world.steer.record()["ports"]
    if way == "restart":
        world.laggd.restart()
    else:
        world.laggd.kill()
        world.laggd.start()
    world.steer.reconnect()
    after = world.steer.record()["ports"]
    assert [port["watch"] for port in after] == [port["watch"] for port in before]
    assert world.carrying() == ["p1"]
    world.heal(0)
    world.wait_states("up", "up")
    world.cut(1)
    world.wait_states("up", "down")


def test_a_bad_watch_is_refused_by_its_key_and_nothing_changes(
    world: WatchedLagg,
) -> None:
    world.watch(ARP_WATCH)
    before = world.steer.record()["options"]
    with pytest.raises(Refused) as refused:
        world.laggd.ctl("set", LAGG, "--watch", ARP_WATCH, "--watch", "arp,target=x")
    assert "lagg0: watch[1].target: 'x' is not an IP address (EINVAL)" in str(
        refused.value
    )
    assert world.steer.record()["options"] == before
    world.laggd.ctl("set", LAGG, "--watch", "")
    assert world.steer.record()["options"]["watch"] == []


# ---- lacp --------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Lab() as lab:
        made = Pair(
            lab,
            cables=2,
            proto="lacp",
            options=("--lacp-fast-timeout",),
            patched=True,
        )
        made.wait_until_agreed(2)
        yield made


def test_with_lacp_a_dead_path_leaves_distribution_and_lacp_goes_on(
    pair: Pair,
) -> None:
    """The partner spreads its answers as it likes: they come by any port."""
    steer = Steer(pair.a.laggd)
    steer.set(watch=[f"arp,target={pair.b.address},{FAST}"])

    def states() -> list[str]:
        return [port["watch"][0]["state"] for port in steer.record()["ports"]]

    _wait(lambda: states() == ["up", "up"])
    cable = pair.cables[0]
    assert isinstance(cable, Patched)
    cable.lose(to_near=False, protocol="arp")
    _wait(lambda: states() == ["down", "up"])
    port = steer.record()["ports"][0]
    assert port["flags"] == ["ACTIVE", "COLLECTING"]
    assert port["reason"] == "arp: no reply for 3 x 100 ms"
    heard = _heard(pair.a)
    _wait(lambda: _heard(pair.a) > heard + 2)
    assert _distributes(pair.b) == ["q0", "q1"], "LACP has not told of it"
    assert port["lacp"]["actor"]["state"] == _state(pair.a)
    cable.pass_again(to_near=False)
    _wait(lambda: states() == ["up", "up"])
    assert _distributes(pair.a) == ["p0", "p1"]
    steer.close()
    pair.conserved()


def _wait(holds: Callable[[], object]) -> None:
    wait_until(holds, DEADLINE_S, "it is so")


def _heard(end: End) -> int:
    return int(end.record()["ports"][0]["lacp"]["counters"]["lacpdu_rx"])


def _state(end: End) -> int:
    return int(end.record()["ports"][0]["lacp"]["actor"]["state"])


def _distributes(end: End) -> list[str]:
    ports = end.record()["ports"]
    return [port["name"] for port in ports if "DISTRIBUTING" in port["flags"]]
