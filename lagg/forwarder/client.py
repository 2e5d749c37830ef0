# SPDX-License-Identifier: BSD-2-Clause
"""A client of lagg-forwarder: one connection, and a method for each word.

Owns the socket, and that each request has its answer within a bounded time.  Each
method blocks for microseconds, usually; a refusal is a LaggError.  What is not sound,
late or not wanted ends the connection, and every descriptor that came with it is
closed.  For one thread.

Who serves is not who listens: a standby takes over its family's socket.  So a client
has the kernel say which process each message is of.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Self

from lagg.errors import LaggError, UnlikeError
from lagg.forwarder import wire
from lagg.forwarder.wire import ForwarderRequest, Leased, Order, Reply, Word
from lagg.frozen import dataclass

ANSWER_NS_MAX = 2_000_000_000
"""For an answer to come; a forwarder that is stopped or wedged has none."""

CLAIM_NS_MAX = 3_000_000_000
"""CLAIM's own: the forwarder gives the owner 2 s, and says so then."""

AHEAD_MAX = 32
"""Requests that wait for an answer: so many answers fit into a socket that is not read,
and a forwarder disconnects who does not take one."""

Enclosing = tuple[ForwarderRequest, tuple[int, ...]]
"""A request and its descriptors."""

Spared = Mapping[Word, Collection[int]]
"""The errors of a word that are none."""

_UCRED = struct.Struct("=iII")
_FDS_MAX = 253  # the kernel's SCM_MAX_FD: however many come, all are closed
_INT = struct.Struct("=i")
_ROOT = 0
_HELLO = ForwarderRequest(Word.HELLO, argument=wire.MAJOR << 16 | wire.MINOR)

Heard = Callable[[Word], object]
"""Is told YIELD, DONE and RESUME, within whatever method meets them; it must not call
the client, but note it and return."""


class GoneError(LaggError):
    """The connection has ended: the forwarder died, or does not want us any more."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What CLAIM was answered."""

    alone_ms: int  # for which there has been no owner
    as_listed: bool  # all that is kept is what list() gave last


@dataclass(slots=True)
class _Message:
    """What came, and the descriptors that came with it until somebody takes them."""

    reply: Reply
    fds: list[int] = field(default_factory=list)


class ForwarderClient:
    """A connection to a forwarder.  `path`: where it listens.

    `pid`, `version`, `minor` and `layout` are of the process that serves; known by the
    answer to HELLO.
    """

    pid: int
    version: str
    minor: int
    layout: int

    def __init__(self, path: Path, heard: Heard = lambda _: None) -> None:
        """Connects to the socket `path` and waits to be greeted.

        GoneError when nobody listens there; LaggError when it is not ours (EPERM),
        speaks another protocol (EPROTO) or does not answer (ETIMEDOUT).
        """
        self._begin(path, heard)
        self.require_greeting()

    @classmethod
    def knock(cls, path: Path, heard: Heard) -> Self:
        """One that waits for nothing: require_greeting() when it is readable.

        GoneError, and LaggError with EPERM.
        """
        made = cls.__new__(cls)
        made._begin(path, heard)
        return made

    @classmethod
    def owner(cls, path: Path, heard: Heard) -> Self:
        """One that has claimed a forwarder that nobody owns.  LaggError: it has not."""
        made = cls(path, heard)
        try:
            made.own()
        except BaseException:
            made.disconnect()
            raise
        return made

    def _begin(self, path: Path, heard: Heard) -> None:
        self.path = path
        self.ended = False
        self.listed: int | None = None  # the generation that list() gave last
        self._heard = heard
        self._socket = _connected(path)
        try:
            self._send(_HELLO, (), time.monotonic_ns() + ANSWER_NS_MAX)
        except BaseException:
            self.disconnect()
            raise

    def require_greeting(self) -> None:
        """Waits until the forwarder has greeted; LaggError, and it is disconnected."""
        try:
            reply = self._awaited(_HELLO, ANSWER_NS_MAX).reply
        except BaseException:
            self.disconnect()
            raise
        self.version, self.layout = reply.text, reply.argument
        self.minor = reply.minor

    def __enter__(self) -> Self:
        """Disconnects at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """The forwarder goes on; of an owner, it has none then."""
        self._socket.close()

    def fileno(self) -> int:
        """Readable when there is something to be heard, and once it has `ended`."""
        return self._socket.fileno()

    def _end(self) -> None:
        """The number stays ours until disconnect(): whoever waits for it sees this."""
        self.ended = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def parent(self) -> int:
        """The process that listens, and waits for the ends of those that serve."""
        return _peer(self._socket)[0]

    def listen(self) -> None:
        """Hears what was said unasked, and does not wait for it.  GoneError."""
        while (message := self._receive(0)) is not None:
            self._hear(message)

    # ---- descriptors ---------------------------------------------------------------

    def put(self, name: str, fd: int) -> None:
        """The forwarder keeps a duplicate of `fd`; what had the name is closed."""
        self._ask(ForwarderRequest(Word.PUT, name=name), (fd,))

    def delete(self, name: str) -> None:
        """The forwarder closes it.  ENOENT."""
        self._ask(ForwarderRequest(Word.DEL, name=name))

    def list(self) -> dict[str, int]:
        """All that it keeps, by name: duplicates, which are the caller's to close."""
        deadline_ns = time.monotonic_ns() + ANSWER_NS_MAX
        while True:
            kept: dict[str, int] = {}
            try:
                if self._list_into(kept):
                    return kept
            except BaseException:
                _close_all(kept.values())
                raise
            _close_all(kept.values())
            if time.monotonic_ns() > deadline_ns:
                cause = "the list changes faster than it can be read"
                raise LaggError("lagg-forwarder", cause, errno.EAGAIN)

    def _list_into(self, kept: dict[str, int]) -> bool:
        """All pages of it; False when it changed between two of them."""
        generation = None
        while True:
            request = ForwarderRequest(Word.LIST, argument=len(kept))
            message = self._exchange(request, ())
            reply = message.reply
            due = min(reply.argument - len(kept), wire.PAGE_NAMES)
            new = dict(zip(reply.names, message.fds, strict=True))
            changed = generation not in (None, reply.generation)
            sound = len(new) == len(reply.names) == due and not kept.keys() & new
            if changed or reply.argument > wire.NAMES_MAX or not sound:
                _close_all(message.fds)
            if changed:
                return False
            if reply.argument > wire.NAMES_MAX or not sound:
                raise self._broken("a list that contradicts itself")
            generation = reply.generation
            kept |= new
            self.listed = generation
            if len(kept) == reply.argument:
                return True

    # ---- laggs ---------------------------------------------------------------------

    def open(self, lagg: int, *, again: bool = False) -> None:
        """Maps a lagg's memories; `again`: another process may have died at work."""
        self._ask(ForwarderRequest(Word.OPEN, lagg, argument=_age(again)))

    def map(self, lagg: int, slot: int, *, again: bool = False) -> None:
        """Makes a port of the descriptors kept for it, before a plan names it."""
        self._ask(ForwarderRequest(Word.MAP, lagg, slot, argument=_age(again)))

    def map_rings(self, lagg: int, slot: int, rings: int) -> None:
        """Takes a port's rings of set `rings`, before they are made the live ones."""
        self._ask(ForwarderRequest(Word.MAP_RINGS, lagg, slot, argument=rings))

    def unmap_rings(self, lagg: int, slot: int, rings: int) -> None:
        """Lets go of a port's rings of a set that is not live any more, drained."""
        self._ask(ForwarderRequest(Word.UNMAP_RINGS, lagg, slot, argument=rings))

    def unmap(self, lagg: int, slot: int) -> None:
        """Lets go of a port.  EBUSY while a snapshot names it."""
        self._ask(ForwarderRequest(Word.UNMAP, lagg, slot))

    def drain(self, lagg: int, slot: int, rings: int) -> None:
        """Delivers what a set of rings holds that no worker sees.  EBUSY, ENOENT."""
        self._ask(ForwarderRequest(Word.DRAIN, lagg, slot, argument=rings))

    def run(self, lagg: int, busy_poll_us: int = 0) -> None:
        """Starts a lagg's workers.  ENOENT when the plan names a port not mapped."""
        self._ask(ForwarderRequest(Word.RUN, lagg, argument=busy_poll_us))

    def stop(self, lagg: int) -> None:
        """Returns when no worker of the lagg runs any more."""
        self._ask(ForwarderRequest(Word.STOP, lagg))

    def close(self, lagg: int) -> None:
        """Forgets a lagg that is stopped.  Its descriptors stay.  EBUSY."""
        self._ask(ForwarderRequest(Word.CLOSE, lagg))

    def lease(self, orders: Mapping[Leased, Order]) -> None:
        """What each of these repeats while there is no owner, 10 s at most.

        A forwarder of an earlier version repeats nothing of BFD.
        """
        most = wire.LEASES_MAX if self.minor >= wire.SESSIONS_SINCE else 1
        known = (order for order in orders.items() if order[0][2] < most)
        self.ask_each([(wire.lease(*order), ()) for order in known])

    # ---- who may write -------------------------------------------------------------

    def claim(self) -> Claimed:
        """Waits until the owner lets go; commit() is to follow within 2 s.

        LaggError: ECANCELED when it refuses, ETIMEDOUT when it is silent, EBUSY while
        another claims.
        """
        reply = self._ask(ForwarderRequest(Word.CLAIM))
        return Claimed(reply.argument, reply.generation == self.listed)

    def commit(self) -> None:
        """This client is the owner from now on.  ENOMSG when the claim is over."""
        self._ask(ForwarderRequest(Word.COMMIT))

    def own(self) -> None:
        """As claim() and commit() of what nobody owns, by one turn of the CPU."""
        self.ask_each([(ForwarderRequest(w), ()) for w in (Word.CLAIM, Word.COMMIT)])

    def go(self) -> None:
        """The owner's answer to YIELD: it writes nothing from now on.  ENOMSG."""
        self._ask(ForwarderRequest(Word.GO))

    def refuse(self, why: str) -> None:
        """The owner's other answer, with its reason, of which 47 bytes count."""
        self._ask(ForwarderRequest(Word.REFUSE, name=_cut(why)))

    def leave(self) -> None:
        """The forwarder has no owner, and waits for one even if it is asked to end."""
        self._ask(ForwarderRequest(Word.LEAVE))

    def end(self) -> None:
        """The forwarder closes everything and exits."""
        self._ask(ForwarderRequest(Word.END))

    # ---- messages ------------------------------------------------------------------

    def _ask(self, request: ForwarderRequest, fds: tuple[int, ...] = ()) -> Reply:
        message = self._exchange(request, fds)
        if message.fds:
            _close_all(message.fds)
            raise self._broken(f"descriptors that nobody asked for: {request}")
        return message.reply

    def ask_each(
        self, requests: Sequence[Enclosing], spared: Spared | None = None
    ) -> None:
        """All of them in turn, whatever is refused; then raises the first refusal.

        To be told of each before the next one takes two turns of the CPU for it.
        """
        refusals = []
        for first in range(0, len(requests), AHEAD_MAX):
            some = requests[first : first + AHEAD_MAX]
            for request, fds in some:
                self._send(request, fds, time.monotonic_ns() + ANSWER_NS_MAX)
            for request, _ in some:
                try:
                    self._awaited(request, ANSWER_NS_MAX)
                except LaggError as error:
                    if self.ended:
                        raise
                    if error.code not in (spared or {}).get(request.word, ()):
                        refusals.append(error)
        if refusals:
            raise refusals[0]

    def _exchange(self, request: ForwarderRequest, fds: tuple[int, ...]) -> _Message:
        """The answer to a request; a refusal is raised."""
        took_ns = CLAIM_NS_MAX if request.word is Word.CLAIM else ANSWER_NS_MAX
        self._send(request, fds, time.monotonic_ns() + took_ns)
        return self._awaited(request, took_ns)

    def _awaited(self, request: ForwarderRequest, took_ns: int) -> _Message:
        deadline_ns = time.monotonic_ns() + took_ns
        while (message := self._receive(deadline_ns)) is not None:
            if message.reply.word not in wire.UNASKED:
                return self._answer(request, message)
            self._hear(message)
        cause = f"no answer within {took_ns // 1_000_000_000} s: {request}"
        self._end()
        raise LaggError("lagg-forwarder", cause, errno.ETIMEDOUT)

    def _answer(self, request: ForwarderRequest, message: _Message) -> _Message:
        reply = message.reply
        wrong = reply.word is not request.word or reply.major != wire.MAJOR
        if wrong and not (request.word is Word.HELLO and reply.error):
            _close_all(message.fds)
            raise self._broken(f"an answer to another request than {request}")
        if reply.error:
            _close_all(message.fds)
            cause = f"{request}: {reply.text or os.strerror(reply.error)}"
            kind = UnlikeError if request.word is Word.HELLO else LaggError
            raise kind("lagg-forwarder", cause, reply.error)
        return message

    def _hear(self, message: _Message) -> None:
        if message.reply.word not in wire.UNASKED or message.fds:
            _close_all(message.fds)
            raise self._broken(f"{message.reply.word.name} that nobody asked for")
        self._heard(message.reply.word)

    def _send(
        self, request: ForwarderRequest, fds: tuple[int, ...], deadline_ns: int
    ) -> None:
        packed = request.pack()
        try:
            self._wait_at_most(deadline_ns)
            socket.send_fds(self._socket, [packed], list(fds))
        except TimeoutError:
            self._end()
            cause = f"it takes no request: {request}"
            raise LaggError("lagg-forwarder", cause, errno.ETIMEDOUT) from None
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self, deadline_ns: int) -> _Message | None:
        """The next message; None when there is none by then."""
        room = socket.CMSG_SPACE(_FDS_MAX * _INT.size) + socket.CMSG_SPACE(_UCRED.size)
        try:
            self._wait_at_most(deadline_ns)
            got = self._socket.recvmsg(
                wire.REPLY_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC
            )
        except (TimeoutError, BlockingIOError):
            return None
        except OSError as error:
            raise self._gone(error) from error
        data, ancillary, flags, _ = got
        fds = [fd for level, kind, some in ancillary for fd in _fds(level, kind, some)]
        try:
            message = _Message(_sound(data, flags, len(fds)), fds)
            self.pid = _sender(ancillary)
        except ValueError as error:
            _close_all(fds)
            if not data:
                raise self._gone(None) from None
            raise self._broken(str(error)) from error
        return message

    def _wait_at_most(self, deadline_ns: int) -> None:
        left_ns = deadline_ns - time.monotonic_ns()
        self._socket.settimeout(max(left_ns, 0) / 1e9)

    def _gone(self, error: OSError | None) -> GoneError:
        self._end()
        code = (error.errno if error else None) or errno.ECONNRESET
        return GoneError("lagg-forwarder", "the connection has ended", code)

    def _broken(self, cause: str) -> LaggError:
        """One that is out of step is of no more use."""
        self._end()
        return LaggError("lagg-forwarder", cause, errno.EPROTO)


def _connected(path: Path) -> socket.socket:
    """Never blocks: if as many wait there as may, it does not answer."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        made.settimeout(ANSWER_NS_MAX / 1e9)
        made.connect(str(path))
        _require_ours(made, path)
    except OSError as error:
        made.close()
        kind = LaggError if error.errno == errno.EAGAIN else GoneError
        code = error.errno or errno.EIO
        raise kind(str(path), f"cannot connect: {error.strerror}", code) from error
    except LaggError:
        made.close()
        raise
    return made


def _require_ours(connection: socket.socket, path: Path) -> None:
    """Who listens there must run as we do; root may, for it is a supervisor then."""
    _, uid = _peer(connection)
    if uid not in (os.geteuid(), _ROOT):
        cause = f"uid {uid} listens there, and not uid {os.geteuid()}"
        raise LaggError(str(path), cause, errno.EPERM)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and uid of who listened when this was connected."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size
    )
    pid, uid, _ = _UCRED.unpack(credentials)
    return pid, uid


def _sender(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """The pid of who sent a message, as the kernel has added it.

    ValueError: nobody has, or one that does not run as we do.
    """
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, uid, _ = _UCRED.unpack(data)
            if uid != os.geteuid():
                raise ValueError(f"a message of uid {uid}, not {os.geteuid()}")
            return int(pid)
    raise ValueError("a message of nobody")


def _sound(data: bytes, flags: int, fds: int) -> Reply:
    """ValueError for what is cut off, or brings other descriptors than it names."""
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise ValueError("a message that is longer than any")
    reply = wire.unpack(data)
    if len(reply.names) != fds:
        raise ValueError(f"{len(reply.names)} names, but {fds} descriptors")
    return reply


def _fds(level: int, kind: int, data: bytes) -> list[int]:
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    whole = len(data) - len(data) % _INT.size
    return [fd for (fd,) in _INT.iter_unpack(data[:whole])]


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _age(again: bool) -> int:
    return wire.AGAIN if again else wire.FRESH


def _cut(text: str) -> str:
    """As much of it as a message can carry."""
    return text.encode()[: wire.TEXT_BYTES_MAX].decode(errors="ignore")
