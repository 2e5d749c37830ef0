# SPDX-License-Identifier: BSD-2-Clause
"""rtnetlink messages to values and back, through pyroute2's codecs.

Owns which attribute means what.  Knows no socket; no pyroute2 value leaves the package.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any

from pyroute2.netlink.exceptions import NetlinkDecodeError
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from lagg.link import (
    FOREVER_S,
    Address,
    AddrGenMode,
    HostAddress,
    Link,
    Reception,
    Segments,
)

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWMULTICAST = 56
RTM_DELMULTICAST = 57
RTM_NEWLINKPROP = 108
RTM_DELLINKPROP = 109

RTM_DELROUTE = 25
RTM_GETROUTE = 26

RT_TABLE_MAIN = 254
_RTPROT_KERNEL = 2
_RTPROT_RA = 9

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

_GETLINK = struct.Struct("=IHHIIBxHiIIHHI")
_NLM_F_REQUEST = 0x1
_AF_UNSPEC = 0
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 8  # cheaper: 8 us

_IFINFO_BYTES = 32  # the netlink header, then its own
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_NESTED = 0x8000
_VALUE = struct.Struct("=I")
_IFINFO = struct.Struct("=18xHiI4x")  # behind the header and the family
_TX_DROPPED = struct.Struct("=Q")
_IFLA_MIN_MTU, _IFLA_MAX_MTU = 50, 51
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_OPERSTATE, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_STATS64 = 16, 18, 20, 23
_IFLA_AF_SPEC, _IFLA_PROMISCUITY, _IFLA_NUM_TX_QUEUES = 26, 30, 31
_IFLA_GSO_MAX_SEGS, _IFLA_GSO_MAX_SIZE = 40, 41
_IFLA_LINK_NETNSID, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 37, 52, 53
_IFLA_PERM_ADDRESS, _IFLA_ALLMULTI = 54, 61
_IFLA_INFO_KIND = 1
_IFADDR = struct.Struct("=16xBxBxI")  # header; family, flags, ifindex
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_AF_INET6, _IFLA_INET6_CONF, _IFLA_INET6_ADDR_GEN_MODE = 10, 2, 8

_OPERSTATES = {
    0: "UNKNOWN",
    1: "NOTPRESENT",
    2: "DOWN",
    3: "LOWERLAYERDOWN",
    4: "TESTING",
    5: "DORMANT",
    6: "UP",
}
"""RFC 2863's, by IF_OPER_*."""

NO_MAC = "00:00:00:00:00:00"


def decode(body: Any, raw: bytes) -> Any:
    """`raw` as pyroute2 message of class `body`.  OSError(EBADMSG) if it is none."""
    message = body(raw)
    try:
        message.decode()
    except NetlinkDecodeError as error:
        raise OSError(errno.EBADMSG, "the kernel's message makes no sense") from error
    return message


def link_of(raw: bytes) -> Link | None:
    """The interface a link message describes; None when it tells only a part.

    Wireless extensions send link messages that hold a name and nothing else.  By hand,
    for of thousands of interfaces it takes pyroute2 seconds.  OSError(EBADMSG) when the
    message makes no sense.
    """
    try:
        return _link_of(raw)
    except (struct.error, IndexError) as error:
        raise OSError(errno.EBADMSG, "the kernel's message makes no sense") from error


def _link_of(raw: bytes) -> Link | None:
    arphrd, ifindex, flags = _IFINFO.unpack_from(raw)
    found = attributes_of(raw, _IFINFO_BYTES)
    if _IFLA_MTU not in found or _IFLA_OPERSTATE not in found:
        return None
    inet6 = _within(_within(found, _IFLA_AF_SPEC), _AF_INET6)
    return Link(
        ifindex=ifindex,
        name=_text(found.get(_IFLA_IFNAME)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found, _IFLA_MTU),
        up=bool(flags & IFF_UP),
        lower_up=bool(flags & IFF_LOWER_UP),
        operstate=_OPERSTATES.get(found[_IFLA_OPERSTATE][0], "UNKNOWN"),
        arphrd=arphrd,
        flags=flags,
        kind=_text(_within(found, _IFLA_LINKINFO).get(_IFLA_INFO_KIND)),
        master=_number(found, _IFLA_MASTER),
        # With a namespace id the index counts in that namespace and not in ours.
        lower=0 if _IFLA_LINK_NETNSID in found else _number(found, _IFLA_LINK),
        permanent_mac=_permanent_mac(found),
        promiscuity=_number(found, _IFLA_PROMISCUITY),
        allmulti=_number(found, _IFLA_ALLMULTI),
        addr_gen_mode=_addr_gen_mode(inet6),
        router=bool(_number(inet6, _IFLA_INET6_CONF)),
        alias=_text(found.get(_IFLA_IFALIAS)),
        altnames=_altnames(found),
        queues=_number(found, _IFLA_NUM_TX_QUEUES) or 1,
        mtu_min=_number(found, _IFLA_MIN_MTU),
        mtu_max=_number(found, _IFLA_MAX_MTU),
        segments=_segments(found),
        tx_dropped=_tx_dropped(found),
    )


def _within(found: dict[int, bytes], kind: int) -> dict[int, bytes]:
    """The attributes inside of one."""
    return attributes_of(found.get(kind, b""), 0)


def _number(found: dict[int, bytes], kind: int) -> int:
    """One of 32 bits, or the first of several; 0 when it is not there."""
    return int(_VALUE.unpack_from(found[kind])[0]) if kind in found else 0


def _text(value: bytes | None) -> str:
    return (value or b"").partition(b"\0")[0].decode(errors="surrogateescape")


def _permanent_mac(found: dict[int, bytes]) -> str:
    mac = found.get(_IFLA_PERM_ADDRESS, b"").hex(":")
    return "" if mac == NO_MAC else mac


def _addr_gen_mode(inet6: dict[int, bytes]) -> AddrGenMode | None:
    mode = inet6.get(_IFLA_INET6_ADDR_GEN_MODE)
    return None if mode is None else AddrGenMode(mode[0])


def _altnames(found: dict[int, bytes]) -> tuple[str, ...]:
    """All of them have one kind."""
    raw = found.get(_IFLA_PROP_LIST, b"")
    names = each_attribute(raw, 0)
    return tuple(_text(value) for kind, value in names if kind == _IFLA_ALT_IFNAME)


def _segments(found: dict[int, bytes]) -> Segments | None:
    said = [_number(found, each) for each in (_IFLA_GSO_MAX_SIZE, _IFLA_GSO_MAX_SEGS)]
    return Segments(*said) if all(said) else None


def _tx_dropped(found: dict[int, bytes]) -> int:
    counters = found.get(_IFLA_STATS64)
    return int(_TX_DROPPED.unpack_from(counters, 56)[0]) if counters else 0


def brief_question(ifindex: int) -> bytes:
    """RTM_GETLINK for one interface, without counters, ready to be sent."""
    mask = (8, _IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    kind, flags = RTM_GETLINK, _NLM_F_REQUEST
    size = _GETLINK.size
    return _GETLINK.pack(size, kind, flags, 0, 0, _AF_UNSPEC, 0, ifindex, 0, 0, *mask)


def reception_of(raw: bytes) -> Reception:
    """What the interface of a link message receives by: cheaper than link_of()."""
    found = attributes_of(raw, _IFINFO_BYTES)
    counts = (found.get(kind) for kind in (_IFLA_PROMISCUITY, _IFLA_ALLMULTI))
    return Reception(*(0 if c is None else int(_VALUE.unpack(c)[0]) for c in counts))


def attributes_of(raw: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message from `offset` on, undecoded, by their kind."""
    return dict(each_attribute(raw, offset))


def each_attribute(raw: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """As attributes_of(), also when several have one kind."""
    while offset + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, offset)
        if length < _ATTRIBUTE.size:
            break
        yield kind & ~_NESTED, raw[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def gone_of(raw: bytes) -> tuple[int, str, bool]:
    """What a link message takes leave of: ifindex, name, whether it lives elsewhere."""
    message = decode(ifinfmsg, raw)
    moved = message.get_attr("IFLA_NEW_NETNSID") is not None
    return int(message["index"]), _name(message), moved


def _name(message: Any) -> str:
    return str(message.get_attr("IFLA_IFNAME") or "")


def link_request(ifindex: int, *attributes: tuple[str, object]) -> Any:
    """A link message about one interface, 0 for all, with `attributes`."""
    message = ifinfmsg()
    message["index"] = ifindex
    message["attrs"] = list(attributes)
    return message


def up_request(ifindex: int, up: bool) -> Any:
    """A link message that sets an interface up or down and no other flag."""
    message = link_request(ifindex)
    message["flags"] = IFF_UP if up else 0
    message["change"] = IFF_UP
    return message


def altname_request(ifindex: int, name: str) -> Any:
    """A message about one alternative name, which its kind gives or takes."""
    names = {"attrs": [("IFLA_ALT_IFNAME", name)]}
    return link_request(ifindex, ("IFLA_PROP_LIST", names))


def addr_gen_mode_attribute(mode: AddrGenMode) -> tuple[str, object]:
    """The link attribute that says how IPv6 makes its link-local addresses."""
    inet6 = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", int(mode))]}
    return ("IFLA_AF_SPEC", {"attrs": [("AF_INET6", inet6)]})


def address_of(raw: bytes) -> tuple[int, Address]:
    """The ifindex and the address of an address message."""
    message = decode(ifaddrmsg, raw)
    # On a point-to-point link IFA_ADDRESS is the far end's.
    local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = message.get_attr("IFA_FLAGS")
    lives = message.get_attr("IFA_CACHEINFO") or {}
    return int(message["index"]), Address(
        family=int(message["family"]),
        address=str(local),
        prefixlen=int(message["prefixlen"]),
        scope=int(message["scope"]),
        flags=int(message["flags"] if flags is None else flags),
        proto=int(message.get_attr("IFA_PROTO") or 0),
        valid_s=int(lives.get("ifa_valid", FOREVER_S)),
        preferred_s=int(lives.get("ifa_preferred", FOREVER_S)),
    )


def host_address_of(raw: bytes) -> tuple[int, HostAddress] | None:
    """As address_of(), of what is to be announced; None: it is of another family.

    By hand, as link_of().
    """
    family, flags, ifindex = _IFADDR.unpack_from(raw)
    found = attributes_of(raw, _IFADDR.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or packed is None:
        return None
    flags = _number(found, _IFA_FLAGS) if _IFA_FLAGS in found else flags
    usable = not flags & (_IFA_F_DADFAILED | _IFA_F_TENTATIVE)
    return ifindex, HostAddress(packed, usable)


def address_request(ifindex: int, address: Address | None = None) -> Any:
    """An address message: one address of an interface, or none for a dump."""
    message = ifaddrmsg()
    message["index"] = ifindex
    if address is None:
        return message
    message["family"] = address.family
    message["prefixlen"] = address.prefixlen
    message["scope"] = address.scope
    message["attrs"] = [
        ("IFA_LOCAL", address.address),
        ("IFA_ADDRESS", address.address),
        ("IFA_FLAGS", address.flags),
    ]
    if address.valid_s != FOREVER_S:
        lives = {"ifa_valid": address.valid_s, "ifa_preferred": address.preferred_s}
        message["attrs"] += [("IFA_CACHEINFO", lives | {"cstamp": 0, "tstamp": 0})]
    if address.proto:
        message["attrs"] += [("IFA_PROTO", address.proto)]
    return message


def routes_request(ifindex: int) -> Any:
    """A route message for a dump of the IPv6 routes by one interface."""
    message = rtmsg()
    message["family"] = socket.AF_INET6
    message["table"] = RT_TABLE_MAIN
    message["attrs"] = [("RTA_OIF", ifindex)]
    return message


_ROUTE_KEYS = ("family", "dst_len", "table", "proto", "type")
_ROUTE_ATTRIBUTES = ("RTA_DST", "RTA_GATEWAY", "RTA_OIF", "RTA_PRIORITY")


def kernel_route(raw: bytes) -> Any | None:
    """What names the route of a message; None: it was not the kernel that made it."""
    found = decode(rtmsg, raw)
    if found["proto"] not in (_RTPROT_KERNEL, _RTPROT_RA):
        return None
    message = rtmsg()
    for key in _ROUTE_KEYS:
        message[key] = found[key]
    values = ((key, found.get_attr(key)) for key in _ROUTE_ATTRIBUTES)
    message["attrs"] = [(key, value) for key, value in values if value is not None]
    return message
