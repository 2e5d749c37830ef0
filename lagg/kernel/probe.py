# SPDX-License-Identifier: BSD-2-Clause
"""A port's probe socket: what link watchers send by it and want to hear, nothing else.

Owns one packet socket for each watched port: its filter in the kernel, its bound on
what may wait, the MACs that the port's NIC lets in for it.  Knows no watch, and reads
of a frame only where its outer VLAN tag was.
"""

import ctypes
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from fcntl import ioctl

from lagg.kernel.native import MARK
from lagg.kernel.port_socket import (
    PACKET_ADD_MEMBERSHIP,
    PACKET_MR_MULTICAST,
    PACKET_MREQ,
    SOL_PACKET,
    PortSocket,
    Step,
)
from lagg.watches import PROBE_OCTET

READS_MAX = 64
"""Frames in one go, which is more than wait."""

_FRAME_BYTES_MAX = 256  # of a longer one the rest is not read

_PRIORITY = 7  # TC_PRIO_CONTROL: a probe does not wait behind the lagg's frames

_PACKET_DROP_MEMBERSHIP = 2
_PACKET_AUXDATA = 8
_PACKET_MR_UNICAST = 3
_AUXDATA = struct.Struct("=IIIHHHH")  # status, lengths, offsets, VLAN tag, its TPID
_ROOM = socket.CMSG_SPACE(_AUXDATA.size)
_TP_STATUS_VLAN_VALID = 0x10
_TP_STATUS_VLAN_TPID_VALID = 0x40
_TPID_CUSTOMER = 0x8100
_MACS_BYTES = 12

_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_ETHTOOL_VALUE = struct.Struct("=II")
_IFREQ = struct.Struct("@16sP16x")

_LDH_ABS, _LDB_ABS, _LDH_IND, _LDB_IND = 0x28, 0x30, 0x48, 0x50
_LDX_IMM, _JA, _JEQ, _JSET, _RET = 0x01, 0x05, 0x15, 0x45, 0x06
_ARP, _IPV4, _IPV6, _SERVICE_TAG = 0x0806, 0x0800, 0x86DD, 0x88A8
_UDP, _ICMPV6, _ADVERTISEMENT = 17, 58, 136
_BFD, _BFD_MICRO = 3784, 6784  # UDP ports
_FRAGMENT_BITS = 0x1FFF

# By label; a jump names two of them.  The outer tag is beside the frame, wherever it
# came from; X is 4 when there is another one in it.
_Step = tuple[str, int, int, str, str]
_PROGRAM: tuple[_Step, ...] = (
    ("", _LDH_ABS, 12, "", ""),
    ("", _JEQ, _TPID_CUSTOMER, "tagged", ""),
    ("", _JEQ, _SERVICE_TAG, "tagged", ""),
    ("", _LDX_IMM, 0, "", ""),
    ("", _JA, 1, "", ""),
    ("tagged", _LDX_IMM, 4, "", ""),
    ("", _LDH_IND, 12, "", ""),
    ("", _JEQ, _ARP, "probed", ""),
    ("", _JEQ, _IPV4, "ipv4", ""),
    ("", _JEQ, _IPV6, "", "no"),
    ("", _LDB_IND, 20, "", ""),  # next header
    ("", _JEQ, _UDP, "udp6", ""),
    ("", _JEQ, _ICMPV6, "", "no"),
    ("", _LDB_IND, 54, "", ""),  # type
    ("", _JEQ, _ADVERTISEMENT, "probed", "no"),
    ("udp6", _LDH_IND, 56, "", ""),  # destination port
    ("", _JEQ, _BFD, "yes", ""),
    ("", _JEQ, _BFD_MICRO, "yes", "no"),
    ("ipv4", _LDB_IND, 14, "", ""),  # version 4 and no options
    ("", _JEQ, 0x45, "", "no"),
    ("", _LDB_IND, 23, "", ""),
    ("", _JEQ, _UDP, "", "no"),
    ("", _LDH_IND, 20, "", ""),
    ("", _JSET, _FRAGMENT_BITS, "no", ""),
    ("", _LDH_IND, 36, "", ""),
    ("", _JEQ, _BFD, "yes", ""),
    ("", _JEQ, _BFD_MICRO, "yes", "no"),
    ("probed", _LDB_ABS, 0, "", ""),  # an answer to a probe of ours, by its receiver
    ("", _JEQ, PROBE_OCTET, "yes", "no"),
    ("yes", _RET, _FRAME_BYTES_MAX, "", ""),
    ("no", _RET, 0, "", ""),
)


def _assembled(program: tuple[_Step, ...]) -> tuple[Step, ...]:
    places = {label: at for at, (label, *_) in enumerate(program) if label}

    def way(to: str, at: int) -> int:
        return places[to] - at - 1 if to else 0

    return tuple(
        (code, way(true, at), way(false, at), k)
        for at, (_, code, k, true, false) in enumerate(program)
    )


class ProbeSocket(PortSocket):
    """The probes of one port."""

    WHAT = "probe"
    QUEUE_BYTES = 32 << 10  # some fifty frames
    FILTER = _assembled(_PROGRAM)

    def __init__(self, ifindex: int, name: str) -> None:
        """Binds to the interface `ifindex`, called `name`.  LaggError if it cannot."""
        self._admitted: frozenset[str] = frozenset()
        super().__init__(ifindex, name)

    def _set_options(self) -> None:
        super()._set_options()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)
        # Or the port, which is dumb, would not let ARP and IP out.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        self._socket.setsockopt(SOL_PACKET, _PACKET_AUXDATA, 1)

    def admit(self, macs: Collection[str]) -> None:
        """Has the NIC let in frames for these MACs beside its own, and for no others.

        One that is refused is heard by a NIC that is promiscuous, and by no other.
        """
        wanted = frozenset(macs)
        for mac in wanted - self._admitted:
            self._member(PACKET_ADD_MEMBERSHIP, mac)
        for mac in self._admitted - wanted:
            self._member(_PACKET_DROP_MEMBERSHIP, mac)
        self._admitted = wanted

    def _member(self, operation: int, mac: str) -> None:
        octets = bytes.fromhex(mac.replace(":", ""))
        kind = PACKET_MR_MULTICAST if octets[0] & 1 else _PACKET_MR_UNICAST
        request = PACKET_MREQ.pack(self._ifindex, kind, 6, octets)
        with suppress(OSError):
            self._socket.setsockopt(SOL_PACKET, operation, request)

    def frames(self) -> Iterator[bytes]:
        """Up to READS_MAX frames that wait, tags in their place, without FCS."""
        for _ in range(READS_MAX):
            try:
                frame, beside, _, _ = self._socket.recvmsg(_FRAME_BYTES_MAX, _ROOM)
            except OSError:  # nothing waits, or the link is away: netlink tells of it
                return
            yield _with_tag(frame, beside)

    def carrier(self) -> bool | None:
        """Whether the port's driver says that it has one; None: it does not say.

        Takes as long as the driver does, and whoever holds the kernel's lock of all
        interfaces: to be called in a thread.
        """
        asked = ctypes.create_string_buffer(_ETHTOOL_VALUE.pack(_ETHTOOL_GLINK, 0))
        with suppress(OSError):
            name = self._socket.getsockname()[0].encode()
            request = _IFREQ.pack(name, ctypes.addressof(asked))
            ioctl(self._socket, _SIOCETHTOOL, request)
            return bool(_ETHTOOL_VALUE.unpack(asked.raw[: _ETHTOOL_VALUE.size])[1])
        return None


def _with_tag(frame: bytes, beside: list[tuple[int, int, bytes]]) -> bytes:
    """The frame with the VLAN tag that the kernel took out of it, if it did."""
    for level, kind, content in beside:
        if (level, kind) != (SOL_PACKET, _PACKET_AUXDATA):
            continue
        status, *_, tag, tpid = _AUXDATA.unpack_from(content)
        if status & _TP_STATUS_VLAN_VALID:
            if not status & _TP_STATUS_VLAN_TPID_VALID:
                tpid = _TPID_CUSTOMER
            put = struct.pack("!HH", tpid, tag)
            return frame[:_MACS_BYTES] + put + frame[_MACS_BYTES:]
    return frame
