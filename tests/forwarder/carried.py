# SPDX-License-Identifier: BSD-2-Clause
"""A lagg that a forwarder carries: laggd's half, as the C extension has it.

    lagg0 = p0 p1  ----  q0 q1, all in one silent network namespace

Owns the device and its descriptors by name, and what passes it.  Which laggd has it is
nobody's business: it can be given away and adopted.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any

from lagg._native import ffi, lib

from lab import Namespace
from lagg.forwarder.client import ForwarderClient
from tests.forwarder.world import DEADLINE_S
from tests.waiting import wait_until

ID = 7
SLOTS = {"p0": 0, "p1": 9}
ENDS = ("q0", "q1")
TEST_TYPE = 0x88B5  # EtherType for local experiments: nobody answers


def check(result: int) -> None:
    assert result == 0, os.strerror(-result)


class Wires:
    """The namespace, and a raw socket at each end of the lagg."""

    def __init__(self, near: Namespace) -> None:
        near.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        self.near = near
        for port, end in zip(SLOTS, ENDS, strict=True):
            near.veth(port, end)
        self.number = 0

    def open_ends(self) -> None:
        """Once there is lagg0."""
        self.near.set_link("lagg0", state="up")
        self.host = self.near.packet_socket("lagg0", TEST_TYPE)
        self.ends = [self.near.packet_socket(end, TEST_TYPE) for end in ENDS]

    def close(self) -> None:
        for each in (self.host, *self.ends):
            each.close()

    def _frame(self) -> bytes:
        self.number += 1
        head = bytes.fromhex("020000000001020000000002") + TEST_TYPE.to_bytes(2, "big")
        return head + self.number.to_bytes(46, "big")

    def pass_frames(self, count: int = 50) -> None:
        """Out by the first port and in by each: all come, in order, and once."""
        for sender, receiver in (
            (self.host, self.ends[0]),
            *((end, self.host) for end in self.ends),
        ):
            sent = [self._frame() for _ in range(count)]
            for frame in sent:
                assert sender.send(frame) == len(frame)
            assert _taken(receiver, count) == sent


def _taken(receiver: socket.socket, count: int) -> list[bytes]:
    """At least so many frames that came, and what came with them."""
    got: list[bytes] = []
    wait_until(
        lambda: len(_take(receiver, got)) >= count,
        DEADLINE_S,
        f"{count} frames have come",
    )
    return got


def _take(receiver: socket.socket, got: list[bytes]) -> list[bytes]:
    """Adds what came from the other end; what this end sent itself is none."""
    while True:
        try:
            data, address = receiver.recvfrom(2048)
        except BlockingIOError:
            return got
        if address[2] != socket.PACKET_OUTGOING:
            got.append(data)


class Half:
    """The half that decides: plans and counts, of a device that another carries."""

    def __init__(self, pointer: Any, ports: Mapping[int, Any]) -> None:  # noqa: ANN401
        self._device = pointer
        self._ports = dict(ports)

    @classmethod
    def make(cls, near: Namespace) -> "Half":
        """A new lagg0 of both ports, published."""
        out = ffi.new("struct lagg_device **")
        check(near.inside(lib.lagg_device_create, b"lagg0", 1, lib.LAGG_APART, out))
        half = cls(out[0], {})
        check(lib.lagg_device_set_carrier(half._device, 1))
        for name, slot in SLOTS.items():
            made = ffi.new("struct lagg_port **")
            how = lib.LAGG_TRANSMIT_PACKET
            ifindex = near.ifindex(name)
            check(near.inside(lib.lagg_port_open, half._device, ifindex, how, made))
            check(lib.lagg_device_add_port(half._device, slot, made[0]))
            half._ports[slot] = made[0]
        return half

    @classmethod
    def adopt(cls, near: Namespace, kept: Mapping[str, int]) -> "Half":
        """What another laggd left, of descriptors that are the half's from now on."""
        out = ffi.new("struct lagg_device **")
        check(lib.lagg_device_adopt(_device_fds(kept), lib.LAGG_APART, out))
        half = cls(out[0], {})
        for name, slot in SLOTS.items():
            made = ffi.new("struct lagg_port **")
            fds = _port_fds(kept, slot, near.ifindex(name))
            check(lib.lagg_port_adopt(fds, lib.LAGG_APART, made))
            check(lib.lagg_device_add_adopted(half._device, slot, made[0]))
            half._ports[slot] = made[0]
        return half

    def publish(self, *slots: int) -> None:
        plan = ffi.new("struct lagg_plan *")
        plan.spread = lib.LAGG_SPREAD_FIRST
        plan.tx_drop, plan.rx_drop = lib.LAGG_DROP_NO_PORT, lib.LAGG_DROP_NOT_ACCEPTED
        plan.stride, plan.hash_layers, plan.rx_bytes_max = 1, lib.LAGG_LAYER_L2, 65535
        plan.ports = plan.rx_accept = sum(1 << slot for slot in slots)
        plan.tx_slots_count = len(slots)
        plan.tx_slots[0 : len(slots)] = list(slots)
        check(lib.lagg_device_publish(self._device, plan, ffi.new("uint64_t *")))

    def descriptors(self) -> dict[str, int]:
        """By the names that a forwarder knows them under; they stay the half's."""
        device = ffi.new("struct lagg_device_fds *")
        lib.lagg_device_fds(self._device, device)
        found = {
            "plans": device.plans,
            "work": device.work,
            "tap.0": device.tap[0],
            "wake.0": device.wake[0],
        }
        for slot, port in self._ports.items():
            fds = ffi.new("struct lagg_port_fds *")
            lib.lagg_port_fds(port, fds)
            found |= {
                f"{slot}/tx": fds.tx,
                f"{slot}/ring.0.0": fds.rings[0][0],
                f"{slot}/txring.0": fds.txrings[0],
            }
        return {f"{ID}/{name}": fd for name, fd in found.items() if fd >= 0}

    def assert_conserved(self, frames: int) -> None:
        """As many as `frames` came in, both ways, and each was delivered."""
        reading = ffi.new("struct lagg_reading *")

        def settled() -> bool:
            lib.lagg_device_read(self._device, reading)
            return bool(reading.total.tx_in + reading.total.rx_in == frames)

        wait_until(settled, DEADLINE_S, f"{frames} frames are counted")
        assert reading.total.tx_out + reading.total.rx_out == frames
        assert not any(reading.total.drops)

    def close(self) -> None:
        """Closes what is of this process; the forwarder has its own."""
        check(lib.lagg_device_destroy(self._device))


def _device_fds(kept: Mapping[str, int]) -> Any:  # noqa: ANN401  cffi's
    fds = _all_missing("struct lagg_device_fds *")
    fds.plans, fds.work = kept[f"{ID}/plans"], kept[f"{ID}/work"]
    fds.tap[0], fds.wake[0] = kept[f"{ID}/tap.0"], kept[f"{ID}/wake.0"]
    return fds


def _port_fds(kept: Mapping[str, int], slot: int, ifindex: int) -> Any:  # noqa: ANN401  cffi's
    fds = _all_missing("struct lagg_port_fds *")
    fds.ifindex, fds.rings_count = ifindex, 1
    fds.tx = kept[f"{ID}/{slot}/tx"]
    fds.rings[0][0] = kept[f"{ID}/{slot}/ring.0.0"]
    fds.txrings[0] = kept.get(f"{ID}/{slot}/txring.0", -1)
    return fds


def _all_missing(kind: str) -> Any:  # noqa: ANN401  cffi's
    fds = ffi.new(kind)
    ffi.memmove(fds, b"\xff" * ffi.sizeof(fds[0]), ffi.sizeof(fds[0]))
    return fds


def begin(
    client: ForwarderClient, kept: Mapping[str, int], *, again: bool = False
) -> None:
    """Gives a forwarder all that it needs, and has it carry the lagg."""
    for name, fd in kept.items():
        client.put(name, fd)
    client.open(ID, again=again)
    for slot in SLOTS.values():
        client.map(ID, slot, again=again)
    client.run(ID)
