# SPDX-License-Identifier: BSD-2-Clause
"""packet(7) memberships: what a port's NIC must let through.

Owns one packet socket for each port.  The kernel counts its memberships as references
and drops them when the socket closes, even by SIGKILL: nothing stays promiscuous.
Knows no lagg and reads no frame.
"""

import errno
import os
import socket
import struct

from lagg.errors import LaggError
from lagg.frozen import dataclass
from lagg.kernel.kept_socket import kept_socket
from lagg.kernel.proc import ifindex_of
from lagg.link import RxFilter

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_DROP_MEMBERSHIP = 2
_PACKET_MR_MULTICAST = 0
_PACKET_MR_PROMISC = 1
_PACKET_MR_ALLMULTI = 2
_PACKET_MR_UNICAST = 3

_PACKET_MREQ = struct.Struct("=iHH8s")  # ifindex, type, address bytes, address


@dataclass(frozen=True, slots=True, order=True)
class _Membership:
    type: int
    mac: str = ""

    def __str__(self) -> str:
        words = {
            _PACKET_MR_MULTICAST: f"multicast {self.mac}",
            _PACKET_MR_PROMISC: "promiscuous mode",
            _PACKET_MR_ALLMULTI: "all multicast",
            _PACKET_MR_UNICAST: f"MAC {self.mac}",
        }
        return words[self.type]

    def request(self, ifindex: int) -> bytes:
        """The membership as packet(7)'s struct packet_mreq."""
        mac = bytes.fromhex(self.mac.replace(":", ""))
        return _PACKET_MREQ.pack(ifindex, self.type, len(mac), mac)


def _memberships(wanted: RxFilter) -> frozenset[_Membership]:
    found = {_Membership(_PACKET_MR_MULTICAST, mac) for mac in wanted.multicast}
    found |= {_Membership(_PACKET_MR_UNICAST, mac) for mac in wanted.unicast}
    if wanted.promisc:
        found.add(_Membership(_PACKET_MR_PROMISC))
    if wanted.allmulti:
        found.add(_Membership(_PACKET_MR_ALLMULTI))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Kept:
    """A socket of Memberships that outlived them, and what it has."""

    descriptor: int  # whose owner is who is given this
    held: RxFilter


class Memberships:
    """The memberships of one port, as long as this object is open."""

    def __init__(self, ifindex: int, name: str, kept: Kept | None = None) -> None:
        """Opens the socket, without any membership, unless one was `kept`.

        LaggError when the interface `ifindex` is not called `name` (any more), or what
        was kept is no packet socket.
        """
        self._ifindex = ifindex
        self._name = name
        self._held: frozenset[_Membership] = frozenset()
        if kept is not None:
            self._socket = kept_socket(kept.descriptor, socket.AF_PACKET, name)
            self._held = _memberships(kept.held)
            return
        try:
            # Protocol 0: no frame is ever queued here.
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
            )
        except OSError as error:
            raise LaggError.of_os(name, "open a packet socket", error) from error
        try:
            self._socket.bind((name, 0))
            if not self.same:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        except OSError as error:
            self._socket.close()
            raise LaggError.of_os(name, "bind a packet socket", error) from error

    def fileno(self) -> int:
        """The socket, to be kept for another one of this class."""
        return self._socket.fileno()

    @property
    def held(self) -> RxFilter:
        """What the socket has, which nobody can ask it."""
        kinds = {each.type for each in self._held}
        return RxFilter(
            promisc=_PACKET_MR_PROMISC in kinds,
            allmulti=_PACKET_MR_ALLMULTI in kinds,
            multicast=self._macs(_PACKET_MR_MULTICAST),
            unicast=self._macs(_PACKET_MR_UNICAST),
        )

    def _macs(self, kind: int) -> frozenset[str]:
        return frozenset(each.mac for each in self._held if each.type == kind)

    @property
    def same(self) -> bool:
        """Whether the interface still exists and is the one it was, whatever its name.

        The kernel unbinds the socket of an interface that goes; a later one of the same
        ifindex, or the same name, is not bound to it.
        """
        try:
            return ifindex_of(self._socket.getsockname()[0]) == self._ifindex
        except OSError:
            return False

    def close(self) -> None:
        """Drops all memberships."""
        self._socket.close()
        self._held = frozenset()

    def apply(
        self,
        *,
        promisc: bool,
        allmulti: bool,
        multicast: frozenset[str] = frozenset(),
        unicast: frozenset[str] = frozenset(),
    ) -> None:
        """Makes the memberships be these.  LaggError if refused; then nothing changed.

        `multicast` and `unicast` are MAC addresses, "01:00:5e:00:00:01".
        """
        wanted = _memberships(RxFilter(promisc, allmulti, multicast, unicast))
        self._add_all(wanted - self._held)
        for each in self._held - wanted:
            self._change(_PACKET_DROP_MEMBERSHIP, each)
        self._held = wanted

    def _add_all(self, memberships: frozenset[_Membership]) -> None:
        added: list[_Membership] = []
        for each in sorted(memberships):
            try:
                self._change(_PACKET_ADD_MEMBERSHIP, each)
            except OSError as error:
                for other in added:
                    self._change(_PACKET_DROP_MEMBERSHIP, other)
                raise LaggError.of_os(self._name, f"listen to {each}", error) from error
            added.append(each)

    def _change(self, option: int, membership: _Membership) -> None:
        # Dropping never fails, not even when the interface is gone.
        request = membership.request(self._ifindex)
        self._socket.setsockopt(_SOL_PACKET, option, request)
