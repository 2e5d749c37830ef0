# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's interfaces, addresses and their changes as frozen values.

Owns what "active" means (F-ACT-1).  Knows no netlink message, socket or clock.
"""

import enum
import socket
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Annotated

from lagg.frozen import dataclass
from lagg.lacp.values import U16, U32, Count, Mac

IFF_LOOPBACK = 0x8

Ifindex = Annotated[int, range(1, 1 << 31)]

OPERSTATES_USABLE = frozenset({"UP", "UNKNOWN"})
"""RFC 2863 states that carry frames; dormant and testing do not (H-58)."""


class AddrGenMode(enum.IntEnum):
    """How IPv6 makes link-local addresses on an interface (IN6_ADDR_GEN_MODE_*)."""

    EUI64 = 0
    NONE = 1
    STABLE_PRIVACY = 2
    RANDOM = 3

    @classmethod
    def _missing_(cls, value: object) -> "AddrGenMode":
        """A mode that only a later kernel knows: it is put back as it was found."""
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no IN6_ADDR_GEN_MODE")
        mode = int.__new__(cls, value)
        mode._name_, mode._value_ = f"MODE_{value}", value
        return mode


class Offload(enum.StrEnum):
    """Receive offloads that make of frames what packet(7) cannot describe.

    Under ethtool(8)'s names.
    """

    GRO_LIST = "rx-gro-list"
    UDP_GRO_FORWARDING = "rx-udp-gro-forwarding"
    LRO = "rx-lro"


@dataclass(frozen=True, slots=True)
class Segments:
    """The most that a frame may be which the kernel or a NIC is to segment (GSO)."""

    bytes_max: U32
    count_max: U32

    @classmethod
    def least(cls, found: "Iterable[Segments | None]") -> "Segments | None":
        """What all of these take, and a TAP; None: nobody says anything."""
        said = [each for each in found if each is not None]
        if not said:
            return None
        return cls(
            min(_TAP_BYTES_MAX, *(each.bytes_max for each in said)),
            min(_TAP_COUNT_MAX, *(each.count_max for each in said)),
        )


_TAP_BYTES_MAX, _TAP_COUNT_MAX = 65_536, 65_535
"""The kernel's usual limits (TSO_LEGACY_MAX_SIZE, TSO_MAX_SEGS), which a TAP has."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface of this network namespace as the kernel last described it."""

    ifindex: Ifindex
    name: str
    mac: str  # "02:00:5e:00:53:01"; "" when it has no hardware address
    mtu: U32  # bytes
    up: bool  # IFF_UP
    lower_up: bool  # carrier
    operstate: str  # "UP", "DOWN", "LOWERLAYERDOWN", "DORMANT", ...
    arphrd: U16  # ARPHRD_*, 1 for Ethernet
    flags: U32 = 0  # IFF_*, all of them
    kind: str = ""  # "veth", "tun", "vlan", ...; "" for hardware
    master: U32 = 0  # ifindex, 0: none
    lower: U32 = 0  # ifindex of what it stands on, or a veth's peer; 0: not here
    permanent_mac: str = ""  # burnt in; "" when it has none
    promiscuity: U32 = 0  # references
    allmulti: U32 = 0  # references
    addr_gen_mode: Annotated[AddrGenMode, range(256)] | None = None  # None: IPv6 is off
    router: bool = False  # IPv6 forwards what comes in here
    alias: str = ""
    altnames: tuple[str, ...] = ()
    queues: U32 = 1  # to transmit by, the most that it can have
    mtu_min: U32 = 0  # bytes that its driver takes
    mtu_max: U32 = 0  # 0: it does not say
    segments: Segments | None = None  # None: the kernel does not say
    # A counter is no change of the link, so it does not count in comparisons.
    tx_dropped: Count = field(default=0, compare=False)

    @property
    def active(self) -> bool:
        """Whether it is administratively up, with carrier, and not dormant (H-58)."""
        return self.up and self.lower_up and self.operstate in OPERSTATES_USABLE

    @property
    def loopback(self) -> bool:
        """The namespace's own loopback interface."""
        return bool(self.flags & IFF_LOOPBACK)


@dataclass(frozen=True, slots=True)
class Reception:
    """Who wants more of an interface than what is for its MAC; references."""

    promiscuity: int
    allmulti: int


@dataclass(frozen=True, slots=True)
class RxFilter:
    """What a port is to let in besides what is for its MAC."""

    promisc: bool = False
    allmulti: bool = False
    multicast: frozenset[Mac] = frozenset()  # groups
    unicast: frozenset[Mac] = frozenset()


@dataclass(frozen=True, slots=True)
class Modes:
    """What a link has settled on with its other end, as ethtool(8) tells it."""

    speed_mbps: U32 = 0  # 0 when unknown
    full_duplex: bool = True  # also when unknown


IFA_F_TEMPORARY = 0x01  # of an IPv6 address
IFA_F_NODAD = 0x02
IFA_F_PERMANENT = 0x80  # without an end
IFA_F_MANAGETEMPADDR = 0x100
IFAPROT_KERNEL_RA = 2

FOREVER_S = 0xFFFFFFFF
"""The lifetime of an address that has no end."""


@dataclass(frozen=True, slots=True)
class Address:
    """One IP address of an interface."""

    family: int  # AF_INET or AF_INET6
    address: str
    prefixlen: int  # bits
    scope: int  # RT_SCOPE_*
    flags: int  # IFA_F_*
    proto: int = 0  # IFAPROT_*, since Linux 5.18; 0: nobody said
    # Seconds from when it was described, so no part of what the address is.
    valid_s: int = field(default=FOREVER_S, compare=False)
    preferred_s: int = field(default=FOREVER_S, compare=False)

    @property
    def link_local(self) -> bool:
        """An IPv6 link-local address, such as the kernel makes by itself."""
        return self.family == socket.AF_INET6 and self.scope == RT_SCOPE_LINK

    @property
    def advertised(self) -> bool:
        """An IPv6 address that was made of a router's advertisement (SLAAC)."""
        if self.family != socket.AF_INET6:
            return False
        if self.proto:
            return self.proto == IFAPROT_KERNEL_RA
        managed = self.flags & (IFA_F_MANAGETEMPADDR | IFA_F_TEMPORARY)
        return bool(managed) and not self.flags & IFA_F_PERMANENT

    @property
    def self_made(self) -> bool:
        """Whether the kernel made it by itself, so that nobody misses it on a port."""
        return self.link_local or self.advertised

    @property
    def temporary(self) -> bool:
        """A privacy address: the kernel makes it with, and of, an advertised one."""
        return bool(self.flags & IFA_F_TEMPORARY) and self.advertised

    def later(self, elapsed_s: int) -> "Address | None":
        """The address so many seconds later; None when it is valid no more."""
        valid_s = _left_s(self.valid_s, elapsed_s)
        if valid_s == 0:
            return None
        preferred_s = _left_s(self.preferred_s, elapsed_s)
        return replace(self, valid_s=valid_s, preferred_s=preferred_s)

    def __str__(self) -> str:
        """The address as ip(8) wants it: 192.0.2.1/24."""
        return f"{self.address}/{self.prefixlen}"


def _left_s(lifetime_s: int, elapsed_s: int) -> int:
    return FOREVER_S if lifetime_s == FOREVER_S else max(lifetime_s - elapsed_s, 0)


RT_SCOPE_LINK = 253


@dataclass(frozen=True, slots=True)
class HostAddress:
    """One IP address of an interface, as far as it is to be announced."""

    packed: bytes  # 4 bytes or 16
    usable: bool = True  # not yet to be proven, and not somebody else's


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A host on a link, as `ip neigh` shows it."""

    ifindex: int  # by which it is reached
    packed: bytes  # its address, 4 bytes or 16
    mac: str


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """A MAC that is reached by an interface, as `bridge fdb` shows it."""

    ifindex: Ifindex
    mac: str
    master: int = 0  # the bridge that knows it; 0: it is the interface's own
    vlan: int = 0  # 0: none
    local: bool = False  # of the bridge's own host


@dataclass(frozen=True, slots=True)
class BridgePort:
    """What a bridge does with frames that are to leave by one of its ports."""

    forwards: bool = True  # spanning tree lets it
    # The VLANs that it lets through, where it filters them, and which with their tag.
    tagged: Mapping[int, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stations:
    """Who speaks by which interface of a namespace, all at one moment."""

    addresses: Mapping[int, tuple[HostAddress, ...]] = field(default_factory=dict)
    routers: frozenset[int] = frozenset()  # that forward IPv6
    macs: tuple[FdbEntry, ...] = ()
    bridge_ports: Mapping[int, BridgePort] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """An IP multicast group that an interface has joined."""

    packed: bytes  # 4 bytes or 16
    version: int  # of IGMP, 1 to 3, or of MLD, by which the kernel reports it
    sources: tuple[bytes, ...] = ()  # from which it is wanted; none: from any


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An interface appeared or changed; `link` describes it."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkGone:
    """An interface was deleted or moved to another network namespace."""

    ifindex: int
    name: str
    moved: bool = False


@dataclass(frozen=True, slots=True)
class MulticastChanged:
    """An IP multicast group was joined or left on this interface."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class AddressCame:
    """An IP address was given to this interface, or changed."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class AddressGone:
    """An IP address of this interface was taken away."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class Overrun:
    """Events were lost: dump the links and reconcile."""


LinkEvent = (
    LinkChanged | LinkGone | MulticastChanged | AddressCame | AddressGone | Overrun
)


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What decides about frames as they leave an interface, by ifindex."""

    shaped: frozenset[int] = frozenset()
    filtered: frozenset[int] = frozenset()
