# SPDX-License-Identifier: BSD-2-Clause
"""Deaf and dumb ports: the host stack gets none of their frames and sends none there.

Owns a nftables table of the netdev family for each port, with two chains.  What comes
in is dropped, after packet sockets for all ethertypes have seen it; on request not what
is for the port itself, by a group that no bridge forwards.  Of what goes out IPv4, IPv6
and ARP are dropped unless they bear our mark: a switch that hears the lagg's MAC from a
port on standby sends all for the lagg there.  What else others send there on purpose
(LLDP, EAPOL, PTP) leaves.  AF_XDP passes by all this.

A table belongs to our socket (NFT_TABLE_F_OWNER): nobody else can change it, and the
kernel removes it when the socket closes, even by SIGKILL.  There is one of a name, so
whose table it is has the port, among all laggds of a network namespace.  Knows no port
but by ifindex and name.
"""

import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping

from lagg.errors import LaggError
from lagg.kernel.kept_socket import kept_socket
from lagg.kernel.netlink import nft
from lagg.kernel.netlink.wire import NETLINK_NETFILTER, Request, Socket
from lagg.kernel.proc import ifindex_of

log = logging.getLogger(__name__)

HOST_STACK = (0x0800, 0x86DD, 0x0806)
"""The ethertypes of what the kernel sends by itself or for an address of its own."""

LINK_LOCAL = b"\x01\x80\xc2\0\0"
"""What the addresses of a cable's own begin with, whose last byte is at most _LAST."""

_SLOW, _LAST = 0x02, 0x0F
_HEARS_LOCAL = "local"  # what the name of a chain begins with that lets them in

_RENAMED = "the port has another name by now"

_LACKING = {
    errno.EPROTONOSUPPORT: "CONFIG_NETFILTER_NETLINK",
    errno.EOPNOTSUPP: "nf_tables with CONFIG_NF_TABLES_NETDEV",
    errno.EAFNOSUPPORT: "nf_tables with CONFIG_NF_TABLES_NETDEV",
}
"""What the kernel lacks when it answers so."""

_NO_EGRESS = (
    "this kernel has no egress hook (Linux 5.16, CONFIG_NETFILTER_EGRESS): what the "
    "host sends by a port itself is not held back; a host that forwards IPv6 should "
    "have disable_ipv6 = 1 on its ports"
)


class DeafPorts:
    """The deaf and dumb ports of this daemon; to be closed."""

    def __init__(self, mark: int) -> None:
        """Asks nothing of the kernel until there is a port.

        `mark`: SO_MARK of the sockets that may send.
        """
        self._mark = mark
        self._socket: Socket | None = None
        self._chains: dict[int, tuple[str, ...]] = {}  # of each table, by ifindex
        self._chains_made = 0
        self._egress = True  # as far as we know

    def resume(self, descriptor: int, chains: Mapping[int, tuple[str, ...]]) -> None:
        """Goes on with the socket that owns another's tables, which are ours then.

        Before anything else is asked of it.  `chains` of each port, by ifindex, () if
        they are not known.  LaggError: it is no netlink socket, and was closed.
        """
        kept = kept_socket(descriptor, socket.AF_NETLINK, "ports")
        self._socket = Socket(NETLINK_NETFILTER, kept=kept)
        self._chains = dict(chains)
        # Those that are made now are called otherwise than all that are.
        made = (chain.rpartition(".")[2] for each in chains.values() for chain in each)
        self._chains_made = max((int(n) for n in made if n.isdecimal()), default=0)

    def fileno(self) -> int | None:
        """The socket that owns the tables, to be kept for resume(); None: no port."""
        return None if self._socket is None else self._socket.fileno()

    def chains(self, ifindex: int) -> tuple[str, ...]:
        """The names of a port's chains; () when it has none."""
        return self._chains.get(ifindex, ())

    def close(self) -> None:
        """Removes all tables: the host stack receives by all ports again."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._chains.clear()

    async def claim(self, ifindex: int, name: str) -> None:
        """Makes a port ours, as it is.  LaggError(EBUSY) if another laggd has it.

        undeafen() gives it up.
        """
        if ifindex in self._chains:
            return
        try:
            made = nft.new_table(_table(ifindex), f"pid {os.getpid()}")
            await nft.batch(self._opened(), made)
        except OSError as error:
            if error.errno == errno.EPERM:  # we are privileged, so it is another's
                raise await self._held(ifindex, name) from error
            raise _refusal(name, error) from error
        self._chains[ifindex] = ()

    async def require_free(self, ifindex: int, name: str) -> None:
        """What claim() would refuse, and nothing more.  LaggError(EBUSY)."""
        if ifindex in self._chains:
            return
        try:
            await nft.comment_of(self._opened(), _table(ifindex))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise _refusal(name, error) from error
        else:
            raise await self._held(ifindex, name)

    async def _held(self, ifindex: int, name: str) -> LaggError:
        holder = "another laggd"
        with contextlib.suppress(OSError):  # it gave the port up meanwhile
            holder += f" ({await nft.comment_of(self._opened(), _table(ifindex))})"
        cause = f"is a port of {holder}; detach it there first"
        return LaggError(name, cause, errno.EBUSY)

    def hears_local(self, ifindex: int) -> bool:
        """Whether a port lets in what is for itself: see deafen()."""
        return any(each.startswith(_HEARS_LOCAL) for each in self.chains(ifindex))

    async def deafen(
        self, ifindex: int, name: str, *, hears_local: bool = False
    ) -> None:
        """Makes a port ours, with both chains.  LaggError; then nothing changed.

        `hears_local`: sockets for one ethertype, and 802.2, have frames to
        01-80-C2-00-00-0x, slow protocols aside; IP, IPv6 and ARP in such are dropped.

        A kernel that has no egress hook gets the ingress chain only; logged once.

        To be called again after a rename: since Linux 6.16 a hook follows the name,
        leaves a port that no longer bears it and takes the next that does.
        """
        await self.claim(ifindex, name)
        before = self._chains[ifindex]
        self._chains_made += 1
        try:
            chains = await self._hook(ifindex, name, hears_local)
            await self._check_hooked(ifindex, name, chains)
            # The new ones are hooked already, so nothing passes while the old ones go.
            await self._delete(ifindex, before)
        except OSError as error:
            if not before:
                await self.undeafen(ifindex)
            raise _refusal(name, error) from error
        self._chains[ifindex] = chains

    async def _hook(
        self, ifindex: int, name: str, hears_local: bool
    ) -> tuple[str, ...]:
        owner, table = self._opened(), _table(ifindex)
        suffix = f"{ifindex}.{self._chains_made}"
        heard = f"{_HEARS_LOCAL if hears_local else 'in'}{suffix}"
        said = f"out{suffix}"
        deaf = [nft.new_chain(table, heard, nft.INGRESS, name, nft.DROP)]
        deaf += _let_local_in(table, heard) if hears_local else ()
        if self._egress:
            try:
                await nft.batch(owner, *deaf, *self._dumb(table, said, name))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            else:
                return heard, said
        await nft.batch(owner, *deaf)
        if self._egress:
            self._egress = False
            log.warning("%s", _NO_EGRESS)
        return (heard,)

    def _dumb(self, table: str, chain: str, name: str) -> Iterator[Request]:
        yield nft.new_chain(table, chain, nft.EGRESS, name, nft.ACCEPT)
        mark = self._mark.to_bytes(4, sys.byteorder)
        ours = nft.meta_is(nft.META_MARK, mark)
        yield nft.new_rule(table, chain, [ours], nft.ACCEPT)
        yield from _drop_host_stack(table, chain)

    async def _check_hooked(
        self, ifindex: int, name: str, chains: tuple[str, ...]
    ) -> None:
        """Takes the chains back and raises OSError if `name` is not the port's name."""
        # Since Linux 6.16 a hook for a name that nobody bears is no error.
        try:
            if ifindex_of(name) == ifindex:
                return
        except OSError:
            pass
        await self._delete(ifindex, chains)
        raise OSError(errno.ENODEV, _RENAMED)

    async def undeafen(self, ifindex: int) -> None:
        """Lets the host stack receive and send by a port again, whether it did or not.

        It is ours no more.  To be called for a port that is gone, too: else its chains
        would stay, and drop the frames of the next interface of that name.
        """
        if self._chains.pop(ifindex, None) is None:
            return
        table = _table(ifindex)
        try:
            await nft.batch(self._opened(), nft.delete_table(table))
        except OSError as error:
            raise LaggError.of_os(table, "let the port hear", error) from error

    async def _delete(self, ifindex: int, chains: tuple[str, ...]) -> None:
        """Takes some of a port's chains away; one that is gone already is no error."""
        gone = [nft.delete_chain(_table(ifindex), chain) for chain in chains]
        try:
            if gone:
                await nft.batch(self._opened(), *gone)
        except OSError as error:
            # Before Linux 6.16 a chain goes with its only interface.
            if error.errno != errno.ENOENT:
                raise

    def _opened(self) -> Socket:
        """The socket that owns our tables."""
        if self._socket is None:
            self._socket = Socket(NETLINK_NETFILTER)
        return self._socket


def _drop_host_stack(table: str, chain: str) -> Iterator[Request]:
    for ethertype in HOST_STACK:
        of_it = nft.meta_is(nft.META_PROTOCOL, ethertype.to_bytes(2, "big"))
        yield nft.new_rule(table, chain, [of_it], nft.DROP)


def _let_local_in(table: str, chain: str) -> Iterator[Request]:
    """What no bridge forwards (802.1Q, 8.6.3) is for the port; but for LACP's."""
    yield from _drop_host_stack(table, chain)
    slow = nft.octets_are(0, bytes((*LINK_LOCAL, _SLOW)))
    yield nft.new_rule(table, chain, [slow], nft.DROP)
    group = nft.octets_are(0, LINK_LOCAL)
    last = nft.octets_are(len(LINK_LOCAL), bytes((_LAST,)), at_most=True)
    yield nft.new_rule(table, chain, [group, last], nft.ACCEPT)


def _table(ifindex: int) -> str:
    return f"laggd-port{ifindex}"


def _refusal(name: str, error: OSError) -> LaggError:
    step = "keep the host stack from hearing the port"
    for code, lacking in _LACKING.items():
        if code == error.errno:
            return LaggError(name, f"{step}: this kernel has no {lacking}", code)
    if error.errno == errno.ENOENT:  # so says Linux before 6.16 of a hook's interface
        return LaggError(name, f"{step}: {_RENAMED}", errno.ENODEV)
    return LaggError.of_os(name, step, error)
