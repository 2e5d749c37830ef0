# SPDX-License-Identifier: BSD-2-Clause
"""What the bench measures with: its systems carry, its sink counts all."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench import bpf, cpu, peers, systems
from bench.measurements import Meter
from bench.systems import FAR_ADDRESS, System
from lab import Host, Lab, ping, wait_until
from lab.ping import ANSWER_S
from lab.program import build
from tests.netns.frames import waiting

PORTS = 3
FLOWS = 300
FRAME_BYTES = 60
RATE = 20_000
SECONDS = 0.05
DEADLINE_S = 60.0
PLACES = ("same", "other", "any")
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 64 << 20
_SOURCE = slice(26, 30)  # of a frame: its IPv4 address, and its port
_PORT = slice(34, 36)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(params=[systems.veth, systems.redirect])
def system(lab: Lab, request: pytest.FixtureRequest) -> System:
    make: Callable[[Lab], System] = request.param
    return make(lab)


@pytest.fixture
def meter() -> Iterator[Meter]:
    with closing(Meter(SECONDS)) as made:
        yield made


def carries(system: System, wait_s: float = ANSWER_S) -> bool:
    return ping(system.near, FAR_ADDRESS, count=1, wait_s=wait_s).lost == 0


def received(host: Host, name: str) -> int:
    lines = host.proc_net("dev").splitlines()
    (columns,) = [line.split() for line in lines if line.strip().startswith(f"{name}:")]
    return int(columns[2])


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_system_of_the_kernel_carries(system: System) -> None:
    assert carries(system)


def test_the_redirect_uses_every_port_for_its_flows_and_loses_none(lab: Lab) -> None:
    near, far = systems.hosts(lab, "many", PORTS)
    lab.cable(near, "lagg0", near, "hidden")
    ports = [near.ifindex(f"p{number}") for number in range(PORTS)]
    bpf.hook(near, "lagg0", bpf.EGRESS, bpf.to_ports(ports))
    words = ("queue", FAR_ADDRESS, "lagg0", far.link("q0").mac, str(FLOWS))
    tail = ("-1", str(SECONDS), str(RATE))
    sent, came = 0, [0]

    def counts() -> list[int]:
        return [received(far, f"q{number}") for number in range(PORTS)]

    def every_flow_was_sent() -> bool:  # at one go: a busy machine sends few
        nonlocal sent
        before = counts()
        sent = int(near.run(build("flood"), *words, *tail).stdout.split()[0])
        wanted = sum(before) + sent
        wait_until(lambda: sum(counts()) >= wanted, DEADLINE_S, "all frames come")
        came[:] = [now - was for was, now in zip(before, counts(), strict=True)]
        assert sum(came) == sent
        return sent >= 2 * FLOWS

    wait_until(every_flow_was_sent, DEADLINE_S, "every flow was sent")
    assert min(came) > sent / PORTS / 2


@pytest.mark.parametrize("way", ["out", "into"])
def test_the_sink_counts_every_frame_and_what_was_there_before_is_there_again(
    system: System, meter: Meter, way: str
) -> None:
    flood = (
        meter.out(system, rate=RATE) if way == "out" else meter.into(system, rate=RATE)
    )
    assert flood.sent > 0
    assert (flood.frames, flood.octets) == (flood.sent, FRAME_BYTES * flood.sent)
    assert carries(system)


def test_what_the_sink_counts_goes_no_further(lab: Lab) -> None:
    system = systems.veth(lab)
    with closing(bpf.Sink()) as sink, sink.at(system.far, system.far_names):
        assert not carries(system, wait_s=0.2)
        assert sink.read()[0] == 1


def test_a_superframe_counts_by_its_payload(lab: Lab, meter: Meter) -> None:
    system = systems.veth(lab)
    flood = meter.out(system, kind="gso", rate=1000)
    assert flood.frames == flood.sent
    assert flood.octets == flood.sent * (48000 + 42)


def test_a_flood_has_as_many_flows_as_asked(lab: Lab) -> None:
    system = systems.veth(lab)
    with system.near.packet_socket(system.near_name, 0x0800) as heard:
        heard.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        words = ("wire", FAR_ADDRESS, "q0", system.near.link("p0").mac, str(FLOWS))
        tail = ("-1", str(SECONDS), str(RATE))
        printed = system.far.run(build("flood"), *words, *tail).stdout.split()
        frames: list[bytes] = []

        def all_came() -> bool:
            frames.extend(waiting(heard))
            return len(frames) >= int(printed[0])

        wait_until(all_came, DEADLINE_S, "all frames come")
    flows = {frame[_SOURCE] + frame[_PORT] for frame in frames}
    assert len(frames) == int(printed[0])
    assert len(flows) == min(FLOWS, len(frames))


def test_latency_has_every_place_on_a_system_of_the_kernel(
    lab: Lab, meter: Meter
) -> None:
    found = meter.latency(systems.veth(lab))
    assert set(found) == {f"{place}_p{n}" for place in PLACES for n in (50, 99)}
    assert all(0 < found[f"{place}_p50"] <= found[f"{place}_p99"] for place in PLACES)


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def test_pinned_is_for_a_while(sleeper: int) -> None:
    before = os.sched_getaffinity(sleeper)
    with cpu.pinned([sleeper], cpu.CLIENT_CPU):
        assert os.sched_getaffinity(sleeper) == {cpu.CLIENT_CPU}
    assert os.sched_getaffinity(sleeper) == before


def test_a_process_that_may_run_anywhere_stays_as_it_is(sleeper: int) -> None:
    os.sched_setaffinity(sleeper, {cpu.OTHER_CPU})
    with cpu.pinned([sleeper], cpu.ANY_CPU):
        assert os.sched_getaffinity(sleeper) == {cpu.OTHER_CPU}


def test_a_datapath_that_polls_is_stopped_but_in_use(lab: Lab, sleeper: int) -> None:
    system = peers.quiet(replace(systems.veth(lab), pids=(sleeper,), polls=True))
    wait_until(lambda: state(sleeper) == "T", DEADLINE_S, "it is stopped")
    with system.use():
        wait_until(lambda: state(sleeper) == "S", DEADLINE_S, "it goes on")
    wait_until(lambda: state(sleeper) == "T", DEADLINE_S, "it is stopped again")


def test_a_peer_that_does_not_come_up_says_so_and_is_ended(lab: Lab) -> None:
    started: list[int] = []

    def make(where: Lab) -> System:
        host = where.host("peer")
        started.append(host.popen("sleep", "600").pid)
        raise TimeoutError("it says nothing")

    with pytest.raises(peers.Failed, match="did not come up: it says nothing"):
        peers.attempt(make, lab)
    assert not Path(f"/proc/{started[0]}").exists()
