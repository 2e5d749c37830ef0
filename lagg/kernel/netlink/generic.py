# SPDX-License-Identifier: BSD-2-Clause
"""The generic netlink families we ask: ethtool for link modes and features, nl80211.

Owns their numbers.  Names an interface by its index, so a rename cannot mislead it,
and reads no /sys, which may show another network namespace.
"""

import errno
import struct
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, ctrlmsg
from pyroute2.netlink.generic.ethtool import (
    ETHTOOL_GENL_NAME,
    ETHTOOL_GENL_VERSION,
    ETHTOOL_MSG_FEATURES_GET,
    ETHTOOL_MSG_FEATURES_SET,
    ETHTOOL_MSG_LINKMODES_GET,
    ETHTOOL_MSG_LINKMODES_SET,
    ethtool_linkmode_msg,
)
from pyroute2.netlink.nl80211 import NL80211_CMD_GET_INTERFACE, nl80211cmd

from lagg.kernel.netlink.messages import attributes_of, decode
from lagg.kernel.netlink.wire import NETLINK_GENERIC, Request, Socket
from lagg.link import Modes, Offload

_GENL_ID_CTRL = 0x10
_CTRL_CMD_GETFAMILY = 3

GENL_BYTES = 20  # the netlink header, then its own
_ETHTOOL_A_FEATURES_WANTED = "ETHTOOL_A_LINKMODES_OURS"  # 3, and a bitset, too
_ETHTOOL_A_FEATURES_ACTIVE = 4
_ETHTOOL_MSG_CHANNELS_GET = 17
_CHANNELS_TX, _CHANNELS_COMBINED = 7, 9
_COUNT = struct.Struct("=I")
_LINKMODES_HEADER, _LINKMODES_SPEED, _LINKMODES_DUPLEX = 1, 5, 6
_HEADER_DEV_INDEX = 1
_VLAN_FILTERS = (b"rx-vlan-filter\0", b"rx-vlan-stag-filter\0")

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
        body = _ethtool(ETHTOOL_MSG_LINKMODES_GET, ifindex)
        try:
            answers = await self._ask(ETHTOOL_GENL_NAME, body)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a driver without any speed
                return Modes()
            raise
        found = decode(ethtool_linkmode_msg, answers[0])
        speed = found.get_attr("ETHTOOL_A_LINKMODES_SPEED")
        return Modes(
            speed_mbps=0 if speed in (None, _SPEED_UNKNOWN) else int(speed),
            full_duplex=found.get_attr("ETHTOOL_A_LINKMODES_DUPLEX") != _DUPLEX_HALF,
        )

    async def modes_by_link(self) -> dict[int, Modes]:
        """What modes() says of each interface; one without any speed is left out."""
        body = ethtool_linkmode_msg()
        body["cmd"] = ETHTOOL_MSG_LINKMODES_GET
        body["version"] = ETHTOOL_GENL_VERSION
        listing = Request(
            body, await self._family(ETHTOOL_GENL_NAME), NLM_F_REQUEST | NLM_F_DUMP
        )
        # Of real NICs each lists a hundred modes, so that they are not decoded.
        parts = (
            attributes_of(answer, GENL_BYTES)
            for answer in await self._socket.ask(listing)
        )
        return {_ifindex_of(part): _modes_of(part) for part in parts}

    async def set_modes(self, ifindex: int, modes: Modes) -> None:
        """Sets speed and duplex without negotiation, as a TAP allows."""
        duplex = _DUPLEX_FULL if modes.full_duplex else _DUPLEX_HALF
        body = _ethtool(ETHTOOL_MSG_LINKMODES_SET, ifindex)
        body["attrs"] += [
            ("ETHTOOL_A_LINKMODES_AUTONEG", 0),
            ("ETHTOOL_A_LINKMODES_SPEED", modes.speed_mbps or _SPEED_UNKNOWN),
            ("ETHTOOL_A_LINKMODES_DUPLEX", duplex),
        ]
        await self._ask(ETHTOOL_GENL_NAME, body)

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
        bit: list[tuple[str, object]] = [("ETHTOOL_A_BITSET_BIT_NAME", feature)]
        if on:
            bit += [("ETHTOOL_A_BITSET_BIT_VALUE", True)]
        bits = {"attrs": [("ETHTOOL_A_BITSET_BITS_BIT", {"attrs": bit})]}
        wanted = {"attrs": [("ETHTOOL_A_BITSET_BITS", bits)]}
        body = _ethtool(ETHTOOL_MSG_FEATURES_SET, ifindex)
        body["attrs"] += [(_ETHTOOL_A_FEATURES_WANTED, wanted)]
        await self._ask(ETHTOOL_GENL_NAME, body)

    async def _features(self, ifindex: int) -> bytes:
        """The part of an answer that names the features that are on, NUL after each."""
        # The list is long, so that it is not decoded.
        body = _ethtool(ETHTOOL_MSG_FEATURES_GET, ifindex)
        try:
            (answer, *_) = await self._ask(ETHTOOL_GENL_NAME, body)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
                return b""
            raise
        return attributes_of(answer, GENL_BYTES)[_ETHTOOL_A_FEATURES_ACTIVE]

    async def transmit_queues(self, ifindex: int) -> int | None:
        """An interface's transmit queues, or None when its driver does not say."""
        body = _ethtool(_ETHTOOL_MSG_CHANNELS_GET, ifindex)
        try:
            (answer, *_) = await self._ask(ETHTOOL_GENL_NAME, body)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
                return None
            raise
        found = attributes_of(answer, GENL_BYTES)
        counts = (found.get(kind) for kind in (_CHANNELS_TX, _CHANNELS_COMBINED))
        return sum(0 if c is None else int(_COUNT.unpack(c)[0]) for c in counts)

    async def wireless(self, ifindex: int) -> bool:
        """Whether cfg80211 knows the interface."""
        body = nl80211cmd()
        body["cmd"] = NL80211_CMD_GET_INTERFACE
        body["attrs"] = [("NL80211_ATTR_IFINDEX", ifindex)]
        try:
            await self._ask("nl80211", body)
        except OSError as error:
            # No such family in this kernel, or not an interface of that family.
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
                return False
            raise
        return True

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


def _ifindex_of(answer: dict[int, bytes]) -> int:
    header = attributes_of(answer[_LINKMODES_HEADER], 0)
    return int(_COUNT.unpack(header[_HEADER_DEV_INDEX])[0])


def _modes_of(answer: dict[int, bytes]) -> Modes:
    speed, duplex = answer.get(_LINKMODES_SPEED), answer.get(_LINKMODES_DUPLEX)
    mbps = _SPEED_UNKNOWN if speed is None else int(_COUNT.unpack(speed)[0])
    return Modes(
        speed_mbps=0 if mbps == _SPEED_UNKNOWN else mbps,
        full_duplex=duplex is None or duplex[0] != _DUPLEX_HALF,
    )


def _ethtool(command: int, ifindex: int) -> Any:
    # Of another command's message this is one, too: an attribute is but a number, and
    # that of the header is the same.
    body = ethtool_linkmode_msg()
    body["cmd"] = command
    body["version"] = ETHTOOL_GENL_VERSION
    header = {"attrs": [("ETHTOOL_A_HEADER_DEV_INDEX", ifindex)]}
    body["attrs"] = [("ETHTOOL_A_LINKMODES_HEADER", header)]
    return body
