# SPDX-License-Identifier: BSD-2-Clause
"""The lab itself: what other tests believe must be true of it."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from lab import Cable, Host, Lab, Stream, StreamResult, abandoned, ping, remove, waiting
from lab.daemon import Daemon, Refused
from lab.host import NETNS_DIRECTORY
from lab.program import build
from lab.stream import Receiver
from tests.forwarder.world import stopped
from tests.tree import ROOT
from tests.waiting import wait_until

RECORD = struct.Struct("!IIQH")
"""stream.h's record, written down once more: id, sequence, time, flow."""

END = 0x8000
IDENTITY = 7
PORT = 5001
RECEIVER = "10.0.0.2"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def cable(lab: Lab) -> Cable:
    """Hosts a and b, without any laggd."""
    a, b = lab.host("a"), lab.host("b")
    made = lab.cable(a, "p0", b, "q0", patched=True)
    a.add_address("p0", "10.0.0.1/24")
    b.add_address("q0", f"{RECEIVER}/24")
    assert ping(a, RECEIVER).lost == 0
    return made


# ---- laggd -------------------------------------------------------------------------


def test_the_records_of_a_laggd_are_those_that_laggctl_shows(lab: Lab) -> None:
    laggd = Daemon(lab.host("a"))
    for name in ("lagg0", "lagg1"):
        laggd.ctl("create", name)
    shown = json.loads(laggd.ctl("--json", "show"))
    assert laggd.records() == shown
    assert laggd.record("lagg1") == shown[1]
    laggd.ctl("destroy", "lagg1")
    with pytest.raises(Refused, match="lagg1: "):
        laggd.record("lagg1")
    laggd.stop()
    with pytest.raises(Refused, match="no laggd"):
        laggd.records()


# ---- streams -----------------------------------------------------------------------


def record(sequence: int, flow: int = 0, identity: int = IDENTITY) -> bytes:
    return RECORD.pack(identity, sequence, time.time_ns(), flow)


def received(lab: Lab, payloads: Iterable[bytes], flows: int = 1) -> StreamResult:
    """What the receiver makes of these; the last must end every flow."""
    a, b = lab.hosts["a"], lab.hosts["b"]
    receiver = Receiver(b, port=PORT, flows=flows, identity=IDENTITY)
    with a.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (RECEIVER, PORT))
    return receiver.result()


@pytest.mark.usefixtures("cable")
def test_a_stream_arrives_whole(lab: Lab) -> None:
    stream = Stream(
        lab.hosts["a"], lab.hosts["b"], RECEIVER, rate=5000, seconds=0.5, flows=3
    )
    result = stream.result()
    assert [flow.sent for flow in result.flows] == [834, 833, 833]
    assert (result.lost, result.duplicated, result.reordered) == (0, 0, 0)
    assert (result.corrupt, result.foreign, result.overflows) == (0, 0, 0)


@pytest.mark.usefixtures("cable")
def test_a_receiver_tells_lost_from_late_from_doubled(lab: Lab) -> None:
    sequences = [0, 1, 5, 3, 3, 6, 7]  # of 10: 2, 4, 8 and 9 are lost, 3 is late
    result = received(lab, [*map(record, sequences), record(10, END)])
    (flow,) = result.flows
    assert (flow.sent, flow.received, flow.lost) == (10, 6, 4)
    assert (flow.duplicated, flow.reordered, flow.longest_loss) == (1, 1, 2)


@pytest.mark.usefixtures("cable")
def test_a_receiver_keeps_flows_apart(lab: Lab) -> None:
    ends = [record(2, 0 | END), record(3, 1 | END)]
    frames = [record(0, 0), record(0, 1), record(2, 1), record(1, 0)]
    result = received(lab, [*frames, *ends], flows=2)
    assert [flow.lost for flow in result.flows] == [0, 1]
    assert result.reordered == 0


@pytest.mark.usefixtures("cable")
def test_a_receiver_knows_what_is_not_its_own(lab: Lab) -> None:
    foreign = [b"short", record(0, identity=8), record(0, flow=1)]
    falsified = record(0) + b"\xff"
    result = received(lab, [*foreign, falsified, record(1, END)])
    assert (result.foreign, result.corrupt, result.lost) == (3, 1, 0)


@pytest.mark.usefixtures("cable")
def test_a_receiver_that_is_told_to_end_has_what_waits_for_it(lab: Lab) -> None:
    a, b = lab.hosts["a"], lab.hosts["b"]
    receiver = Receiver(b, port=PORT, flows=1, identity=IDENTITY)
    process = b._started[-1]
    with (
        a.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        stopped(process.pid),
    ):
        for sequence in range(10):
            before = waits(b)
            sender.sendto(record(sequence), (RECEIVER, PORT))
            wait_until(lambda n=before: waits(b) > n, 60, "it waits there")  # type: ignore[misc]
        process.terminate()
    assert receiver.result().received == 10


def waits(host: Host) -> int:
    """Bytes in the one UDP socket."""
    _, row = host.proc_net("udp6").splitlines()  # it hears both families
    return int(row.split()[4].partition(":")[2], 16)


def test_a_cut_cable_is_a_loss_in_a_row(lab: Lab, cable: Cable) -> None:
    a, b = lab.hosts["a"], lab.hosts["b"]
    stream = Stream(a, b, RECEIVER, rate=2000)
    wait_for_frames(b, 200)
    cable.cut()
    wait_until(lambda: not b.link("q0").carrier, 60, "the cut is seen")
    assert a.link("p0").up
    assert not a.link("p0").carrier
    sent = datagrams(a, "OutDatagrams")
    wait_until(lambda: datagrams(a, "OutDatagrams") > sent, 60, "some are lost")
    cable.mend()
    seen = frames_received(b)
    wait_for_frames(b, seen + 200)
    stream.stop()
    result = stream.result()
    assert result.lost > 0
    assert result.flows[0].longest_loss == result.lost
    assert result.silence_ms_max >= result.outage_ms_max > 0


def test_the_end_of_a_stream_may_be_lost(lab: Lab, cable: Cable) -> None:
    b = lab.hosts["b"]
    stream = Stream(lab.hosts["a"], b, RECEIVER, rate=2000)
    wait_for_frames(b, 200)
    cable.cut()
    wait_until(lambda: not b.link("q0").carrier, 60, "the cut is seen")
    stream.stop()
    result = stream.result()
    assert result.lost == result.sent - result.received
    assert result.flows[0].longest_loss == result.lost


def frames_received(host: Host) -> int:
    return datagrams(host, "InDatagrams")


def datagrams(host: Host, way: str) -> int:
    """UDP's, by the host's own count."""
    names, values = (
        line.split()
        for line in host.proc_net("snmp").splitlines()
        if line.startswith("Udp:")
    )
    return int(values[names.index(way)])


def wait_for_frames(host: Host, count: int) -> None:
    wait_until(lambda: frames_received(host) >= count, 60, f"{count} frames received")


def test_a_program_is_built_once() -> None:
    assert build("stream") == build("stream")
    assert os.access(build("stream"), os.X_OK)


# ---- what is made goes away --------------------------------------------------------


def namespaces_of(lab: Lab) -> list[Path]:
    return list(NETNS_DIRECTORY.glob(f"{lab.name}-*"))


class MishapError(Exception):
    pass


@pytest.mark.parametrize("error", [MishapError, KeyboardInterrupt])
def test_nothing_is_left_when_a_lab_ends_badly(error: type[BaseException]) -> None:
    def suffer(lab: Lab) -> None:
        child = lab.host("a").popen("sleep", "60")
        children.append(child)
        assert namespaces_of(lab)
        raise error

    children: list[subprocess.Popen[str]] = []
    with pytest.raises(error), Lab() as lab:
        suffer(lab)
    assert not namespaces_of(lab)
    assert not lab.directory.exists()
    assert children[0].returncode == -signal.SIGTERM


def test_an_interrupt_waits_until_what_is_made_is_known() -> None:
    program = """if True:
        import os, signal
        from lab import Host, Lab

        def interrupted(self, *arguments, make=Host.__init__):
            os.kill(os.getpid(), signal.SIGINT)
            make(self, *arguments)

        Host.__init__ = interrupted
        with Lab() as lab:
            print(lab.name, flush=True)
            lab.host("a")
            print("not reached")
    """
    done = in_python(program)
    name, *others = done.stdout.split()
    assert others == []
    assert "KeyboardInterrupt" in done.stderr
    assert not list(NETNS_DIRECTORY.glob(f"{name}-*"))


def test_what_a_killed_lab_left_is_removed_by_the_next() -> None:
    program = """if True:
        import os, signal
        from lab import Lab

        with Lab() as lab:
            lab.host("a").popen("sleep", "60")
            print(lab.name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    name = in_python(program).stdout.strip()
    assert (NETNS_DIRECTORY / f"{name}-a").exists()
    with Lab():
        assert name not in abandoned(kept=True)
        assert not (NETNS_DIRECTORY / f"{name}-a").exists()


def test_a_kept_lab_stays_until_it_is_removed() -> None:
    program = """if True:
        from lab import Lab

        with Lab("kept") as lab:
            lab.host("a").popen("sleep", "60")
            lab.keep()
            print(lab.name)
    """
    name = in_python(program).stdout.strip()
    try:
        assert name not in abandoned()
        assert name in abandoned(kept=True)
        assert (NETNS_DIRECTORY / f"{name}-a").exists()
    finally:
        remove(name)
    assert name not in abandoned(kept=True)
    assert not (NETNS_DIRECTORY / f"{name}-a").exists()


def in_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools" / "packages")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_machine_that_is_slow_has_as_many_times_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instant_s, looks = 1e-9, (False, False, True)
    with pytest.raises(TimeoutError):
        wait_until(iter(looks).__next__, instant_s, "the third look")
    monkeypatch.setattr(waiting, "SLOWNESS", 1e12)
    monkeypatch.setattr(waiting, "POLL_S", 0.0)
    monkeypatch.setattr(waiting, "POLL_MOST_S", 0.0)
    wait_until(iter(looks).__next__, instant_s, "the third look")
