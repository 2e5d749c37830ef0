# SPDX-License-Identifier: BSD-2-Clause
"""`capture` beside real traffic: each frame once at each interface, with its reason."""

import subprocess
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

from scapy.utils import RawPcapNgReader

from lab import wait_until
from lab.daemon import LAGGCTL
from tests.netns.bare import ENDS, PORTS, Bare
from tests.netns.flows import random_flows
from tests.netns.steer import DEADLINE_S, LAGG


class Packet(NamedTuple):
    frame: bytes
    interface: str
    comment: str


def captured(
    bare: Bare, path: Path, *words: str, lagg: str = LAGG
) -> subprocess.Popen[str]:
    """laggctl capture in the lagg's namespace; its file has its head."""
    base = (LAGGCTL, "--socket", bare.laggd.socket, "capture", lagg)
    with path.open("wb") as out:
        process = bare.near.popen(*base, *words, stdout=out)
    wait_until(lambda: path.stat().st_size > 0, DEADLINE_S, "the capture begins")
    return process


def packets(path: Path) -> list[Packet]:
    reader = cast(Any, RawPcapNgReader(str(path)))
    found: list[Packet] = []
    while True:
        try:
            frame, facts = reader._read_packet()
        except EOFError:
            reader.close()
            return found
        (comment,) = facts.comments
        found.append(Packet(frame, facts.ifname.decode(), comment.decode()))


def finished(process: subprocess.Popen[str]) -> None:
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def frames_of(rng: Random, count: int) -> list[bytes]:
    return [flow.frame(number) for number, flow in enumerate(random_flows(rng, count))]


def test_every_frame_out_is_told_bucket_and_port(
    bare: Bare, rng: Random, tmp_path: Path
) -> None:
    bare.steer.set(proto="loadbalance")
    frames = frames_of(rng, 40)
    path = tmp_path / "out.pcapng"
    process = captured(bare, path, "--count", "40", "--port", LAGG)
    ways = bare.ways(frames)
    finished(process)
    seen = {packet.frame: packet for packet in packets(path)}
    assert seen.keys() == {*frames}
    for frame, (way,) in zip(frames, ways, strict=True):
        assert seen[frame].interface == LAGG
        assert seen[frame].comment.startswith(f"out: from {LAGG} bucket ")
        assert f"-> {PORTS[way]} (crc32c of l2,l3,l4 " in seen[frame].comment


def test_drops_are_captured_with_their_reason(
    bare: Bare, rng: Random, tmp_path: Path
) -> None:
    path = tmp_path / "drops.pcapng"
    process = captured(bare, path, "--drops", "--count", "1")
    (frame,) = frames_of(rng, 1)
    with bare.far.packet_socket(ENDS[2]) as sending:  # failover: a standby port
        sending.send(frame)
    finished(process)
    assert packets(path) == [
        Packet(frame, PORTS[2], f"in: by {PORTS[2]}, dropped: not-accepted")
    ]


def test_a_frame_in_is_seen_at_the_port_and_at_the_lagg(
    bare: Bare, rng: Random, tmp_path: Path
) -> None:
    path = tmp_path / "in.pcapng"
    process = captured(bare, path, "--count", "2")
    (frame,) = frames_of(rng, 1)
    with bare.far.packet_socket(ENDS[0]) as sending:
        sending.send(frame)
    finished(process)
    assert sorted(packets(path)) == [
        Packet(frame, LAGG, f"in: to {LAGG}"),
        Packet(frame, PORTS[0], f"in: by {PORTS[0]}, accepted"),
    ]


def known(path: Path, name: str, times: int) -> None:
    """Waits until the file has so many blocks of an interface."""
    says = f"port of {LAGG}, slot".encode()

    def blocks() -> int:
        parts = path.read_bytes().split(says)[1:]
        return sum(name.encode() in part[:32] for part in parts)

    wait_until(lambda: blocks() == times, DEADLINE_S, f"{name} is in the file")


def test_a_port_that_comes_is_captured_and_one_that_goes_is_no_more(
    bare: Bare, rng: Random, tmp_path: Path
) -> None:
    last, path = PORTS[3], tmp_path / "ports.pcapng"
    bare.laggd.ctl("detach", LAGG, last)
    process = captured(bare, path, "--count", "2")
    descriptors = Path(f"/proc/{process.pid}/fd")
    without = len(list(descriptors.iterdir()))
    first, unseen, again = frames_of(rng, 3)
    with bare.far.packet_socket(ENDS[3]) as sending:
        bare.laggd.ctl("attach", LAGG, last)
        known(path, last, 1)
        sending.send(first)
        bare.laggd.ctl("detach", LAGG, last)
        wait_until(
            lambda: len(list(descriptors.iterdir())) == without, DEADLINE_S, "it leaves"
        )
        sending.send(unseen)
        bare.laggd.ctl("attach", LAGG, last)
        known(path, last, 2)
        sending.send(again)
    finished(process)
    refused = f"in: by {last}, dropped: not-accepted"
    assert packets(path) == [Packet(each, last, refused) for each in (first, again)]


def test_a_renamed_port_is_captured_under_its_new_name(
    bare: Bare, rng: Random, tmp_path: Path
) -> None:
    last, path = PORTS[3], tmp_path / "renamed.pcapng"
    process = captured(bare, path, "--count", "1")
    (frame,) = frames_of(rng, 1)
    bare.near.run("ip", "link", "set", last, "name", "cable3")
    known(path, "cable3", 1)
    with bare.far.packet_socket(ENDS[3]) as sending:
        sending.send(frame)
    finished(process)
    bare.near.run("ip", "link", "set", "cable3", "name", last)
    bare.steer.wait_link(last, up=True)
    words = "in: by cable3, dropped: not-accepted"
    assert packets(path) == [Packet(frame, "cable3", words)]


def test_a_capture_ends_with_its_lagg(bare: Bare, tmp_path: Path) -> None:
    bare.laggd.ctl("create", "lagg9", "--altname", "spare")
    process = captured(bare, tmp_path / "gone.pcapng", lagg="spare")
    bare.laggd.ctl("destroy", "lagg9")
    assert process.wait(DEADLINE_S) == 1
    assert process.stderr is not None
    assert process.stderr.read() == "laggctl: lagg9: no such lagg any more (ENOENT)\n"


def test_what_is_no_port_of_it_is_usage(bare: Bare) -> None:
    refused = bare.laggd.try_ctl("capture", LAGG, "--port", "eth9")
    assert refused.returncode == 2
    assert refused.stderr == f"laggctl: {LAGG}: port eth9: no port of it\n"
