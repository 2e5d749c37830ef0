# SPDX-License-Identifier: BSD-2-Clause
"""What shapes or filters the frames that leave an interface: tc(8)'s and nft(8)'s.

Owns which of it an AF_XDP socket would pass by to the user's harm.  BPF programs that
are attached without a qdisc (tcx) are told by no netlink request: native/tcx.c.
"""

import contextlib
import errno
import struct
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.nfnetlink import nfgen_msg

from lagg.kernel.netlink.messages import attributes_of
from lagg.kernel.netlink.wire import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    Request,
    Socket,
)
from lagg.kernel.proc import ifindex_of
from lagg.link import EgressRules

HARMLESS = frozenset(
    {"noqueue", "noop", "mq", "pfifo", "bfifo", "pfifo_fast", "fq", "fq_codel", "sfq"}
    | {"ingress"}
)
"""Queueing disciplines that only queue, as the kernel gives to who asks for none, and
the one that is not about what leaves."""

_CLSACT = "clsact"
"""The queueing discipline that has no queue and exists for filters alone."""

OURS = "laggd-port"
"""How the tables of deaf ports begin."""

_RTM_GETQDISC = 38
_TCA_KIND = 1
_TC_AT = 16  # after netlink's own header: struct tcmsg
_IFINDEX = struct.Struct("=4xi12x")

_GETCHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
_NFPROTO_NETDEV = 5
_NFGEN_AT, _NFGEN_BYTES = 16, 4
_CHAIN_TABLE, _CHAIN_HOOK = 1, 4
_HOOK_HOOKNUM, _HOOK_DEV, _HOOK_DEVS = 1, 3, 4
_DEVICE_NAME = 1
_NUMBER = struct.Struct("!I")
_EGRESS = 1

_DUMP = NLM_F_REQUEST | NLM_F_DUMP

_NO_NFTABLES = (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL)
"""A kernel without them answers so: to who opens the socket, or to who asks."""


class Egress:
    """What is in the way of frames that leave, in this thread's namespace."""

    def __init__(self) -> None:
        """Opens what every kernel has.  OSError if refused."""
        self._route = Socket(NETLINK_ROUTE)
        self._netfilter: Socket | None = None

    def close(self) -> None:
        """Closes the sockets."""
        self._route.close()
        if self._netfilter is not None:
            self._netfilter.close()

    async def rules(self) -> EgressRules:
        """All shapers and filters that are not ours, by interface.  OSError."""
        qdiscs = await self._qdiscs()
        shaped = frozenset(
            ifindex for ifindex, kind in qdiscs if kind not in HARMLESS | {_CLSACT}
        )
        filtered = {ifindex for ifindex, kind in qdiscs if kind == _CLSACT}
        return EgressRules(shaped, frozenset(filtered | await self._chained()))

    async def _qdiscs(self) -> set[tuple[int, str]]:
        """The queueing disciplines there are, with their ifindex."""
        answers = await self._route.ask(Request(_AnyQdisc(), _RTM_GETQDISC, _DUMP))
        found = set()
        for raw in answers:
            kind = attributes_of(raw, _TC_AT + _IFINDEX.size).get(_TCA_KIND, b"")
            found.add((int(_IFINDEX.unpack_from(raw, _TC_AT)[0]), _text(kind)))
        return found

    async def _chained(self) -> set[int]:
        """The interfaces with a chain of nftables at their egress hook."""
        try:
            if self._netfilter is None:
                self._netfilter = Socket(NETLINK_NETFILTER)
            answers = await self._netfilter.ask(Request(_chains(), _GETCHAIN, _DUMP))
        except OSError as error:
            if error.errno in _NO_NFTABLES:
                return set()
            raise
        found = set()
        for raw in answers:
            for name in _egress_devices(raw):
                with contextlib.suppress(OSError):  # it has gone meanwhile
                    found.add(ifindex_of(name))
        return found


class _AnyQdisc(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct tcmsg; pyroute2's own loads every discipline, filter and action."""

    fields = tuple((name, "I") for name in ("family", "index", "of", "under", "more"))


def _chains() -> Any:
    message = nfgen_msg()
    message["nfgen_family"] = _NFPROTO_NETDEV
    return message


def _egress_devices(raw: bytes) -> list[str]:
    """The devices at whose egress hook a chain is that is not ours."""
    chain = attributes_of(raw, _NFGEN_AT + _NFGEN_BYTES)
    hook = attributes_of(chain.get(_CHAIN_HOOK, b""), 0)
    number = hook.get(_HOOK_HOOKNUM)
    if _text(chain.get(_CHAIN_TABLE, b"")).startswith(OURS) or number is None:
        return []
    if _NUMBER.unpack(number)[0] != _EGRESS:
        return []
    names = [hook[_HOOK_DEV]] if _HOOK_DEV in hook else _devices(hook)
    return [_text(name) for name in names]


def _devices(hook: dict[int, bytes]) -> list[bytes]:
    """The interfaces that a list names, whose members are all of one kind."""
    nested, found, offset = hook.get(_HOOK_DEVS, b""), [], 0
    while offset + 4 <= len(nested):
        length, kind = struct.unpack_from("=HH", nested, offset)
        if length < 4:
            break
        if kind == _DEVICE_NAME:
            found.append(nested[offset + 4 : offset + length])
        offset += (length + 3) & ~3
    return found


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="surrogateescape")
