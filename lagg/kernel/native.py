# SPDX-License-Identifier: BSD-2-Clause
"""The door to the C hot path.

Owns a device's life: its TAP, its slots, and its workers when they are threads here.
No cffi value leaves this file; a refusal of the C side is an OSError with its errno.
Knows no protocol.
"""

import errno
import os
import threading
from collections.abc import Collection, Mapping
from typing import Any, Self

from lagg._native import ffi, lib
from lagg.frozen import dataclass
from lagg.kernel import privileges
from lagg.kernel.datapath import Datapath
from lagg.kernel.kept_socket import unsent_bytes
from lagg.kernel.lowered import lower
from lagg.model import (
    BUSY_POLL_US_MAX,
    SNAPSHOTS_MAX,
    USUAL_TUNING,
    WORKERS_MAX,
    Counters,
    Drop,
    Transmit,
    Tuning,
)
from lagg.options import PORTS_MAX
from lagg.plan.plan import Plan

_TRANSMITS = {
    Transmit.PACKET: lib.LAGG_TRANSMIT_PACKET,
    Transmit.XDP: lib.LAGG_TRANSMIT_XDP,
}
MARK: int = lib.LAGG_MARK
"""SO_MARK of what a device sends by its ports."""

_DROPS = {drop: number for number, drop in enumerate(Drop)}

assert len(_DROPS) == lib.LAGG_DROP_COUNT
assert lib.LAGG_PORTS_MAX == PORTS_MAX
assert lib.LAGG_SNAPSHOTS_MAX == SNAPSHOTS_MAX
assert lib.LAGG_WORKERS_MAX == WORKERS_MAX
assert lib.LAGG_BUSY_POLL_US_MAX == BUSY_POLL_US_MAX


@dataclass(frozen=True, slots=True)
class PortCounters:
    """One slot's frames and bytes since it was opened."""

    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    drops: dict[Drop, int]


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """All counters of a device at one instant between two bursts."""

    generation: int
    xdp: frozenset[int]  # slots that transmit as Transmit.XDP says
    reopened: tuple[int, ...]  # by slot: times that its receive rings were changed
    total: Counters
    ports: tuple[PortCounters, ...]  # by slot


class PortSockets:
    """The sockets of an interface, while no device has them."""

    def __init__(self, pointer: Any) -> None:
        """`pointer` is a struct lagg_port of C's."""
        self.pointer = pointer

    @classmethod
    def adopted(cls, ifindex: int, workers: int, kept: Mapping[str, int]) -> Self:
        """The sockets that another process opened, by the names of port_descriptors().

        OSError (EPROTO) when one is not what its name says; then they are the caller's.
        """
        fds = ffi.new("struct lagg_port_fds *")
        fds.ifindex, fds.rings_count = ifindex, workers
        fds.tx, fds.xdp = kept.get("tx", -1), kept.get("xdp", -1)
        fds.chunks = kept.get("chunks", -1)
        for worker in range(WORKERS_MAX):
            fds.txrings[worker] = kept.get(f"txring.{worker}", -1)
            for rings in range(2):
                fds.rings[rings][worker] = kept.get(f"ring.{rings}.{worker}", -1)
        out = ffi.new("struct lagg_port **")
        _check(lib.lagg_port_adopt(fds, lib.LAGG_APART, out))
        return cls(out[0])

    def close(self) -> None:
        """Closes the sockets, if no device took them.  Slow; any thread may call."""
        if self.pointer is not None:
            lib.lagg_port_close(self.pointer)
        self.pointer = None


class Threads:
    """The workers as threads of this process, which has all that they need."""

    def __init__(self, name: str, pointer: Any, tuning: Tuning) -> None:
        """`pointer` is the struct lagg_device of C's."""
        self.lagg = 0
        self._name = name
        self._tuning = tuning
        self._pointer = pointer
        self._threads: list[threading.Thread] = []

    def begin(self, sockets: Mapping[str, int]) -> None:
        """All workers or, where the system has no thread for one, none.  OSError."""
        try:
            for index in range(self._tuning.workers):
                thread = self._thread(index)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:
            self.end()
            raise OSError(errno.EAGAIN, f"a worker's thread: {error}") from error

    def _thread(self, index: int) -> threading.Thread:
        return threading.Thread(
            target=_carry,
            args=(self._pointer, index, self._tuning.busy_poll_us),
            name=f"{self._name}/{index}",
            daemon=True,
        )

    def end(self) -> None:
        """Returns when none runs any more."""
        lib.lagg_device_stop(self._pointer)
        for thread in self._threads:
            thread.join()

    def ended(self) -> list[int]:
        """A bug."""
        return [i for i, thread in enumerate(self._threads) if not thread.is_alive()]

    def add_port(self, slot: int, sockets: Mapping[str, int]) -> None:
        """The device has it, and so has every thread."""

    def remove_port(self, slot: int, rings: int) -> None:
        """The device does it."""

    def add_rings(self, slot: int, rings: int, sockets: Mapping[str, int]) -> None:
        """The device has them."""

    def remove_rings(self, slot: int, rings: int) -> None:
        """The device does it."""


class Device:
    """One TAP and the workers that carry it.  Control thread only."""

    def __init__(
        self,
        name: str,
        tuning: Tuning = USUAL_TUNING,
        datapath: Datapath | None = None,
    ) -> None:
        """Makes the TAP `name`.  OSError when the kernel refuses (EBUSY, EPERM ...).

        `datapath`: who runs the workers, in another process; None: threads of this one.
        """
        self.name = name
        self.workers = tuning.workers
        self._transmit = tuning.transmit
        self._ports: dict[int, Any] = {}  # struct lagg_port, by slot
        where = lib.LAGG_INSIDE if datapath is None else lib.LAGG_APART
        out = ffi.new("struct lagg_device **")
        _check(lib.lagg_device_create(name.encode(), tuning.workers, where, out))
        self._pointer: Any = out[0]
        if datapath is None:
            datapath = Threads(name, self._pointer, tuning)
        self._datapath: Datapath = datapath
        self._begin()

    @classmethod
    def adopted(
        cls, name: str, tuning: Tuning, datapath: Datapath, kept: Mapping[str, int]
    ) -> Self:
        """The device of another process, whose workers run on, by descriptors().

        OSError (EPROTO) when one is not what its name says, or its memory is of another
        layout; then they are the caller's still.  Its ports are to be adopted as well.
        """
        fds = ffi.new("struct lagg_device_fds *")
        fds.plans, fds.work = kept.get("plans", -1), kept.get("work", -1)
        for worker in range(WORKERS_MAX):
            fds.tap[worker] = kept.get(f"tap.{worker}", -1)
            fds.wake[worker] = kept.get(f"wake.{worker}", -1)
        out = ffi.new("struct lagg_device **")
        _check(lib.lagg_device_adopt(fds, lib.LAGG_APART, out))
        device = cls.__new__(cls)
        device.name = name
        device.workers = sum(f"tap.{worker}" in kept for worker in range(WORKERS_MAX))
        device._transmit, device._ports = tuning.transmit, {}
        device._pointer, device._datapath = out[0], datapath
        return device

    def _begin(self) -> None:
        """With workers that run, or there is no TAP."""
        try:
            self._datapath.begin(self.descriptors())
        except BaseException:
            pointer, self._pointer = self._pointer, None
            _check(lib.lagg_device_destroy(pointer))
            raise

    @property
    def pointer(self) -> Any:
        """C's struct lagg_device.  ValueError when it is closed."""
        if self._pointer is None:
            raise ValueError("the device is closed")
        return self._pointer

    @property
    def lagg(self) -> int:
        """The id by which the process of its workers knows it; 0: it is this one."""
        return self._datapath.lagg

    def descriptors(self) -> dict[str, int]:
        """All that another process needs to run it or to adopt it, by name."""
        fds = ffi.new("struct lagg_device_fds *")
        lib.lagg_device_fds(self.pointer, fds)
        found = {"plans": fds.plans, "work": fds.work}
        for worker in range(self.workers):
            found[f"tap.{worker}"] = fds.tap[worker]
            found[f"wake.{worker}"] = fds.wake[worker]
        return found

    def port_descriptors(self, slot: int) -> dict[str, int]:
        """All that another process needs to send and receive by a port, by name."""
        fds = ffi.new("struct lagg_port_fds *")
        lib.lagg_port_fds(self._ports[slot], fds)
        found = {"tx": fds.tx, "xdp": fds.xdp, "chunks": fds.chunks}
        for worker in range(self.workers):
            found[f"txring.{worker}"] = fds.txrings[worker]
            for rings in range(2):
                found[f"ring.{rings}.{worker}"] = fds.rings[rings][worker]
        return {name: fd for name, fd in found.items() if fd >= 0}

    def close(self) -> None:
        """Stops the workers and frees everything; the TAP goes.  Once is enough."""
        # First of all: from here on nobody may reach what is to be freed.
        pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        self._datapath.end()
        _check(lib.lagg_device_destroy(pointer))

    def ended(self) -> list[int]:
        """The workers that run no more though nobody stopped them: a bug."""
        return self._datapath.ended()

    def open_sockets(self, ifindex: int) -> PortSockets:
        """Opens a port's sockets.  Takes tens of milliseconds; any thread may call."""
        wish = _TRANSMITS[self._transmit]
        out = ffi.new("struct lagg_port **")
        _check(lib.lagg_port_open(self.pointer, ifindex, wish, out))
        return PortSockets(out[0])

    def add_port(self, slot: int, sockets: PortSockets) -> None:
        """Gives a port to the device; no worker sees it before a plan names it."""
        _check(lib.lagg_device_add_port(self.pointer, slot, sockets.pointer))
        self._ports[slot], sockets.pointer = sockets.pointer, None
        try:
            self._datapath.add_port(slot, self.port_descriptors(slot))
        except BaseException:
            sockets.pointer = self._take_out(slot)
            raise

    def bind_port(self, slot: int) -> None:
        """Lets frames leave by AF_XDP, once the workers have the port.  Any thread."""
        _check(lib.lagg_device_bind_port(self.pointer, slot))

    def add_adopted(self, slot: int, sockets: PortSockets) -> None:
        """Gives the device a port that its workers have already, in that slot."""
        _check(lib.lagg_device_add_adopted(self.pointer, slot, sockets.pointer))
        self._ports[slot], sockets.pointer = sockets.pointer, None

    def forget_port(self, slot: int) -> None:
        """Has its workers let go of a port that this device never had.  OSError."""
        self._datapath.remove_port(slot, 0)

    def _take_out(self, slot: int) -> Any:
        out = ffi.new("struct lagg_port **")
        _check(lib.lagg_device_remove_port(self.pointer, slot, out))
        del self._ports[slot]
        return out[0]

    def _live_rings(self, slot: int) -> int:
        """The set of a port's rings that workers read: at first the first of two."""
        reading = ffi.new("struct lagg_reading *")
        lib.lagg_device_read(self.pointer, reading)
        return int(reading.reopened[slot]) % 2

    def set_transmit(self, slot: int, transmit: Transmit) -> None:
        """How frames leave a port from now on, within what the device may do."""
        if self._transmit is Transmit.XDP:
            wish = _TRANSMITS[transmit]
            _check(lib.lagg_device_set_transmit(self.pointer, slot, wish))

    def set_filtered(self, slot: int, filtered: bool) -> None:
        """Whether what a port refuses for want of room is a filter's doing."""
        _check(lib.lagg_device_set_filtered(self.pointer, slot, filtered))

    def remove_port(self, slot: int) -> PortSockets:
        """Delivers what its ring holds and takes it out.  EBUSY while still named."""
        named = lib.lagg_device_names(self.pointer, slot)
        _check(-errno.EBUSY if named == 1 else named)
        self._datapath.remove_port(slot, self._live_rings(slot))
        return PortSockets(self._take_out(slot))

    def stuck(self) -> frozenset[int]:
        """The slots whose receive rings cannot move any more; usually none."""
        bits = lib.lagg_device_stuck(self.pointer)
        return frozenset(slot for slot in range(PORTS_MAX) if bits >> slot & 1)

    def open_rings(self, slot: int) -> None:
        """Opens rings beside a port's own.  Takes tens of milliseconds; any thread."""
        _check(lib.lagg_device_open_rings(self.pointer, slot))

    def change_rings(self, slot: int) -> None:
        """Frames come in by the rings opened last.  To be followed by publish()."""
        rings = 1 - self._live_rings(slot)
        opened = {
            name: fd
            for name, fd in self.port_descriptors(slot).items()
            if name.startswith(f"ring.{rings}.")
        }
        self._datapath.add_rings(slot, rings, opened)
        _check(lib.lagg_device_change_rings(self.pointer, slot))

    def drain_rings(self, slot: int) -> None:
        """Delivers what the former rings still hold, once no worker can see them."""
        _check(lib.lagg_device_drain_rings(self.pointer, slot))
        self._datapath.remove_rings(slot, 1 - self._live_rings(slot))

    def close_rings(self, slot: int) -> None:
        """Closes the former rings.  Takes tens of milliseconds; any thread."""
        _check(lib.lagg_device_close_rings(self.pointer, slot))

    def unsent_bytes(self, slot: int) -> int:
        """What the kernel has still of what a port's sockets sent.  OSError."""
        found = self.port_descriptors(slot).items()
        return sum(unsent_bytes(fd) for name, fd in found if _sends(name))

    def admit_lacp(self, slot: int, admit: bool) -> None:
        """Whether a port's LACP and Marker PDUs are frames of the lagg.  OSError."""
        _check(lib.lagg_device_admit_lacp(self.pointer, slot, admit))

    def keep_out(self, slot: int, macs: Collection[str]) -> None:
        """Frames to these MACs, by a port, are none of the lagg's.  OSError."""
        octets = bytes.fromhex("".join(macs).replace(":", ""))
        _check(lib.lagg_device_keep_out(self.pointer, slot, octets, len(macs)))

    def publish(self, plan: Plan) -> int:
        """Publishes a plan; its ticket.  Never blocks; OSError (EAGAIN): full limbo."""
        ticket = ffi.new("uint64_t *")
        _check(lib.lagg_device_publish(self.pointer, lower(plan), ticket))
        return int(ticket[0])

    def held_by(self, ticket: int) -> int | None:
        """A worker that may still see what `ticket` replaced; None: it has passed."""
        worker = ffi.new("uint32_t *")
        passed = lib.lagg_device_passed(self.pointer, ticket, worker)
        return None if passed else int(worker[0])

    def reclaim(self) -> int:
        """Frees what has passed and returns the number of snapshots still in limbo."""
        return int(lib.lagg_device_reclaim(self.pointer))

    def set_carrier(self, up: bool) -> None:
        """The TAP's carrier, as users and routes see it."""
        _check(lib.lagg_device_set_carrier(self.pointer, up))

    @property
    def frames(self) -> int:
        """Frames that came in so far, both ways; cheaper than `read`."""
        return int(lib.lagg_device_frames(self.pointer))

    def alert(self, eventfd: int) -> None:
        """Makes `eventfd` readable with the next frame that comes in, either way."""
        lib.lagg_device_alert(self.pointer, eventfd)

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """Frames and bytes that went out by each entry of the flow table so far."""
        found = ffi.new("struct lagg_bucket[]", lib.LAGG_BUCKETS)
        lib.lagg_device_buckets(self.pointer, found)
        return tuple((each.frames, each.bytes) for each in found)

    def read(self) -> DeviceCounters:
        """All counters, consistent with each other, while the workers run."""
        reading = ffi.new("struct lagg_reading *")
        lib.lagg_device_read(self.pointer, reading)
        return DeviceCounters(
            generation=reading.generation,
            xdp=frozenset(s for s in range(PORTS_MAX) if reading.xdp >> s & 1),
            reopened=tuple(reading.reopened),
            total=Counters(
                tx_in=reading.total.tx_in,
                tx_out=reading.total.tx_out,
                rx_in=reading.total.rx_in,
                rx_out=reading.total.rx_out,
                drops=_drops(reading.total.drops),
            ),
            ports=tuple(_port_counters(port) for port in reading.ports),
        )


def programs_at_egress(ifindex: int) -> int:
    """How many BPF programs an interface of this thread's namespace has there (tcx).

    0 of one that is gone, and before Linux 6.6.  Needs CAP_NET_ADMIN.
    """
    return max(0, int(lib.lagg_tcx_egress(ifindex)))


def restrict_calls() -> None:
    """No thread of this process makes another system call than laggd's, for good.

    What is refused is PermissionError.  OSError when this kernel filters none.
    """
    _check(lib.lagg_seccomp())


def _carry(device: Any, worker: int, busy_poll_us: int) -> None:
    # What a worker does to its sockets needs no right; only to open them does.
    privileges.drop_all()
    _check(lib.lagg_worker_run(device, worker, busy_poll_us))


def _sends(descriptor: str) -> bool:
    """Whether frames leave by what has this name in port_descriptors()."""
    return "tx" in descriptor or descriptor == "xdp"


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def _drops(counts: Any) -> dict[Drop, int]:
    return {drop: int(counts[number]) for drop, number in _DROPS.items()}


def _port_counters(port: Any) -> PortCounters:
    return PortCounters(
        tx_frames=port.tx_frames,
        tx_bytes=port.tx_bytes,
        rx_frames=port.rx_frames,
        rx_bytes=port.rx_bytes,
        drops=_drops(port.drops),
    )
