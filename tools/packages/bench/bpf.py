# SPDX-License-Identifier: BSD-2-Clause
"""Programs of the kernel's own virtual machine, loaded by bpf(2) and hooked by tc.

Owns their instructions, written here so that neither compiler nor library is needed:
a redirect, which is the least that any aggregation can cost, and a sink, which counts
what arrives and drops it before the stack.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.host import Host

_SYSCALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD = 0, 1, 5
_PROG_ATTACH, _PROG_DETACH, _TCX_EGRESS = 8, 9, 47
_PERCPU_ARRAY = 6
_SCHED_CLS = 3
_LICENCE = b"BSD\0"
_LOG_BYTES = 65536

_REDIRECT, _HASH_RECALC, _MAP_LOOKUP_ELEM = 23, 34, 1
_INGRESS_FLAG = 1
_NEXT, _SHOT = -1, 2
_ETH_P_ALL, _ETH_P_IP = 0x0003, 0x0800
_LEN_AT = 0  # in struct __sk_buff
_PACKETS_AT, _BYTES_AT = 0, 8  # in the sink's one value
_VALUE_BYTES = 16

# tc's words: the two hooks of a clsact qdisc.
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3

_MOVE_REGISTER, _MOVE, _MOVE_32 = 0xBF, 0xB7, 0xB4
_ADD, _ADD_REGISTER, _MULTIPLY, _SHIFT_RIGHT = 0x07, 0x0F, 0x27, 0x77
_LOAD_WORD, _LOAD_DOUBLE, _LOAD_IMMEDIATE = 0x61, 0x79, 0x18
_STORE_DOUBLE, _STORE_WORD_IMMEDIATE = 0x7B, 0x62
_CALL, _EXIT, _JUMP, _JUMP_EQUAL, _JUMP_NOT_EQUAL = 0x85, 0x95, 0x05, 0x15, 0x55
_MAP_FD = 1  # what _LOAD_IMMEDIATE's source register says of its value


def _op(code: int, to: int = 0, of: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """One instruction."""
    return struct.pack("<BBhi", code, of << 4 | to, offset, value)


def to_ports(ifindexes: Sequence[int]) -> bytes:
    """Sends a frame out of one of these interfaces, by its flow hash."""
    program = _op(_CALL, value=_HASH_RECALC)
    program += _op(_MULTIPLY, 0, value=len(ifindexes)) + _op(_SHIFT_RIGHT, 0, value=32)
    for number, ifindex in enumerate(ifindexes):
        program += _op(_JUMP_NOT_EQUAL, 0, offset=4, value=number)
        program += _redirect(ifindex, 0)
    return program + _op(_MOVE, 0, value=_SHOT) + _op(_EXIT)


def into(ifindex: int) -> bytes:
    """Gives a frame to the stack as if it had arrived by this interface."""
    return _redirect(ifindex, _INGRESS_FLAG)


def accepting() -> bytes:
    """Lets every frame go on."""
    return _op(_MOVE, 0, value=_NEXT) + _op(_EXIT)


def _redirect(ifindex: int, flags: int) -> bytes:
    arguments = _op(_MOVE, 1, value=ifindex) + _op(_MOVE, 2, value=flags)
    return arguments + _op(_CALL, value=_REDIRECT) + _op(_EXIT)


def counting(map_fd: int) -> bytes:
    """Adds a frame to the only value of a map, and drops it."""
    found = (
        _op(_LOAD_DOUBLE, 1, 0, _PACKETS_AT)
        + _op(_ADD, 1, value=1)
        + _op(_STORE_DOUBLE, 0, 1, _PACKETS_AT)
        + _op(_LOAD_DOUBLE, 1, 0, _BYTES_AT)
        + _op(_LOAD_WORD, 2, 6, _LEN_AT)
        + _op(_ADD_REGISTER, 1, 2)
        + _op(_STORE_DOUBLE, 0, 1, _BYTES_AT)
    )
    return (
        _op(_MOVE_REGISTER, 6, 1)
        + _op(_STORE_WORD_IMMEDIATE, 10, offset=-4)
        + _op(_MOVE_REGISTER, 2, 10)
        + _op(_ADD, 2, value=-4)
        + _op(_LOAD_IMMEDIATE, 1, _MAP_FD, value=map_fd)
        + _op(0)
        + _op(_CALL, value=_MAP_LOOKUP_ELEM)
        + _op(_JUMP_EQUAL, 0, offset=len(found) // 8)
        + found
        + _op(_MOVE, 0, value=_SHOT)
        + _op(_EXIT)
    )


# ---- the kernel ----------------------------------------------------------------------


def _bpf(command: int, attributes: bytes) -> int:
    """The system call.  OSError with what the kernel said."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSCALLS[platform.machine()]
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    answer: int = libc.syscall(number, command, buffer, len(attributes))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "bpf(2)")
    return answer


def load(program: bytes) -> int:
    """A descriptor of the program.  OSError with the verifier's words."""
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(_LICENCE)
    log = ctypes.create_string_buffer(_LOG_BYTES)
    places = (ctypes.addressof(code), ctypes.addressof(licence))
    head = struct.pack("<IIQQ", _SCHED_CLS, len(program) // 8, *places)
    told = struct.pack("<IIQ", 1, _LOG_BYTES, ctypes.addressof(log))
    try:
        return _bpf(_PROG_LOAD, head + told)
    except OSError as error:
        said = log.value.decode(errors="replace")
        raise OSError(error.errno, f"bpf(2) took no program: {said}") from error


def hook(
    host: Host, name: str, where: int, program: bytes, protocol: int = _ETH_P_ALL
) -> None:
    """Runs a program for frames of a protocol at INGRESS or EGRESS of an interface."""
    index = host.ifindex(name)
    _ensure_clsact(host, index)
    descriptor = load(program)
    try:
        host.netlink(
            "tc",
            "add-filter",
            "bpf",
            index,
            parent=where,
            prio=1,
            protocol=protocol,
            fd=descriptor,
            name="bench",
            classid=1,
            direct_action=True,
        )
    finally:
        os.close(descriptor)


def unhook(host: Host, name: str, where: int, protocol: int = _ETH_P_ALL) -> None:
    """Takes it away."""
    index = host.ifindex(name)
    host.netlink(
        "tc", "del-filter", "bpf", index, parent=where, prio=1, protocol=protocol
    )


def _ensure_clsact(host: Host, index: int) -> None:
    kinds = {
        each.get_attr("TCA_KIND") for each in host.netlink("get_qdiscs", index=index)
    }
    if "clsact" not in kinds:
        host.netlink("tc", "add", "clsact", index)


def attach(ifindex: int, program: bytes) -> int:
    """Runs it for what leaves an interface, in no queueing discipline: tcx, Linux 6.6.

    A descriptor for detach().  Both in the interface's namespace.  OSError.
    """
    descriptor = load(program)
    _bpf(_PROG_ATTACH, _at_egress(ifindex, descriptor))
    return descriptor


def detach(ifindex: int, descriptor: int) -> None:
    """Ends that, and closes the descriptor."""
    _bpf(_PROG_DETACH, _at_egress(ifindex, descriptor))
    os.close(descriptor)


def _at_egress(ifindex: int, descriptor: int) -> bytes:
    return struct.pack("<III20x", ifindex, descriptor, _TCX_EGRESS)


class Sink:
    """What IPv4 arrives by one or more interfaces is counted, and goes no further."""

    def __init__(self) -> None:
        """One for all measurements; `close` ends it."""
        self._cpus = _possible_cpus()
        sizes = struct.pack("<IIII", _PERCPU_ARRAY, 4, _VALUE_BYTES, 1)
        self._map = _bpf(_MAP_CREATE, sizes)

    def close(self) -> None:
        """Forgets the counts."""
        os.close(self._map)

    @contextmanager
    def at(self, host: Host, names: Sequence[str]) -> Iterator[None]:
        """While the block runs."""
        for name in names:
            hook(host, name, INGRESS, counting(self._map), _ETH_P_IP)
        try:
            yield
        finally:
            for name in names:
                unhook(host, name, INGRESS, _ETH_P_IP)

    def read(self) -> tuple[int, int]:
        """Frames and bytes so far; a frame that is still whole counts once."""
        key = ctypes.create_string_buffer(4)
        values = ctypes.create_string_buffer(_VALUE_BYTES * self._cpus)
        places = (ctypes.addressof(key), ctypes.addressof(values))
        _bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", self._map, 0, *places, 0))
        each = struct.unpack(f"<{2 * self._cpus}Q", values.raw)
        return sum(each[::2]), sum(each[1::2])


def _possible_cpus() -> int:
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.rpartition("-")[2].rpartition(",")[2]) + 1
