# SPDX-License-Identifier: BSD-2-Clause
"""A client of laggd's control socket: varlink calls, blocking, on the bare socket.

Owns framing, and what a failed connection means for the call under way.  Knows no
command and no record.
asyncvarlink would triple the start-up time of a command, for NUL-ended JSON.
"""

import errno
import json
import socket
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from lagg.errors import LaggError

INTERFACE = "org.laggd.Lagg"

LOOKS = frozenset(
    {"Balance", "Buckets", "Explain", "List", "Monitor", "Save", "Status"}
)
"""Methods that change nothing: who got no answer may ask again."""

REPLY_SECONDS = 10
"""After so long without a word laggd is asked whether it lives.  A change takes as long
as its ports and the changes before it do: thousands of ports take minutes."""

REPLY_BYTES_MAX = 64 * 1024 * 1024
"""Thousands of laggs with 32 ports each; more is no laggd."""

START_S = 1.0
"""What a command has for a laggd that starts: both are often in one script."""

_LOOK_S = 0.02
_READ_BYTES = 64 * 1024
_ALIVE = b'{"method": "org.varlink.service.GetInfo"}\0'
_TIMEVAL = struct.Struct("ll")
_UCRED = struct.Struct("iII")


class NoDaemonError(Exception):
    """Nobody answers on the socket, or not any more."""


class NobodyError(NoDaemonError):
    """Nobody listens, but somebody may yet."""


class ComplaintsError(Exception):
    """The configuration that laggd was to read is none; a line for each cause."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines


class Client:
    """One connection to laggd, for one call after another."""

    def __init__(self, path: str, patience_s: float = 0) -> None:
        """Connects; waits so long for a laggd to come.

        Raises NoDaemonError, or LaggError when it is not allowed.
        """
        self._path = path
        self._asked = ""  # the method of the call under way
        self._unread = b""
        self._socket = _awaited(path, patience_s)

    def __enter__(self) -> Self:
        """The client itself; its connection ends with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The reply's parameters; None values are not sent.

        Raises LaggError when laggd refuses, ComplaintsError when it has read bad
        files, NoDaemonError when it goes away: whether it did what was asked is not
        known then, unless the method is one of LOOKS.
        """
        self._send(method, _request(method, parameters))
        return _parameters(self._receive())

    def stream(self, method: str, **parameters: object) -> Iterator[dict[str, Any]]:
        """Each reply's parameters, for as long as laggd has more."""
        self._send(method, _request(method, parameters) | {"more": True})
        reply = self._receive()
        # A stream may rightly be silent for as long as nothing happens.
        _set_timeout(self._socket, socket.SO_RCVTIMEO, 0)
        while True:
            yield _parameters(reply)
            if not reply.get("continues"):
                return
            reply = self._receive()

    @property
    def pid(self) -> int:
        """Who listens, as the kernel attests it; 0: a process that is hidden here."""
        size = _UCRED.size
        found = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(_UCRED.unpack(found)[0])

    def fileno(self) -> int:
        """For poll(2), while a stream is silent and nothing is `unread`."""
        return self._socket.fileno()

    @property
    def unread(self) -> bool:
        """Whether a whole reply has come together with the one before it."""
        return b"\0" in self._unread

    def _send(self, method: str, request: dict[str, object]) -> None:
        self._asked = method
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\0")
        except (BrokenPipeError, ConnectionResetError):
            # laggd refuses some calls before it has read them: the reply says why.
            return
        except BlockingIOError as error:
            raise NoDaemonError(f"{self._path}: laggd does not listen") from error

    def _receive(self) -> dict[str, Any]:
        text = bytearray(self._unread)
        end = text.find(b"\0")
        while end < 0:
            if len(text) > REPLY_BYTES_MAX:
                raise NoDaemonError(f"{self._path}: the reply does not end")
            start = len(text)
            text += self._read()
            end = text.find(b"\0", start)
        message, self._unread = text[:end], bytes(text[end + 1 :])
        try:
            reply = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise NoDaemonError(f"{self._path}: this is no laggd") from error
        if not isinstance(reply, dict):
            raise NoDaemonError(f"{self._path}: this is no laggd")
        return reply

    def _read(self) -> bytes:
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                if not _is_alive(self._path):
                    raise self._gone("laggd does not answer any more") from None
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise self._gone("laggd died or was replaced before it answered")
            return data

    def _gone(self, how: str) -> NoDaemonError:
        """Says what that means for the call under way, and what to do."""
        remedy = f"{self._asked.lower()} may be done or not, see laggctl show"
        if self._asked in LOOKS:
            remedy = "ask again"
        return NoDaemonError(f"{self._path}: {how}: {remedy}")


def _is_alive(path: str) -> bool:
    """Whether laggd answers what it can answer at once."""
    try:
        with _connected(path) as connection:
            connection.sendall(_ALIVE)
            return bool(connection.recv(_READ_BYTES))
    except (NoDaemonError, OSError):
        return False  # whatever it is, that is no answer


def _awaited(path: str, patience_s: float) -> socket.socket:
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return _connected(path)
        except NobodyError:
            if time.monotonic() >= end_s:
                raise
            time.sleep(_LOOK_S)


def _connected(path: str) -> socket.socket:
    # Not settimeout(): Python would make the socket non-blocking, and connect() then
    # fails when a crowd is waiting, in place of waiting with it.
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _set_timeout(connection, socket.SO_SNDTIMEO, REPLY_SECONDS)
    _set_timeout(connection, socket.SO_RCVTIMEO, REPLY_SECONDS)
    try:
        connection.connect(path)
    except PermissionError as error:
        connection.close()
        cause = (
            "only root and the group of this socket may connect; who is to look only"
            " does so by that of laggd --read-socket"
        )
        raise LaggError(path, cause, errno.EACCES) from error
    except BlockingIOError as error:
        connection.close()
        raise NoDaemonError(f"{path}: laggd does not listen") from error
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            remedy = "start it: systemctl start laggd"
            raise NobodyError(f"{path}: no laggd runs here; {remedy}") from error
        raise NoDaemonError(f"{path}: no laggd: {error.strerror or error}") from error
    return connection


def _set_timeout(connection: socket.socket, option: int, seconds: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(seconds, 0))


def _request(method: str, parameters: dict[str, object]) -> dict[str, object]:
    given = {key: value for key, value in parameters.items() if value is not None}
    return {"method": f"{INTERFACE}.{method}", "parameters": given}


def _parameters(reply: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = reply.get("parameters", {})
    error = reply.get("error")
    if error is None:
        return parameters
    if error == f"{INTERFACE}.Refused":
        raise LaggError(
            parameters["thing"], parameters["cause"], int(parameters["errno"])
        )
    if error == f"{INTERFACE}.BadConfiguration":
        raise ComplaintsError(list(parameters["complaints"]))
    named = ", ".join(str(value) for value in parameters.values())
    raise LaggError("laggd", f"{error} {named}".strip(), errno.EINVAL)
