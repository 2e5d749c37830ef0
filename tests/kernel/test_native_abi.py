# SPDX-License-Identifier: BSD-2-Clause
"""The door to C: a device's life, and the plans it refuses."""

import errno
import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.publish import EMPTY
from lab import Namespace
from lagg import _native
from lagg.kernel.native import Device
from lagg.model import (
    BUCKETS,
    Drop,
    HashKind,
    Spread,
    Tuning,
)
from lagg.options import PORTS_MAX
from tests.waiting import wait_until

DEADLINE_S = 20.0
UNKNOWN = bytes(12) + b"\x88\xb5" + bytes(46)
"""A frame of a local experimental type."""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    try:
        made = Namespace()
    except PermissionError:
        pytest.skip("may not make a network namespace")
    with made:
        yield made


@pytest.fixture
def device(namespace: Namespace) -> Iterator[Device]:
    """lagg0, with the two ends of a veth pair open in slots 0 and 1."""
    namespace.veth("near0", "far0")
    made = namespace.inside(lambda: Device("lagg0", Tuning(workers=2)))
    for slot, name in enumerate(("near0", "far0")):
        ifindex = namespace.ifindex(name)
        open_port(namespace, made, slot, ifindex)
    yield made
    made.close()


def open_port(namespace: Namespace, device: Device, slot: int, ifindex: int) -> None:
    sockets = namespace.inside(lambda: device.open_sockets(ifindex))
    try:
        device.add_port(slot, sockets)
    finally:
        sockets.close()  # unless the device has them


def refusal(act: Callable[[], object]) -> int:
    with pytest.raises(OSError) as caught:  # noqa: PT011  its errno is the answer
        act()
    assert caught.value.errno is not None
    return caught.value.errno


# ---- twins -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("twin", "prefix"),
    [(Drop, "LAGG_DROP"), (Spread, "LAGG_SPREAD"), (HashKind, "LAGG_HASH")],
)
def test_enumerations_count_as_the_compiler_does(
    twin: type[Drop | Spread | HashKind], prefix: str
) -> None:
    numbers = [getattr(_native.lib, f"{prefix}_{member.name}") for member in twin]
    assert numbers == list(range(len(twin)))
    assert getattr(_native.lib, f"{prefix}_COUNT") == len(twin)


def test_limits_and_spreads_are_the_compiler_s() -> None:
    assert (_native.lib.LAGG_PORTS_MAX, _native.lib.LAGG_BUCKETS) == (
        PORTS_MAX,
        BUCKETS,
    )
    for spread in Spread:
        assert getattr(_native.lib, f"LAGG_SPREAD_{spread.name}") == spread.value


# ---- a device's life ---------------------------------------------------------------


def test_a_worker_without_a_thread_leaves_nothing_behind(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def start_but_one(thread: threading.Thread) -> None:
        if thread.name == "lagg0/1":
            raise RuntimeError("can't start new thread")
        start(thread)

    before = sorted(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_but_one)
        refused = refusal(
            lambda: namespace.inside(lambda: Device("lagg0", Tuning(workers=2)))
        )
    assert refused == errno.EAGAIN
    assert "lagg0/0" not in {thread.name for thread in threading.enumerate()}
    assert len(os.listdir("/proc/self/fd")) == len(before)
    namespace.inside(lambda: Device("lagg0")).close()  # the name is free again


def test_what_is_being_closed_cannot_be_reached(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = namespace.inside(lambda: Device("lagg0"))
    reached = []
    join = threading.Thread.join

    def look_and_join(thread: threading.Thread, timeout: float | None = None) -> None:
        with pytest.raises(ValueError, match="closed"):
            made.read()
        reached.append(thread.name)
        join(thread, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", look_and_join)
        made.close()
    assert reached == ["lagg0/0"]


def test_a_device_is_a_tap_without_carrier_and_goes_when_it_is_closed(
    namespace: Namespace,
) -> None:
    made = namespace.inside(lambda: Device("lagg0"))
    assert "lagg0" in namespace.inside(socket.if_nameindex).__repr__()
    assert made.read().generation == 0
    assert refusal(lambda: namespace.inside(lambda: Device("lagg0"))) == errno.EBUSY
    made.close()
    assert [name for _, name in namespace.inside(socket.if_nameindex)] == ["lo"]


def test_a_worker_has_no_capability(device: Device) -> None:
    workers = [each for each in threading.enumerate() if each.name.startswith("lagg0/")]
    assert len(workers) == 2
    assert device.ended() == []
    for worker in workers:
        status = Path(f"/proc/self/task/{worker.native_id}/status").read_text()
        assert re.findall(r"Cap(?:Prm|Eff):\t(.*)", status) == ["0" * 16] * 2


@pytest.mark.parametrize(
    ("name", "workers"), [("", 1), ("x" * 16, 1), ("lagg0", 0), ("lagg0", 9)]
)
def test_a_device_that_cannot_be_is_refused(
    namespace: Namespace, name: str, workers: int
) -> None:
    def make() -> Device:
        return Device(name, Tuning(workers=workers))

    assert refusal(lambda: namespace.inside(make)) == errno.EINVAL
    assert [name for _, name in namespace.inside(socket.if_nameindex)] == ["lo"]


def test_a_closed_device_refuses_every_call(device: Device) -> None:
    device.close()
    device.close()
    calls: list[Callable[[], object]] = [
        lambda: device.open_sockets(1),
        lambda: device.remove_port(0),
        lambda: device.publish(EMPTY),
        lambda: device.held_by(1),
        device.reclaim,
        lambda: device.set_carrier(True),
        device.read,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="the device is closed"):
            call()


def test_slots_that_cannot_be_opened_or_closed(
    namespace: Namespace, device: Device
) -> None:
    ifindex = namespace.ifindex("near0")

    def opened(slot: int, ifindex: int) -> int:
        return refusal(lambda: open_port(namespace, device, slot, ifindex))

    assert opened(0, ifindex) == errno.EEXIST
    assert opened(PORTS_MAX, ifindex) == errno.EINVAL
    assert opened(2, 0) == errno.EINVAL
    assert opened(2, 9999) == errno.ENODEV
    assert refusal(lambda: device.remove_port(2)) == errno.ENOENT
    assert refusal(lambda: device.remove_port(PORTS_MAX)) == errno.ENOENT
    device.publish(replace(EMPTY, ports=frozenset({0})))
    assert refusal(lambda: device.remove_port(0)) == errno.EBUSY
    device.remove_port(1).close()


BOTH = frozenset({0, 1})
UNSOUND = {
    "a slot that is not a port": {"tx_slots": (0, 2), "ports": BOTH},
    "a slot beyond the last": {"tx_slots": (PORTS_MAX,), "ports": BOTH},
    "a port that is not open": {"ports": frozenset({0, 2})},
    "accepts from no port": {"ports": frozenset({0}), "rx_accept": BOTH},
    "no hash layer": {"hash_layers": ()},
    "a port twice in a broadcast": {
        "spread": Spread.ALL,
        "tx_slots": (0, 1, 0),
        "ports": BOTH,
    },
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_plan_is_refused_and_changes_nothing(
    device: Device, what: str
) -> None:
    device.publish(replace(EMPTY, tx_slots=(1, 0) * 128, ports=BOTH, rx_accept=BOTH))
    before = device.read().generation
    bad = replace(EMPTY, **UNSOUND[what])  # type: ignore[arg-type]
    assert refusal(lambda: device.publish(bad)) == errno.EINVAL
    assert device.read().generation == before


def test_a_plan_that_does_not_fit_never_reaches_c(device: Device) -> None:
    long = replace(EMPTY, tx_slots=(0,) * (BUCKETS + 1), ports=BOTH)
    with pytest.raises(IndexError):
        device.publish(long)
    for field in ("stride", "hash_seed"):
        with pytest.raises(OverflowError):
            device.publish(replace(EMPTY, **{field: 2**32}))  # type: ignore[arg-type]
    assert device.read().generation == 0


def test_each_publication_is_a_generation_and_its_ticket_passes(
    device: Device,
) -> None:
    for generation in range(1, 101):
        slots = (generation % 2,)
        ticket = device.publish(replace(EMPTY, tx_slots=slots, ports=BOTH))
        assert device.read().generation == generation
        while device.held_by(ticket) is not None:
            pass
    assert device.reclaim() == 0


def test_a_fresh_device_has_counted_nothing(device: Device) -> None:
    reading = device.read()
    assert set(reading.total.drops) == set(Drop)
    assert len(reading.ports) == PORTS_MAX
    assert reading.ports[5].rx_frames == 0


def test_the_next_frame_tells_who_waits_and_those_after_it_do_not(
    device: Device, namespace: Namespace
) -> None:
    device.publish(replace(EMPTY, ports=BOTH))
    eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    with namespace.packet_socket("far0") as far:
        for waits in (True, False, True):
            device.alert(eventfd if waits else -1)
            receive_two(device, far)
            if waits:
                wait_until(lambda: readable(eventfd), DEADLINE_S, "it is told")
                assert os.eventfd_read(eventfd) == 1
            assert not readable(eventfd)
    os.close(eventfd)


def receive_two(device: Device, far: socket.socket) -> None:
    before = device.frames
    for _ in range(2):
        far.send(UNKNOWN)
    wait_until(lambda: device.frames >= before + 2, DEADLINE_S, "both came in")


def readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
