# SPDX-License-Identifier: BSD-2-Clause
"""Deaf ports: the host stack gets none of their frames, packet sockets get all.

Owns one nftables table of the netdev family and a chain in it for each port, hooked at
ingress with policy drop.  The table belongs to our socket (NFT_TABLE_F_OWNER): nobody
else can change it, and the kernel removes it when the socket closes, even by SIGKILL.
Knows no port but by ifindex and name.
"""

import asyncio
import errno
from types import TracebackType
from typing import Any, Self

from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg, nft_table_msg

from lagg.errors import LaggError
from lagg.netlink.wire import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Request,
    Socket,
)
from lagg.proc import ifindex_of

_SUBSYS_NFTABLES = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEWTABLE = _SUBSYS_NFTABLES << 8 | 0
_NEWCHAIN = _SUBSYS_NFTABLES << 8 | 3
_DELCHAIN = _SUBSYS_NFTABLES << 8 | 5

_NFPROTO_NETDEV = 5
_HOOK_INGRESS = 0
_POLICY_DROP = 0
_TABLE_OWNER = 0x2  # since Linux 5.12
_FIRST = -(1 << 31)
"""The hook priority: before whatever else listens at ingress."""

_QUIET = NLM_F_REQUEST
_CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL

_LACKING = {
    errno.EPROTONOSUPPORT: "CONFIG_NETFILTER_NETLINK",
    errno.EOPNOTSUPP: "nf_tables with CONFIG_NF_TABLES_NETDEV",
    errno.EAFNOSUPPORT: "nf_tables with CONFIG_NF_TABLES_NETDEV",
}
"""What the kernel lacks when it answers so."""


class DeafPorts:
    """The deaf ports of this daemon; an async context manager."""

    def __init__(self) -> None:
        """Asks nothing of the kernel until there is a port."""
        self._socket: Socket | None = None
        self._opening = asyncio.Lock()
        self._table = ""
        self._chains: dict[int, str] = {}  # by ifindex
        self._chains_made = 0

    async def __aenter__(self) -> Self:
        """Nothing to open yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """All ports hear again."""
        self.close()

    def close(self) -> None:
        """All ports hear again, at once."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._chains.clear()

    async def deafen(self, ifindex: int, name: str) -> None:
        """Makes a port deaf.  LaggError if the kernel cannot; then nothing changed.

        To be called again after a rename: since Linux 6.16 a hook follows the name,
        leaves a port that no longer bears it and takes the next that does.
        """
        self._chains_made += 1
        chain = f"port{ifindex}.{self._chains_made}"
        try:
            await _batch(await self._opened(), _new_chain(self._table, chain, name))
            await self._check_hooked(ifindex, name, chain)
        except OSError as error:
            raise _refusal(name, error) from error
        # The new chain is hooked already, so nothing is heard while the old one goes.
        await self.undeafen(ifindex)
        self._chains[ifindex] = chain

    async def _check_hooked(self, ifindex: int, name: str, chain: str) -> None:
        """Takes the chain back and raises OSError if `name` is not the port's name."""
        # Since Linux 6.16 a hook for a name that nobody bears is no error.
        try:
            if ifindex_of(name) == ifindex:
                return
        except OSError:
            pass
        await _batch(await self._opened(), _delete_chain(self._table, chain))
        raise OSError(errno.ENODEV, "the port has another name by now")

    async def undeafen(self, ifindex: int) -> None:
        """Lets the host stack hear a port again; no matter if it was deaf.

        To be called for a port that is gone, too, or its name would stay deaf.
        """
        chain = self._chains.pop(ifindex, None)
        if chain is None:
            return
        try:
            await _batch(await self._opened(), _delete_chain(self._table, chain))
        except OSError as error:
            # Before Linux 6.16 a chain goes with its only interface.
            if error.errno != errno.ENOENT:
                raise LaggError.of_os(chain, "let the port hear", error) from error

    async def _opened(self) -> Socket:
        """The socket that owns our table."""
        async with self._opening:
            return self._socket or await self._open()

    async def _open(self) -> Socket:
        owner = Socket(NETLINK_NETFILTER)
        # The port is unique in the namespace; a pid need not be.
        self._table = f"laggd-{owner.port}"
        try:
            await _batch(owner, _new_table(self._table))
        except BaseException:
            owner.close()
            raise
        self._socket = owner
        return owner


async def _batch(owner: Socket, change: Request) -> None:
    """One change as a transaction, the only way nftables takes one."""
    begin = Request(_message(nfgen_msg, (), _SUBSYS_NFTABLES), _BATCH_BEGIN, _QUIET)
    end = Request(_message(nfgen_msg, (), _SUBSYS_NFTABLES), _BATCH_END, _QUIET)
    await owner.ask(begin, change, end)


def _new_table(table: str) -> Request:
    attributes = (("NFTA_TABLE_NAME", table), ("NFTA_TABLE_FLAGS", _TABLE_OWNER))
    return Request(_message(nft_table_msg, attributes), _NEWTABLE, _CREATE)


def _new_chain(table: str, chain: str, device: str) -> Request:
    hook = (
        ("NFTA_HOOK_HOOKNUM", _HOOK_INGRESS),
        ("NFTA_HOOK_PRIORITY", _FIRST),
        ("NFTA_HOOK_DEV", device),
    )
    attributes = (
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", chain),
        ("NFTA_CHAIN_HOOK", {"attrs": list(hook)}),
        ("NFTA_CHAIN_POLICY", _POLICY_DROP),
        ("NFTA_CHAIN_TYPE", "filter"),
    )
    return Request(_message(nft_chain_msg, attributes), _NEWCHAIN, _CREATE)


def _delete_chain(table: str, chain: str) -> Request:
    attributes = (("NFTA_CHAIN_TABLE", table), ("NFTA_CHAIN_NAME", chain))
    return Request(_message(nft_chain_msg, attributes), _DELCHAIN)


def _message(
    kind: Any, attributes: tuple[tuple[str, object], ...], resource: int = 0
) -> Any:
    message = kind()
    message["nfgen_family"] = _NFPROTO_NETDEV
    message["res_id"] = resource
    if attributes:
        message["attrs"] = list(attributes)
    return message


def _refusal(name: str, error: OSError) -> LaggError:
    step = "keep the host stack from hearing the port"
    for code, lacking in _LACKING.items():
        if code == error.errno:
            return LaggError(name, f"{step}: this kernel has no {lacking}", code)
    return LaggError.of_os(name, step, error)
