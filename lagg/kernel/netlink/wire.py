# SPDX-License-Identifier: BSD-2-Clause
"""One netlink socket: requests with their answers, or a stream of notifications.

Owns the socket, sequence numbers and netlink's own headers.  Knows no message body:
bodies are pyroute2 messages that encode themselves, answers are bytes for the caller.

pyroute2 0.9.7's own asyncio sockets are not used: an answer that belongs to no
request (a refused nftables batch) hangs them for ever, one ENOBUFS makes them unusable,
and they let an interrupted dump pass as whole.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from lagg.frozen import dataclass

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
NETLINK_GENERIC = 16

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12  # with it a dump of one interface's addresses is just that
_SO_RCVBUFFORCE = 33

_NLM_F_DUMP_INTR = 0x10  # the meaning of this bit in a dump's answer
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSGERR_ATTR_MSG = 1

_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_ERRNO = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")  # length, kind

RECEIVE_BYTES = 65536
"""More than any one datagram: the kernel fills dump buffers of at most 32 KiB."""

ANSWER_S = 10.0
"""The kernel answers within the call that asks; later than this, never."""

ANSWERS_MAX = 1000
"""More than one who was killed left unread, for he asked once at a time."""

DUMP_TRIES = 10
"""A dump interrupted by changes is asked for again this often."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel.  `body` is a pyroute2 message, header unset."""

    body: Any
    kind: int
    flags: int = NLM_F_REQUEST | NLM_F_ACK


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the kernel; `raw` includes the netlink header."""

    kind: int
    flags: int
    sequence: int
    port: int  # of the socket whose request it answers or follows from, or 0
    raw: bytes


class Interrupted(Exception):
    """The dump changed under way and is not consistent."""


class Socket:
    """A netlink socket of the namespace of the thread that makes it."""

    def __init__(
        self,
        protocol: int,
        receive_bytes: int | None = None,
        kept: socket.socket | None = None,
    ) -> None:
        """`receive_bytes`: the kernel's receive queue.  OSError if refused.

        `kept`: one that another had, and all that is bound to it; answers to him are
        thrown away.
        """
        self._sequence = 0
        self._turn = asyncio.Lock()
        if kept is not None:
            self._socket = kept
            self._throw_away()
            return
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        try:
            self._configure(receive_bytes)
        except OSError:
            self._socket.close()
            raise

    def _throw_away(self) -> None:
        for _ in range(ANSWERS_MAX):
            try:
                self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return

    def _configure(self, receive_bytes: int | None) -> None:
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        if receive_bytes is not None:
            self._set_receive_bytes(receive_bytes)
        self._socket.bind((0, 0))

    def _set_receive_bytes(self, receive_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_bytes)
        except PermissionError:  # in a user namespace net.core.rmem_max is the end
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)

    def fileno(self) -> int:
        """The socket, to be kept for another one of this class."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the socket; the kernel drops what is bound to it."""
        self._socket.close()

    @property
    def port(self) -> int:
        """The kernel's number for this socket, unique in the namespace."""
        return int(self._socket.getsockname()[0])

    def join(self, group: int) -> None:
        """Subscribes to a notification group.  OSError(EINVAL) if it is unknown."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    async def ask(self, *requests: Request) -> list[bytes]:
        """Sends `requests` in one datagram; returns all answers, headers included.

        OSError with the kernel's errno and words when any is refused.
        """
        for _ in range(DUMP_TRIES):
            try:
                return await self._ask_once(requests)
            except Interrupted:
                continue
        raise OSError(errno.EINTR, "the list changed each time it was read")

    async def _ask_once(self, requests: tuple[Request, ...]) -> list[bytes]:
        async with self._turn:
            self._sequence += 1
            datagram = b"".join(_encode(each, self._sequence) for each in requests)
            ends = sum(bool(each.flags & (NLM_F_ACK | NLM_F_DUMP)) for each in requests)
            self.send(datagram)
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._collect(self._sequence, ends)
            except TimeoutError as error:
                raise OSError(errno.ETIMEDOUT, "no answer from the kernel") from error

    async def _collect(self, sequence: int, ends: int) -> list[bytes]:
        answers: list[bytes] = []
        interrupted = False
        while ends > 0:
            for message in await self.receive():
                # Answers to an earlier request that was cancelled or refused half-way.
                if message.sequence != sequence:
                    continue
                if message.kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    raise_refusal(message)
                    ends -= 1
                else:
                    answers.append(message.raw)
                if message.kind != _NLMSG_ERROR:
                    interrupted |= bool(message.flags & _NLM_F_DUMP_INTR)
        if interrupted:
            raise Interrupted
        return answers

    def send(self, datagram: bytes) -> None:
        """Sends messages encoded already; what they ask for is waiting on return."""
        self._socket.send(datagram)

    async def receive(self) -> list[Message]:
        """The next datagram.  OSError(ENOBUFS) once when the kernel dropped some."""
        while True:
            try:
                return self.receive_now()
            except BlockingIOError:
                await self.readable(asyncio.get_running_loop().create_future())

    def receive_now(self) -> list[Message]:
        """The next datagram, or BlockingIOError."""
        return list(_split(self._socket.recv(RECEIVE_BYTES)))

    async def readable(self, arrived: "asyncio.Future[None]") -> None:
        """Waits until something is to be read, or somebody else settles `arrived`."""
        # Not loop.sock_recv(), which loses what it has read if it is cancelled late.
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, _set_done, arrived)
        try:
            await arrived
        finally:
            loop.remove_reader(self._socket)


def _set_done(arrived: "asyncio.Future[None]") -> None:
    if not arrived.done():
        arrived.set_result(None)


def _encode(request: Request, sequence: int) -> bytes:
    header = request.body["header"]
    header["type"] = request.kind
    header["flags"] = request.flags
    header["sequence_number"] = sequence
    request.body.reset()
    request.body.encode()
    return bytes(request.body.data)


def _split(datagram: bytes) -> Iterator[Message]:
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size:
            return
        raw = datagram[offset : offset + length]
        yield Message(kind, flags, sequence, port, raw)
        offset += (length + 3) & ~3


def raise_refusal(message: Message) -> None:
    """Raises what an error or done message carries, unless that is success."""
    if len(message.raw) < _HEADER.size + _ERRNO.size:
        return
    (code,) = _ERRNO.unpack_from(message.raw, _HEADER.size)
    if code == 0:
        return
    words = os.strerror(-code)
    more = _extended_words(message)
    raise OSError(-code, f"{words}: {more}" if more else words)


def _extended_words(message: Message) -> str:
    """What the kernel says beyond the errno; "" mostly."""
    # With NETLINK_CAP_ACK an error repeats only the header of the refused request.
    start = _HEADER.size + _ERRNO.size
    offset = start + (_HEADER.size if message.kind == _NLMSG_ERROR else 0)
    while offset + _ATTRIBUTE.size <= len(message.raw):
        length, kind = _ATTRIBUTE.unpack_from(message.raw, offset)
        if length < _ATTRIBUTE.size:
            break
        if kind == _NLMSGERR_ATTR_MSG:
            text = message.raw[offset + _ATTRIBUTE.size : offset + length]
            return text.rstrip(b"\0").decode(errors="replace")
        offset += (length + 3) & ~3
    return ""
