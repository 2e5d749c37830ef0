# SPDX-License-Identifier: BSD-2-Clause
"""`pin`, `unpin`, `pins` and `move`: what is asked of laggd, and what is said."""

import json
import struct
from pathlib import Path

import pytest

from lagg import cli
from lagg.cli.show_page import pin_line
from lagg.records import PinRecord
from tests.control.world import World

FLOW = ["src=10.0.0.1", "dst=10.0.0.2", "dmac=02:00:5e:00:53:02"]
SHARED = "  and with it every other flow of this bucket, 1 of 256 of all flows\n"


@pytest.fixture
def world(world: World) -> World:
    world.call("Create", name="lagg0", proto="loadbalance", ports=["eth0", "eth1"])
    return world


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        (
            ["pin", "lagg0", "bucket=17", "eth1"],
            ("lagg0", 17, "eth1", None),
            "lagg0: bucket 17 is pinned to eth1\n",
        ),
        (
            ["pin", "lagg0", "bucket=0x11", "eth1", "--for", "1.5"],
            ("lagg0", 17, "eth1", 1500),
            "lagg0: bucket 17 is pinned to eth1\n",
        ),
        (
            ["unpin", "lagg0", "bucket=17"],
            ("lagg0", 17, None, None),
            "lagg0: bucket 17 is not pinned any more: nobody carries it\n",
        ),
        (
            ["move", "lagg0", "bucket=17", "eth1"],
            ("lagg0", 17, "eth1", None),
            "lagg0: bucket 17 is on eth1 until ports come or go, or their weights"
            " change: pin it to have it stay\n",
        ),
    ],
)
def test_a_bucket_is_named_by_its_number(
    world: World,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    asked: tuple[object, ...],
    said: str,
) -> None:
    assert cli.main(words) == 0
    assert world.commands.placed == asked
    assert capfd.readouterr() == (said, "")


def test_a_bucket_is_named_by_a_flow_in_it_and_by_whom_it_is_shared(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pin", "lagg0", *FLOW, "eth1"]) == 0
    assert world.commands.placed is not None
    _, frame, _, _ = world.commands.placed
    assert isinstance(frame, bytes)
    assert frame.hex().startswith("02005e005302")
    said = capfd.readouterr().out
    assert said == f"lagg0: bucket {len(frame)} is pinned to eth1\n{SHARED}"


FRAME = "02005e005302 02005e005301 0800".replace(" ", "").ljust(120, "0")


def pcap_of(*frames: str) -> bytes:
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    sizes = (struct.pack("<IIII", 0, 0, len(f) // 2, len(f) // 2) for f in frames)
    return head + b"".join(
        size + bytes.fromhex(frame) for size, frame in zip(sizes, frames, strict=True)
    )


def test_a_flow_may_be_a_frame_in_hexadecimal_or_in_a_file(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.pcap"
    file.write_bytes(pcap_of(FRAME))
    asked = []
    for words in ([FRAME], [FRAME[:24], FRAME[24:]], [str(file)]):
        assert cli.main(["pin", "lagg0", *words, "eth1"]) == 0
        asked.append(world.commands.placed)
        assert capfd.readouterr().out.endswith(SHARED)
        assert cli.main(["unpin", "lagg0", "bucket=1"]) == 0
        assert capfd.readouterr().err == ""
    assert asked == 3 * [("lagg0", bytes.fromhex(FRAME), "eth1", None)]


def test_a_file_of_several_frames_names_no_flow(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "two.pcap"
    file.write_bytes(pcap_of(FRAME, FRAME))
    assert cli.main(["unpin", "lagg0", str(file)]) == 2
    complaint = f"laggctl: flow: {file}: has 2 frames, not one\n"
    assert capfd.readouterr() == ("", complaint)
    assert world.commands.placed is None


def test_json_has_the_bucket_of_how_many_and_who_carries_it(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert world.commands.placed is None
    assert cli.main(["pin", "lagg0", "bucket=17", "eth1", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found == {"bucket": 17, "buckets": 256, "port": "eth1"}


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["bucket=x", "eth1"], 2, "bucket: 'x' is no number"),
        (["bucket=1", "src=10.0.0.1", "eth1"], 2, "flow: 'bucket=1' is no field"),
        (["bucket=256", "eth1"], 1, "bucket: 256 is not a whole number from 0 to 255"),
        (["bucket=1", "a/b"], 1, "lagg0: port a/b: 'a/b' holds a character"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_asked(
    world: World,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    complaint: str,
) -> None:
    assert cli.main(["pin", "lagg0", *words]) == code
    assert complaint in capfd.readouterr().err
    assert world.commands.placed is None


def test_a_request_says_which_bucket_in_one_way(world: World) -> None:
    for spot in ({}, {"bucket": 1, "frame": "00" * 14}):
        refused = world.call("Unpin", name="lagg0", **spot)["parameters"]
        assert refused["cause"] == "give a bucket, or a frame of a flow in it"
    words = {"name": "lagg0", "port": "eth1", "bucket": 1}
    refused = world.call("Pin", **words, for_ms=0)["parameters"]
    assert refused["thing"] == "lagg0: for_ms"


def test_a_pin_in_a_line() -> None:
    pin = PinRecord(bucket=17, port="eth1", left_ms=None, carries=True)
    assert pin_line(pin) == "bucket 17 on eth1"
    idle = PinRecord(bucket=17, port="eth1", left_ms=4210, carries=False)
    words = "bucket 17 on eth1, for 4.2 s more, which does not carry it now"
    assert pin_line(idle) == words


def test_without_any_that_is_said(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pins", "lagg0"]) == 0
    assert cli.main(["pins", "lagg0", "--json"]) == 0
    assert capfd.readouterr().out == "lagg0: no bucket is pinned\n[]\n"
