# SPDX-License-Identifier: BSD-2-Clause
"""The generic netlink families we ask: ethtool for link modes and features, nl80211.

Owns their numbers.  Names an interface by its index, so a rename cannot mislead it,
and reads no /sys, which may show another network namespace.
"""

import errno
import struct
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, ctrlmsg

from lagg.kernel.netlink.bodies import Ethtool, Features, LinkModes, Wireless
from lagg.kernel.netlink.messages import attributes_of, decode
from lagg.kernel.netlink.wire import NETLINK_GENERIC, Request, Socket
from lagg.link import Modes, Offload

_GENL_ID_CTRL = 0x10
_CTRL_CMD_GETFAMILY = 3

GENL_BYTES = 20  # the netlink header, then its own
ETHTOOL = "ethtool"
_ETHTOOL_VERSION = 1
_LINKMODES_GET, _LINKMODES_SET = 4, 5  # ETHTOOL_MSG_*
_FEATURES_GET, _FEATURES_SET = 11, 12
_CHANNELS_GET = 17
_FEATURES_ACTIVE = 4  # ETHTOOL_A_*
_CHANNELS_TX, _CHANNELS_COMBINED = 7, 9
_COUNT = struct.Struct("=I")
_LINKMODES_SPEED, _LINKMODES_DUPLEX = 5, 6
_HEADER = 1  # of each answer
_HEADER_DEV_INDEX = 1
_VLAN_FILTERS = (b"rx-vlan-filter\0", b"rx-vlan-stag-filter\0")

_NL80211 = "nl80211"
_GET_INTERFACE = 5  # NL80211_CMD_*

_SPEED_UNKNOWN = 0xFFFFFFFF
_DUPLEX_HALF, _DUPLEX_FULL = 0, 1


class Generic:
    """Requests to generic netlink families, which have a number only at run time."""

    def __init__(self) -> None:
        """Opens the socket.  OSError if refused."""
        self._socket = Socket(NETLINK_GENERIC)
        self._families: dict[str, int] = {}

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    async def modes(self, ifindex: int) -> Modes:
        """What ethtool says of an interface."""
        body = _ethtool(LinkModes, _LINKMODES_GET, ifindex)
        try:
            answers = await self._ask(ETHTOOL, body)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a driver without any speed
                return Modes()
            raise
        return _modes_of(attributes_of(answers[0], GENL_BYTES))

    async def modes_by_link(self) -> dict[int, Modes]:
        """What modes() says of each interface; one without any speed is left out."""
        answers = await self._list(_ethtool(LinkModes, _LINKMODES_GET))
        return {_ifindex_of(each): _modes_of(each) for each in answers}

    async def set_modes(self, ifindex: int, modes: Modes) -> None:
        """Sets speed and duplex without negotiation, as a TAP allows."""
        duplex = _DUPLEX_FULL if modes.full_duplex else _DUPLEX_HALF
        body = _ethtool(LinkModes, _LINKMODES_SET, ifindex)
        body["attrs"] += [
            ("AUTONEG", 0),
            ("SPEED", modes.speed_mbps or _SPEED_UNKNOWN),
            ("DUPLEX", duplex),
        ]
        await self._ask(ETHTOOL, body)

    async def filters_vlans(self, ifindex: int) -> bool:
        """Whether the driver's VLAN filter, of either kind of tag, is on."""
        active = await self._features(ifindex)
        return any(each in active for each in _VLAN_FILTERS)

    async def offloads(self, ifindex: int) -> tuple[Offload, ...]:
        """Which receive offloads of an interface are on."""
        active = await self._features(ifindex)
        return tuple(each for each in Offload if f"{each}\0".encode() in active)

    async def set_offload(self, ifindex: int, offload: Offload, on: bool) -> None:
        """Sets one offload; OSError(EOPNOTSUPP) if the driver leaves it as it is."""
        await self._wish(ifindex, offload, on)
        # Of what is fixed, and of what a driver refuses, no errno tells.
        if (offload in await self.offloads(ifindex)) is not on:
            # Else the kernel asks the driver again with each change of another one.
            await self._wish(ifindex, offload, not on)
            raise OSError(errno.EOPNOTSUPP, "the driver leaves it as it is")

    async def _wish(self, ifindex: int, feature: str, on: bool) -> None:
        bit: list[tuple[str, object]] = [("NAME", feature)]
        if on:
            bit += [("VALUE", True)]
        bits = {"attrs": [("BIT", {"attrs": bit})]}
        wanted = {"attrs": [("BITS", bits)]}
        body = _ethtool(Features, _FEATURES_SET, ifindex)
        body["attrs"] += [("WANTED", wanted)]
        await self._ask(ETHTOOL, body)

    async def _features(self, ifindex: int) -> bytes:
        """The part of an answer that names the features that are on, NUL after each."""
        # The list is long, so that it is not decoded.
        body = _ethtool(Ethtool, _FEATURES_GET, ifindex)
        try:
            (answer, *_) = await self._ask(ETHTOOL, body)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
                return b""
            raise
        return attributes_of(answer, GENL_BYTES)[_FEATURES_ACTIVE]

    async def transmit_queues(self, ifindex: int) -> int | None:
        """An interface's transmit queues, or None when its driver does not say."""
        body = _ethtool(Ethtool, _CHANNELS_GET, ifindex)
        try:
            (answer, *_) = await self._ask(ETHTOOL, body)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
                return None
            raise
        return _transmit_queues_of(attributes_of(answer, GENL_BYTES))

    async def transmit_queues_by_link(self) -> dict[int, int]:
        """The transmit queues of each interface whose driver says how many."""
        try:
            answers = await self._list(_ethtool(Ethtool, _CHANNELS_GET))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # Linux 5.6
                return {}
            raise
        return {_ifindex_of(each): _transmit_queues_of(each) for each in answers}

    async def wireless(self, ifindex: int) -> bool:
        """Whether cfg80211 knows the interface."""
        body = Wireless()
        body["cmd"] = _GET_INTERFACE
        body["attrs"] = [("IFINDEX", ifindex)]
        try:
            await self._ask(_NL80211, body)
        except OSError as error:
            # No such family in this kernel, or not an interface of that family.
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
                return False
            raise
        return True

    async def _list(self, body: Any) -> list[dict[int, bytes]]:
        """What ethtool answers of each interface, by attribute and not decoded.

        Of modes a real NIC lists a hundred.
        """
        number = await self._family(ETHTOOL)
        listing = Request(body, number, NLM_F_REQUEST | NLM_F_DUMP)
        answers = await self._socket.ask(listing)
        return [attributes_of(answer, GENL_BYTES) for answer in answers]

    async def _ask(self, family: str, body: Any) -> list[bytes]:
        return await self._socket.ask(Request(body, await self._family(family)))

    async def _family(self, name: str) -> int:
        """The number of a family.  OSError(ENOENT) if this kernel has none."""
        if name not in self._families:
            found = await family(self._socket, name)
            self._families[name] = int(found.get_attr("CTRL_ATTR_FAMILY_ID"))
        return self._families[name]


async def family(asked: Socket, name: str) -> Any:
    """What the kernel says of a family.  OSError(ENOENT) if it has none."""
    body = ctrlmsg()
    body["cmd"] = _CTRL_CMD_GETFAMILY
    body["version"] = 1
    body["attrs"] = [("CTRL_ATTR_FAMILY_NAME", name)]
    (answer, *_) = await asked.ask(Request(body, _GENL_ID_CTRL))
    return decode(ctrlmsg, answer)


def _transmit_queues_of(answer: dict[int, bytes]) -> int:
    counts = (answer.get(kind) for kind in (_CHANNELS_TX, _CHANNELS_COMBINED))
    return sum(0 if c is None else int(_COUNT.unpack(c)[0]) for c in counts)


def _ifindex_of(answer: dict[int, bytes]) -> int:
    header = attributes_of(answer[_HEADER], 0)
    return int(_COUNT.unpack(header[_HEADER_DEV_INDEX])[0])


def _modes_of(answer: dict[int, bytes]) -> Modes:
    speed, duplex = answer.get(_LINKMODES_SPEED), answer.get(_LINKMODES_DUPLEX)
    mbps = _SPEED_UNKNOWN if speed is None else int(_COUNT.unpack(speed)[0])
    return Modes(
        speed_mbps=0 if mbps == _SPEED_UNKNOWN else mbps,
        full_duplex=duplex is None or duplex[0] != _DUPLEX_HALF,
    )


def _ethtool(kind: Any, command: int, ifindex: int | None = None) -> Any:
    """Asks about one interface, or all: with a header, too, for Linux before 6.6."""
    body = kind()
    body["cmd"] = command
    body["version"] = _ETHTOOL_VERSION
    which = [] if ifindex is None else [("DEV_INDEX", ifindex)]
    body["attrs"] = [("HEADER", {"attrs": which})]
    return body
