# SPDX-License-Identifier: BSD-2-Clause
"""Who speaks by the interfaces of a namespace: IP addresses and forwarding tables.

Owns a socket for the time of one listing, which may be made in any thread: there are as
many entries as a network has hosts, and the event loop must not wait for them.  So they
are decoded by hand, too.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager

from lagg.errors import LaggError
from lagg.kernel.netlink.messages import (
    RTM_GETADDR,
    RTM_GETLINK,
    attributes_of,
    each_attribute,
    host_address_of,
)
from lagg.kernel.netlink.wire import (
    NETLINK_ROUTE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    Socket,
    raise_refusal,
)
from lagg.link import BridgePort, FdbEntry, HostAddress, Neighbour, Stations

_RTM_GETNEIGH = 30
_AF_UNSPEC, _AF_BRIDGE, _AF_INET6 = 0, 7, 10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3

_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BxxxI")  # family, ifindex
_NDMSG = struct.Struct("=B3xiHBB")  # family, ifindex, state, flags, type
_IFINFOMSG = struct.Struct("=BxHiII")  # family, ARPHRD, ifindex, flags, change
_EXT_MASK = struct.Struct("=HHI")
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
_VLAN_INFO = struct.Struct("=HH")  # flags, id

_NDA_DST, _NDA_LLADDR, _NDA_VLAN, _NDA_MASTER = 1, 2, 5, 9
_NUD_PERMANENT = 0x80
_NUD_ANSWERED = 0x02 | 0x04 | 0x08 | 0x10 | _NUD_PERMANENT  # as far as one knows
_IFLA_PROTINFO, _IFLA_INET6_CONF, _BRPORT_STATE, _FORWARDING = 12, 2, 1, 3
_IFLA_AF_SPEC, _IFLA_EXT_MASK, _IFLA_BRIDGE_VLAN_INFO = 26, 29, 2
_RTEXT_FILTER_BRVLAN = 2
_BRIDGE_VLAN_INFO_UNTAGGED = 0x4


def stations() -> Stations:
    """All of this thread's namespace, each once.  LaggError.

    What changes meanwhile may be there or not.  The kernel counts its way through a
    list: whenever it hands out the next part, it tells the last of the part before
    again if something has come to the front since.
    """
    with _listing("list who speaks") as source:
        addresses: defaultdict[int, tuple[HostAddress, ...]] = defaultdict(tuple)
        for ifindex, address in dict.fromkeys(_addresses(source)):
            addresses[ifindex] += (address,)
        macs = tuple(dict.fromkeys(_entries(source)))
        bridges = any(each.master for each in macs)
        ports = dict(_bridge_ports(source)) if bridges else {}
        routers = frozenset(_routers(source))
        return Stations(dict(addresses), routers, macs, ports)


def neighbours() -> list[Neighbour]:
    """The hosts that answered when they were asked last, as stations() lists."""
    with _listing("list neighbours") as source:
        return [*dict.fromkeys(_neighbours(source))]


@contextmanager
def _listing(what: str) -> Iterator[Socket]:
    """A socket for one listing.  LaggError says what for, when the kernel refuses."""
    try:
        with closing(Socket(NETLINK_ROUTE)) as source:
            yield source
    except OSError as error:
        raise LaggError.of_os("netlink", what, error) from error


def _neighbours(source: Socket) -> Iterator[Neighbour]:
    for raw in _dump(source, _RTM_GETNEIGH, _NDMSG.pack(_AF_UNSPEC, 0, 0, 0, 0)):
        _, ifindex, state, _, _ = _NDMSG.unpack_from(raw, _HEADER.size)
        found = attributes_of(raw, _HEADER.size + _NDMSG.size)
        address, mac = (found.get(each, b"") for each in (_NDA_DST, _NDA_LLADDR))
        is_host = len(address) in (4, 16) and len(mac) == 6 and not mac[0] & 1
        if is_host and state & _NUD_ANSWERED:
            yield Neighbour(ifindex, address, mac.hex(":"))


def _dump(source: Socket, kind: int, body: bytes) -> Iterator[bytes]:
    """The answers, whole."""
    size, flags = _HEADER.size + len(body), NLM_F_REQUEST | NLM_F_DUMP
    source.send(_HEADER.pack(size, kind, flags, kind, 0) + body)
    while True:
        for message in source.receive_now():
            if message.kind in (_NLMSG_ERROR, _NLMSG_DONE):
                raise_refusal(message)
                return
            yield message.raw


def _addresses(source: Socket) -> Iterator[tuple[int, HostAddress]]:
    for raw in _dump(source, RTM_GETADDR, _IFADDRMSG.pack(_AF_UNSPEC, 0)):
        found = host_address_of(raw)
        if found is not None:
            yield found


def _routers(source: Socket) -> Iterator[int]:
    """The interfaces on which IPv6 forwards; no link tells that it began to."""
    body = _IFINFOMSG.pack(_AF_INET6, 0, 0, 0, 0)
    for raw in _dump(source, RTM_GETLINK, body):
        _, _, ifindex, _, _ = _IFINFOMSG.unpack_from(raw, _HEADER.size)
        found = attributes_of(raw, _HEADER.size + _IFINFOMSG.size)
        conf = attributes_of(found.get(_IFLA_PROTINFO, b""), 0).get(_IFLA_INET6_CONF)
        if conf is not None and _U32.unpack_from(conf)[0]:
            yield ifindex


def _entries(source: Socket) -> Iterator[FdbEntry]:
    """The MACs that bridges know, and that interfaces let in beside their own."""
    body = _NDMSG.pack(_AF_BRIDGE, 0, 0, 0, 0)
    for raw in _dump(source, _RTM_GETNEIGH, body):
        _, ifindex, state, _, _ = _NDMSG.unpack_from(raw, _HEADER.size)
        found = attributes_of(raw, _HEADER.size + _NDMSG.size)
        mac = found.get(_NDA_LLADDR, b"")
        if len(mac) != 6 or mac[0] & 1:
            continue
        yield FdbEntry(
            ifindex,
            mac.hex(":"),
            _U32.unpack(found[_NDA_MASTER])[0] if _NDA_MASTER in found else 0,
            _U16.unpack_from(found[_NDA_VLAN])[0] if _NDA_VLAN in found else 0,
            local=bool(state & _NUD_PERMANENT),
        )


def _bridge_ports(source: Socket) -> Iterator[tuple[int, BridgePort]]:
    body = _IFINFOMSG.pack(_AF_BRIDGE, 0, 0, 0, 0)
    body += _EXT_MASK.pack(_EXT_MASK.size, _IFLA_EXT_MASK, _RTEXT_FILTER_BRVLAN)
    for raw in _dump(source, RTM_GETLINK, body):
        _, _, ifindex, _, _ = _IFINFOMSG.unpack_from(raw, _HEADER.size)
        inside = attributes_of(raw, _HEADER.size + _IFINFOMSG.size)
        state = attributes_of(inside.get(_IFLA_PROTINFO, b""), 0).get(_BRPORT_STATE)
        forwards = state is None or state[0] == _FORWARDING
        yield ifindex, BridgePort(forwards, _tagged(inside.get(_IFLA_AF_SPEC, b"")))


def _tagged(spec: bytes) -> dict[int, bool]:
    """By which VLANs frames leave a port, and whether with their tag."""
    found = each_attribute(spec, 0)
    said = [_VLAN_INFO.unpack(v) for k, v in found if k == _IFLA_BRIDGE_VLAN_INFO]
    return {vlan: not flags & _BRIDGE_VLAN_INFO_UNTAGGED for flags, vlan in said}
