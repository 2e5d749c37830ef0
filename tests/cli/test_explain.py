# SPDX-License-Identifier: BSD-2-Clause
"""`explain`: what is answered for a hash, how a flow is given, what is printed."""

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import wrpcap, wrpcapng

from lagg import cli
from lagg.cli.explain import explain_page, neighbour, next_hop
from lagg.cli.flow import frame_of, parse_fields
from lagg.cli.output import UsageError
from lagg.cli.pcap import FormatError, frames
from lagg.cli.said import plain
from lagg.control.messages import explanation_json
from lagg.kernel import lowered
from lagg.model import Drop, HashKind, HashLayer, LaggConfig, Options, Proto
from lagg.plan.explain import Choice, Explanation, Hashed, explain
from lagg.plan.plan import plan
from lagg.plan.shape import Shape
from lagg.watches import LinkWatch, Verdict, Watched, WatchKind, WatchState
from tests.control.world import World, shape_of

PORTS = ("eth0", "eth1", "eth2")  # eth2 is down
MACS = {"smac": "02:00:5e:00:53:01", "dmac": "02:00:5e:00:53:02"}


def shape(proto: Proto, *ports: str, **options: object) -> Shape:
    chosen = Options(**cast(dict[str, Any], options))
    return shape_of(LaggConfig("lagg0", proto, ports, options=chosen))


def explained(of: Shape, flow_hash: int) -> Explanation:
    return explain("lagg0", of, plan(of), 17, Hashed(flow_hash))


# What is answered


def test_load_balance_names_the_port_of_the_bucket() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS)
    for hashed in range(600):
        found = explained(of, hashed)
        slot = plan(of).tx_slots[hashed % 256]
        assert found.choice == Choice((of.at(slot).link.name,), None)
        assert (found.hash, found.bucket, found.buckets) == (hashed, hashed % 256, 256)


def test_a_port_that_stands_in_is_told_from_the_one_at_home() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS)
    whys = [explained(of, hashed).why for hashed in range(256)]
    standing_in = [hashed for hashed in range(256) if "stands in" in whys[hashed]]
    assert standing_in == [bucket for bucket in range(256) if of.homes[bucket] == 2]
    assert "; its port, eth2, is down" in whys[standing_in[0]]


def test_with_fnv1_the_port_of_a_hash_is_by_the_order_that_the_file_gives() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS, hash=HashKind.FNV1)
    ordered = of.in_order(["eth2", "eth1", "eth0"])
    whys = [explained(ordered, hashed).why for hashed in range(3)]
    assert ["stands in" in why for why in whys] == [True, False, False]
    assert "; its port, eth2, is down" in whys[0]


def test_fnv1_answers_with_lagg_link_active() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS, hash=HashKind.FNV1)
    ports = [explained(of, hashed).choice.ports for hashed in range(3)]
    assert ports == [("eth0",), ("eth1",), ("eth0",)]
    assert "its port, eth2, is down" in explained(of, 2).why
    assert "stands in" not in explained(of, 1).why


def test_each_port_that_went_down_is_answered_by_the_plan_without_it() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS)
    for hashed in range(256):
        without = dict(explained(of, hashed).without)
        assert without["eth0"] == Choice(("eth1",), None)
        assert without["eth1"] == Choice(("eth0",), None)
        assert without["eth2"] == explained(of, hashed).choice


@pytest.mark.parametrize(
    ("proto", "choice", "why"),
    [
        (Proto.FAILOVER, Choice(("eth0",), None), "the primary carries all"),
        (
            Proto.ROUNDROBIN,
            Choice(("eth0", "eth1"), None),
            "the ports take turns of 1 frame",
        ),
        (
            Proto.BROADCAST,
            Choice(("eth0", "eth1"), None),
            "every port that is up carries a copy",
        ),
        (Proto.NONE, Choice((), Drop.PROTO_NONE), "laggproto none carries nothing"),
    ],
)
def test_the_other_protocols_ask_for_no_hash(
    proto: Proto, choice: Choice, why: str
) -> None:
    found = explained(shape(proto, *PORTS), 12345)
    assert (found.choice, found.why) == (choice, why)
    assert (found.hash, found.bucket, found.buckets) == (None, None, 0)


def test_failover_says_who_is_stood_in_for() -> None:
    of = shape(Proto.FAILOVER, *PORTS)
    port = of.at(0)
    dead = of.with_link(replace(port.link, lower_up=False), port.modes)
    found = explained(dead, 0)
    assert found.choice == Choice(("eth1",), None)
    assert found.why == "the primary, eth0, is down; this port stands in"
    assert dict(found.without)["eth1"] == Choice((), Drop.NO_ACTIVE_PORT)


@pytest.mark.parametrize("proto", [p for p in Proto if p is not Proto.NONE])
def test_nobody_carries_without_a_port_or_without_an_active_one(proto: Proto) -> None:
    assert explained(shape(proto), 7).choice == Choice((), Drop.NO_PORT)
    found = explained(shape(proto, "eth0"), 7)
    assert found.choice == Choice((), Drop.NO_ACTIVE_PORT)
    assert (found.bucket, found.buckets) == (None, 0)


# How a flow is given

WRITTEN = [
    ("src=10.0.0.1 dst=10.0.0.2", IP(src="10.0.0.1", dst="10.0.0.2", proto=255)),
    (
        "src=10.0.0.1 dst=10.0.0.2 proto=tcp sport=5000 dport=443",
        IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5000, dport=443),
    ),
    (
        "src=10.0.0.1 dst=10.0.0.2 proto=udp sport=53 vlan=7",
        Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=53, dport=0),
    ),
    (
        "src=fd00::1 dst=fd00::2 proto=17 dport=53 vlan=7.8",
        Dot1Q(vlan=7)
        / Dot1Q(vlan=8)
        / IPv6(src="fd00::1", dst="fd00::2")
        / UDP(sport=0, dport=53),
    ),
]


@pytest.mark.parametrize(("words", "packet"), WRITTEN)
@pytest.mark.parametrize("kind", HashKind)
def test_fields_are_the_flow_that_scapy_writes(
    words: str, packet: Packet, kind: HashKind
) -> None:
    frame = frame_of(parse_fields(words.split()) | MACS)
    theirs = bytes(Ether(src=MACS["smac"], dst=MACS["dmac"]) / packet)
    under = plan(shape(Proto.LOADBALANCE, "eth0", hash=kind))
    assert lowered.hashed(under, frame) == lowered.hashed(under, theirs)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("src", "'src' is no field"),
        ("source=1", "'source=1' is no field; write src= dst= proto="),
        ("src=10.0.0.1 src=10.0.0.2", "src is given twice"),
        ("src=10.0.0.1", "src= needs dst="),
        ("src=10.0.0.300", "'10.0.0.300' is no IP address"),
        ("sport=1", "sport= needs src= and dst="),
        ("src=10.0.0.1 dst=::1", "two address families"),
        ("src=10.0.0.256 dst=10.0.0.1", "'10.0.0.256' is no IP address"),
        ("src=\udcff dst=10.0.0.1", "is no IP address"),  # a byte that is no UTF-8
        ("src=::1 dst=::1 proto=icmp6 sport=1", "protocol icmp6 has no ports"),
        ("src=::1 dst=::1 proto=quic", "proto: 'quic' is no number from 0 to 255"),
        ("src=::1 dst=::1 sport=65536", "sport: '65536' is no number"),
        ("vlan=4095", "vlan: '4095' is no number from 0 to 4094"),
        ("smac=2", "smac: '2' is no MAC address"),
        ("dmac=02:00:5e:00:53:zz", "dmac: '02:00:5e:00:53:zz' is no MAC address"),
    ],
)
def test_a_flow_that_cannot_be_meant_is_named(words: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        frame_of(MACS | parse_fields(words.split()))
    assert complaint in str(refused.value)


def test_pcap_and_pcapng_of_others_are_read(tmp_path: Path) -> None:
    packets = [Ether(src=MACS["smac"]) / IP() / UDP(dport=n) for n in range(3)]
    wanted = [bytes(packet) for packet in packets]
    wrpcap(str(tmp_path / "a.pcap"), packets)
    wrpcap(str(tmp_path / "b.pcap"), packets, endianness=">", nano=True)
    wrpcapng(str(tmp_path / "c.pcapng"), packets)
    for path in tmp_path.iterdir():
        assert list(frames(path.read_bytes())) == wanted, path


PCAP = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "too short for a capture file"),
        (b"hello, world", "neither pcap nor pcapng"),
        (PCAP[:20], "the pcap header is cut off"),
        (PCAP[:20] + b"\x71\0\0\0", "link type 113, not Ethernet"),
        (PCAP + struct.pack("<IIII", 0, 0, 60, 60), "the last frame is cut off"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a", "block is cut off"),
        *(
            (
                struct.pack("<III", 0x0A0D0D0A, 28, 0x1A2B3C4D)
                + b"\0" * 16
                + struct.pack("<III", kind, 12, 12),
                "block is cut off",
            )
            for kind in (1, 3, 6)
        ),
    ],
)
def test_a_file_that_is_no_capture_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        list(frames(data))


ARP = b"""\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:00:5e:00:53:07     *        lagg0
192.0.2.2        0x1         0x0         00:00:00:00:00:00     *        lagg0
192.0.2.3        0x1         0x2         02:00:5e:00:53:08     *        eth9
192.0.2.4        0x1         0x2         02:00:5e:00:53:09     *        b\xfc\x85\x1cro
"""
ROWS = [line.split() for line in ARP.split(b"\n") if line]


def test_a_neighbour_is_found_on_this_lagg_only() -> None:
    assert neighbour("192.0.2.1", "lagg0", ROWS) == "02:00:5e:00:53:07"
    found = [neighbour(f"192.0.2.{n}", "lagg0", ROWS) for n in (2, 3, 4)]
    assert found == [None] * 3
    assert neighbour("192.0.2.1", "lagg0", ()) is None
    assert neighbour("\udcff", "lagg0", ROWS) is None  # a byte that is no UTF-8


def test_what_counted_is_said_and_what_it_is_inside_of() -> None:
    layers = HashLayer.L3, HashLayer.INNER
    of = shape(Proto.LOADBALANCE, *PORTS, lagghash=layers)
    ends = {
        HashLayer.L2: ("02:00:5e:00:53:01", "02:00:5e:00:53:02"),
        HashLayer.L3: ("192.0.2.1", "192.0.2.2"),
    }
    read = Hashed(7, ("vxlan", "ip"), ends)
    found = explain("lagg0", of, plan(of), 17, read)
    assert found.tunnels == ("vxlan", "ip")
    assert found.counted == ("l3 192.0.2.1 192.0.2.2",)
    page = explain_page(explanation_json(found), lambda text, _: text)
    assert "  counted inside vxlan, ip: l3 192.0.2.1 192.0.2.2" in page.splitlines()
    static = shape(Proto.FAILOVER, *PORTS)
    silent = explain("lagg0", static, plan(static), 17, read)
    assert (silent.tunnels, silent.counted) == ((), ())


# What is printed

WATCH = LinkWatch(WatchKind.ARP, targets=("192.0.2.1",))


def watched(*dead: int) -> Shape:
    """A loadbalance lagg of two with a link, where these ports' paths are dead."""
    of = shape(Proto.LOADBALANCE, *PORTS, watch=(WATCH,))
    ports = (
        replace(port, watched=Watched((verdict(DOWN if port.slot in dead else UP),)))
        if port.link.active
        else port
        for port in of.ports
    )
    return replace(of, ports=tuple(ports))


UP, DOWN = WatchState.UP, WatchState.DOWN


def verdict(state: WatchState) -> Verdict:
    return Verdict(WATCH, state, "no reply for 3 x 1000 ms", 1_700_000_000 * 10**9, 2)


SAID = (
    "watch arp 192.0.2.1 down since 2023-11-14T22:13:20.000000Z: no reply for"
    " 3 x 1000 ms, lost 2 times"
)


def page_of(of: Shape, flow_hash: int) -> list[str]:
    found = explanation_json(explained(of, flow_hash))
    return explain_page(found, lambda text, _: text).splitlines()


def test_of_a_dead_path_it_says_what_show_says_and_who_carries_in_its_place() -> None:
    of = watched(0)
    for bucket in range(256):
        lines = [line for line in page_of(of, bucket) if line.startswith("  eth")]
        theirs = plan(watched()).tx_slots[bucket] == 0
        end = "in its place eth1 carries" if theirs else "it would not carry this flow"
        assert lines == [f"  eth0: {SAID}", f"  eth0: {end}"]
    assert not [line for line in page_of(watched(), 7) if line.startswith("  eth")]


def test_where_all_paths_are_dead_nobody_carries_in_their_place() -> None:
    lines = [line for line in page_of(watched(0, 1), 7) if line.startswith("  eth")]
    said = (SAID, "in its place nobody carries")
    assert lines == [f"  {name}: {each}" for name in PORTS[:2] for each in said]


@pytest.fixture
def world(world: World) -> World:
    world.call("Create", name="lagg0", proto="loadbalance", ports=[*PORTS])
    return world


FRAME = "02 00 5e 00 53 02 02 00 5e 00 53 01 88 b5" + " 00" * 46

PAGE = """\
lagg0: loadbalance: eth0
  crc32c of l2,l3,l4 with seed 0x1 is 0x0000003c, modulo 256 is 60
  hash 0x0000003c  bucket 60
  as of generation 17
  if eth0 fails: eth1
  if eth1 fails: stays on eth0
  if eth2 fails: stays on eth0
"""


@pytest.mark.usefixtures("world")
def test_a_frame_in_hexadecimal_gives_a_page(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "lagg0", *FRAME.split()]) == 0
    assert capfd.readouterr() == (PAGE, "")
    assert cli.main(["explain", "lagg0", FRAME.replace(" ", ":")]) == 0
    assert capfd.readouterr() == (PAGE, "")


def test_json_is_what_the_socket_says_and_whether_that_is_a_guess(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    cli.main(["explain", "lagg0", FRAME, "--json"])
    said = world.call("Explain", name="lagg0", frame=FRAME)["parameters"]["explanation"]
    assert json.loads(capfd.readouterr().out) == said | {"guess": None}
    assert said["choice"] == {"ports": ["eth0"], "drop": None}


@pytest.mark.usefixtures("world")
def test_a_capture_file_gives_a_line_for_each_frame(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.pcap"
    wrpcap(str(path), [Ether() / (b"x" * size) for size in (46, 100)])
    assert cli.main(["explain", "lagg0", str(path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["1", "bucket", "60"],
        ["2", "bucket", "114"],
    ]


@pytest.mark.usefixtures("world")
def test_a_destination_that_had_to_be_guessed_is_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    flow = ["src=192.0.2.9", "dst=192.0.2.8"]
    assert cli.main(["explain", "lagg0", *flow]) == 0
    out, err = capfd.readouterr()
    assert "\n  a guess: lagghash has l2, and" in out
    assert err.startswith("laggctl: a guess: lagghash has l2, and")
    assert cli.main(["--json", "explain", "lagg0", *flow]) == 0
    assert "give dmac=" in json.loads(capfd.readouterr().out)["guess"]
    assert cli.main(["explain", "lagg0", *flow, f"dmac={MACS['dmac']}"]) == 0
    assert capfd.readouterr().err == ""


def test_of_a_flow_that_leaves_it_is_not_said_how_it_would_come_in() -> None:
    of = shape(Proto.LOADBALANCE, *PORTS)
    found = explanation_json(explained(of, 7))
    found["rx_refusal"] = Drop.OWN_SOURCE.value
    refused = "  were it to come in: dropped as own-source"
    assert refused in explain_page(found, plain).splitlines()
    assert refused not in explain_page(found, plain, is_ours=True)


def test_nothing_is_a_guess_where_no_hash_counts(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.call("Set", name="lagg0", proto="failover")
    flow = ["src=192.0.2.9", "dst=192.0.2.8"]
    assert cli.main(["--json", "explain", "lagg0", *flow]) == 0
    out, err = capfd.readouterr()
    assert (json.loads(out)["guess"], err) == (None, "")


ROUTES = [
    row.split()
    for row in (
        b"Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
        b"eth9 00000000 090200C0 0003 0 0 200 00000000 0 0 0",
        b"lagg0 00000000 010200C0 0003 0 0 100 00000000 0 0 0",
        b"lagg0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
        b"eth9 0000000A 090200C0 0003 0 0 0 000000FF 0 0 0",
    )
]


@pytest.mark.skipif(sys.byteorder != "little", reason="the rows are as they are there")
@pytest.mark.parametrize(
    ("address", "hop"),
    [
        ("8.8.8.8", "192.0.2.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.1"),  # by another interface: what is asked is no route
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_next_hop_is_by_the_longest_prefix_and_the_least_metric(
    address: str, hop: str
) -> None:
    assert next_hop(address, "lagg0", ROUTES) == hop
    assert next_hop(address, "lagg0", []) == address


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["abc"], 2, "flow: an odd number of hexadecimal digits"),
        (["/nowhere"], 2, "flow: /nowhere: No such file or directory"),
        (["/nowhere", "x"], 2, "flow: write fields, one frame in hexadecimal, or one"),
        (["00"], 1, "lagg0: frame: 1 bytes are shorter than an Ethernet header (EIN"),
    ],
)
def test_a_flow_that_is_none_is_one_line(
    capfd: pytest.CaptureFixture[str], words: list[str], code: int, line: str
) -> None:
    assert cli.main(["explain", "lagg0", *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"laggctl: {line}")


def test_the_socket_refuses_what_is_no_frame(world: World) -> None:
    reply = world.call("Explain", name="lagg0", frame="xyz")
    assert cast(str, reply["parameters"]["cause"]) == "not hexadecimal"
    assert world.call("Explain", name="lagg9", frame=FRAME)["error"].endswith("Refused")
