# SPDX-License-Identifier: BSD-2-Clause
"""`capture`: the file that others read, and the comment on each frame."""

import io
from itertools import product
from typing import Any, cast

import pytest
from scapy.utils import RawPcapNgReader

from lagg import cli
from lagg.cli import pcap
from lagg.cli.capture import ANY_DROP, Answers, Remark, is_wanted, remark
from lagg.cli.capture_socket import Seen
from lagg.cli.follower import Follower
from lagg.control.messages import ExplanationJson
from lagg.model import LaggConfig, Proto
from lagg.plan.plan import PLANNED_DROPS, plan
from tests.control.world import shape_of

FRAME = bytes(range(61))
TIME_NS = 1_700_000_000_123_456_789

CARRIED: dict[str, Any] = {
    "bucket": 60,
    "choice": {"ports": ["eth1"], "drop": None},
    "why": "crc32c says so",
    "accepts": ["eth1"],
    "rx_drop": "not-accepted",
    "rx_refusal": None,
}


class OneAnswer:
    """A client that knows one explanation, and counts how often it is asked."""

    def __init__(self, explanation: dict[str, Any]) -> None:
        self.explanation = cast(ExplanationJson, explanation)
        self.asked = 0

    def call(self, method: str, **_: object) -> dict[str, Any]:
        assert method == "Explain"
        self.asked += 1
        return {"explanation": self.explanation}


def answers(**changes: Any) -> tuple[OneAnswer, Answers]:  # noqa: ANN401
    client = OneAnswer(CARRIED | changes)
    return client, Answers(cast(Follower, client), "lagg0")


def said(name: str, *, outgoing: bool, **changes: Any) -> Remark:  # noqa: ANN401
    _, found = answers(**changes)
    return remark(name, found, Seen(FRAME, outgoing, TIME_NS, len(FRAME)))


# The file


def test_another_reader_finds_frames_times_interfaces_and_comments() -> None:
    blocks = (
        pcap.section("laggctl capture")
        + pcap.interface("lagg0", "the lagg")
        + pcap.interface("eth0", "port of lagg0, slot 0")
        + b"".join(
            pcap.packet(
                number,
                TIME_NS,
                FRAME[: 60 + number],
                wire_bytes=1500,
                flags=pcap.OUTBOUND,
                comment=f"out: {number}",
            )
            for number in range(2)
        )
    )
    reader = cast(Any, RawPcapNgReader(io.BytesIO(blocks)))
    for number, name in enumerate((b"lagg0", b"eth0")):
        frame, facts = reader._read_packet()
        assert frame == FRAME[: 60 + number]
        assert (facts.ifname, facts.linktype, facts.wirelen) == (name, 1, 1500)
        ticks = (facts.tshigh << 32) + facts.tslow
        assert (ticks, facts.tsresol) == (TIME_NS, 10**9)
        assert facts.comments == [f"out: {number}".encode()]
        assert facts.direction == pcap.OUTBOUND
    assert list(pcap.frames(blocks)) == [FRAME[:60], FRAME]


# The comment


def test_a_frame_out_has_bucket_port_and_why() -> None:
    assert said("lagg0", outgoing=True) == Remark(
        "out: from lagg0 bucket 60 -> eth1 (crc32c says so)", None
    )
    assert said("eth1", outgoing=True) == Remark("out: by eth1 bucket 60", None)
    assert said("eth1", outgoing=True, bucket=None).text == "out: by eth1"


def test_a_frame_that_no_port_carries_says_what_it_is_counted_under() -> None:
    nobody = {"ports": [], "drop": "no-port"}
    found = said("lagg0", outgoing=True, choice=nobody, bucket=None, why="no port")
    assert found == Remark("out: from lagg0, dropped: no-port (no port)", "no-port")


def test_a_frame_in_is_accepted_or_not() -> None:
    assert said("eth1", outgoing=False) == Remark("in: by eth1, accepted", None)
    assert said("eth0", outgoing=False) == Remark(
        "in: by eth0, dropped: not-accepted", "not-accepted"
    )
    assert said("lagg0", outgoing=False) == Remark("in: to lagg0", None)


@pytest.mark.parametrize(
    ("drop", "wanted"),
    [(None, "abc"), (ANY_DROP, "bc"), ("no-port", "b"), ("runt", "")],
)
def test_drops_filters_by_reason(drop: str | None, wanted: str) -> None:
    remarks = {"a": None, "b": "no-port", "c": "not-accepted"}
    kept = [name for name, why in remarks.items() if is_wanted(Remark("", why), drop)]
    assert "".join(kept) == wanted


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("reason", "complaint"),
    [
        ("no-prot", "no such reason (did you mean no-port?); one of no-port, no-act"),
        ("bogus", "no such reason; one of no-port, no-active-port, proto-none, not-"),
        ("tx-full", "such frames are counted, not seen; captured are no-port, no-ac"),
    ],
)
def test_a_reason_that_no_frame_can_have_is_refused(
    capfd: pytest.CaptureFixture[str], reason: str, complaint: str
) -> None:
    assert cli.main(["capture", "lagg0", "--drops", reason]) == 2
    assert capfd.readouterr().err.startswith(f"laggctl: --drops {reason}: {complaint}")


def test_every_reason_that_a_plan_gives_can_be_asked_for() -> None:
    given = {
        drop
        for proto, count in product(Proto, (0, 1))
        for running in (plan(shape_of(lagg_of(proto, count))),)
        for drop in (running.tx_drop, running.rx_drop)
    }
    assert given == set(PLANNED_DROPS)


def lagg_of(proto: Proto, count: int) -> LaggConfig:
    return LaggConfig("lagg0", proto, tuple(f"eth{n}" for n in range(count)))


def test_frames_that_are_alike_are_asked_about_once() -> None:
    client, found = answers()
    for _ in range(5):
        found.about(FRAME)
    found.about(FRAME[:-1])
    assert client.asked == 2
