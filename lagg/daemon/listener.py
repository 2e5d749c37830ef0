# SPDX-License-Identifier: BSD-2-Clause
"""HTTP of laggd: who only asks gets one answer, and the connection ends.

Owns the sockets of `--metrics` and `--web`, and every bound on who connects to them.
Knows no page: who serves one derives from HttpListener.
"""

import asyncio
import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from typing import Self

from lagg.errors import LaggError
from lagg.frozen import dataclass

CLIENTS_MAX = 8
"""Connections at a time; further ones are closed at once."""

REQUEST_SECONDS = 5
"""Seconds for a client to ask, and again to read the answer."""

REQUEST_BYTES_MAX = 8192


def listening(
    option: str, address: str, port: int, *, shared: bool = False
) -> socket.socket:
    """A listening socket for `option`.  LaggError: the kernel refuses.

    `shared`: with another laggd of this user, which is to be replaced.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, reuse_port=shared)
    except OSError as error:
        # create_server() says the address again.
        thing, code = f"{option} {address}:{port}", error.errno or errno.EIO
        raise LaggError(thing, f"cannot listen: {os.strerror(code)}", code) from error


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is asked; of a malformed one the method is empty."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case; of several the last

    @classmethod
    def of(cls, head: bytes) -> "HttpRequest":
        """Read, up to the empty line."""
        line, *rest = head.decode(errors="replace").split("\r\n")
        method, path, *_ = [*line.split(), "", ""]
        pairs = (each.partition(":") for each in rest if ":" in each)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(method, path, headers)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What it gets."""

    status: str  # as "200 OK"
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    def octets(self, *, head_only: bool) -> bytes:
        """As they are sent; `head_only`: RFC 9110 9.3.2."""
        lines = [
            f"HTTP/1.1 {self.status}",
            f"Content-Type: {self.kind}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            "Connection: close",
            f"Content-Length: {len(self.body)}",
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head if head_only else head + self.body


class HttpListener(ABC):
    """Answers while it is entered; an async context manager."""

    def __init__(self, listener: socket.socket) -> None:
        """Takes the socket, which listens."""
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    @abstractmethod
    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """To a GET or a HEAD."""

    async def __aenter__(self) -> Self:
        """Serves from now on."""
        self._server = await asyncio.start_server(
            self._connected, sock=self._listener, limit=REQUEST_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Serves no more, and cuts short who still reads."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.transport.abort()
        if self._clients:
            await asyncio.wait(self._clients.values())

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients[writer] = task
        try:
            # A client that goes or dawdles is its own affair.
            with suppress(
                OSError, TimeoutError, asyncio.IncompleteReadError, ValueError
            ):
                await self._serve(reader, writer)
        finally:
            del self._clients[writer]
            writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                return
        request = HttpRequest.of(head)
        if request.method in ("GET", "HEAD"):
            answer = await self.answer(request)
        else:
            answer = HttpAnswer("405 Method Not Allowed", b"GET and HEAD only\n")
        writer.write(answer.octets(head_only=request.method == "HEAD"))
        async with asyncio.timeout(REQUEST_SECONDS):
            await writer.drain()
            writer.write_eof()
            while await reader.read(REQUEST_BYTES_MAX):
                pass  # until it has all, and closes
