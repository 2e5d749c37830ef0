# SPDX-License-Identifier: BSD-2-Clause
"""Varlink to one client over a stream, everything about it bounded.

Owns framing, the limits on what a client may send, hold and leave unread, and the way
of a call to its method.  Knows no lagg: methods and types come from a registry.
asyncvarlink supplies types, errors and introspection, and is known to this file alone
(ADR 22); its transport is not used, for it bounds neither a message nor a queue, and
reads on while a call is being answered.
"""

import asyncio
import enum
import errno
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from asyncvarlink import (
    AnnotatedResult,
    GenericVarlinkErrorReply,
    TypedVarlinkErrorReply,
    VarlinkErrorReply,
    VarlinkInterface,
    VarlinkInterfaceRegistry,
    VarlinkMethodCall,
    VarlinkMethodReply,
    VarlinkMethodSignature,
    varlinkmethod,
)
from asyncvarlink.conversion import ConversionError
from asyncvarlink.serviceerrors import InvalidParameter
from asyncvarlink.serviceinterface import VarlinkServiceInterface

from lagg.errors import LaggError

__all__ = [
    "MESSAGE_BYTES_MAX",
    "Connection",
    "MessageError",
    "Phase",
    "TypedVarlinkErrorReply",
    "VarlinkInterface",
    "decode",
    "description_of",
    "refusal",
    "registry_of",
    "varlinkmethod",
]

MESSAGE_BYTES_MAX = 64 * 1024
"""A call; the longest sensible one, 32 ports and every option, is below 2 KiB."""

STALL_SECONDS = 5
"""How long a client may take to finish a message it began, or to read a reply."""

REFUSED = "org.laggd.Lagg.Refused"

_log = logging.getLogger(__name__)


class MessageError(Exception):
    """A message that no call can be read from; `code` a positive errno."""

    def __init__(self, cause: str, code: int = errno.EINVAL) -> None:
        super().__init__(cause)
        self.cause = cause
        self.code = code


class Phase(enum.Enum):
    """What a connection does; only CALLING must not be interrupted."""

    WAITING = enum.auto()  # for a call, or for its client to read a reply
    CALLING = enum.auto()
    STREAMING = enum.auto()


def refusal(thing: str, cause: str, code: int) -> VarlinkErrorReply:
    """The Refused error of org.laggd.Lagg; `code` a positive errno."""
    name = LaggError(thing, cause, code).errno_name
    return GenericVarlinkErrorReply(
        REFUSED, {"thing": thing, "cause": cause, "errno": code, "errno_name": name}
    )


def registry_of(interface: VarlinkInterface, version: str) -> VarlinkInterfaceRegistry:
    """The interface, and that by which a client finds out about it."""
    found = VarlinkInterfaceRegistry()
    found.register_interface(interface)
    service = VarlinkServiceInterface("laggd", "laggd", version, "", found)
    found.register_interface(service)
    return found


def description_of(interface: type[VarlinkInterface]) -> str:
    """The interface in varlink's own language."""
    lines = interface.render_interface_description().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def decode(message: bytes) -> VarlinkMethodCall:
    """The call in a message without its NUL.  Raises MessageError."""
    try:
        value = json.loads(
            message.decode(),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
        )
        return VarlinkMethodCall.fromjson(value)
    except RecursionError as error:
        raise MessageError("nested too deeply") from error
    except (ValueError, TypeError) as error:
        # Also text that is not UTF-8, and integers of thousands of digits.
        raise MessageError(f"not a varlink call: {error}") from error


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


class Connection:
    """One client: a call is read, answered, and only then is the next one read."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        registry: VarlinkInterfaceRegistry,
    ) -> None:
        """`reader` has MESSAGE_BYTES_MAX as its limit."""
        self._reader = reader
        self._writer = writer
        self._registry = registry
        self._ending = False
        self.state = Phase.WAITING
        self.heard_seconds = asyncio.get_running_loop().time()

    async def serve(self) -> None:
        """Answers calls until the client leaves, stalls or breaks the protocol."""
        try:
            while not self._ending and (message := await self._message()):
                self.heard_seconds = asyncio.get_running_loop().time()
                await self._answer(decode(message))
        except MessageError as error:
            await self.refuse("message", error.cause, error.code)
        except TimeoutError:
            _log.info("a client stalled and was dropped")
        except OSError as error:
            _log.debug("a client left in the middle: %s", error)
        finally:
            await self._hang_up()

    async def refuse(self, thing: str, cause: str, code: int) -> None:
        """Sends an error to a client that is not served any longer."""
        try:
            await self._send(refusal(thing, cause, code).toreply())
        except OSError:
            _log.debug("a client did not wait for its refusal")

    def drop(self) -> None:
        """Ends the connection now; a call under way is finished all the same."""
        self._writer.transport.abort()

    def end(self) -> None:
        """Ends the connection, after the reply if a call is under way."""
        self._ending = True
        if self.state is not Phase.CALLING:
            self.drop()

    async def _message(self) -> bytes | None:
        """The next message without its NUL; None when there is none any more."""
        first = await self._reader.read(1)
        if not first:
            return None
        try:
            async with asyncio.timeout(STALL_SECONDS):
                rest = b"" if first == b"\0" else await self._reader.readuntil(b"\0")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            cause = f"longer than {MESSAGE_BYTES_MAX} bytes"
            raise MessageError(cause, errno.EMSGSIZE) from None
        return (first + rest)[:-1] or b" "  # an empty message is no end of file

    async def _answer(self, call: VarlinkMethodCall) -> None:
        try:
            method, signature = self._registry.lookup_method(call)
            parameters = signature.parameter_type.fromjson(call.parameters)
        except (VarlinkErrorReply, ConversionError) as error:
            reply = _error_reply(error)
        else:
            if signature.more:
                await self._stream(method(**parameters), signature)
                return
            self.state = Phase.CALLING
            reply = await _called(method, parameters, signature)
            self.state = Phase.WAITING
        await self._reply(reply, oneway=bool(call.oneway))

    async def _reply(self, reply: VarlinkMethodReply, *, oneway: bool) -> None:
        """Answers; what nobody is there to read, or asked to, is for the log."""
        try:
            if not oneway:
                await self._send(reply)
                return
        except OSError:
            _log_untold(reply)
            raise
        _log_untold(reply)

    async def _stream(
        self,
        results: AsyncGenerator[AnnotatedResult, None],
        signature: VarlinkMethodSignature,
    ) -> None:
        """Sends results until the client closes, or says anything at all."""
        self.state = Phase.STREAMING
        sending = asyncio.ensure_future(self._send_all(results, signature))
        gone = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ConnectionResetError("the client ended its stream")
            sending.result()
        finally:
            await _cancelled(sending)
            await _cancelled(gone)
            self.state = Phase.WAITING

    async def _send_all(
        self,
        results: AsyncGenerator[AnnotatedResult, None],
        signature: VarlinkMethodSignature,
    ) -> None:
        try:
            async with aclosing(results):
                async for result in results:
                    await self._send(_reply(result, signature))
        except VarlinkErrorReply as error:
            await self._send(error.toreply())

    async def _send(self, reply: VarlinkMethodReply) -> None:
        text = json.dumps(reply.tojson(), separators=(",", ":"))
        self._writer.write(text.encode() + b"\0")
        async with asyncio.timeout(STALL_SECONDS):
            await self._writer.drain()

    async def _hang_up(self) -> None:
        """Gives the client a bounded time to read what is left for it."""
        self._writer.close()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._writer.wait_closed()
        except OSError:
            self._writer.transport.abort()


async def _called(
    method: Callable[..., Any],
    parameters: dict[str, Any],
    signature: VarlinkMethodSignature,
) -> VarlinkMethodReply:
    """The reply to a call, whatever becomes of it."""
    try:
        result = method(**parameters)
        if signature.asynchronous:
            result = await result
        return _reply(result, signature)
    except VarlinkErrorReply as error:
        return error.toreply()
    except Exception:  # noqa: BLE001  a bug in one call must not end the daemon
        _log.exception("%s failed", method.__name__)
        cause = "internal error, see the log of laggd"
        return refusal(method.__name__, cause, errno.EIO).toreply()


def _log_untold(reply: VarlinkMethodReply) -> None:
    if reply.error == REFUSED:
        refused = "{thing}: {cause} ({errno_name})".format(**reply.parameters)
        _log.warning("its client was not told: %s", refused)


def _reply(
    result: AnnotatedResult, signature: VarlinkMethodSignature
) -> VarlinkMethodReply:
    parameters = signature.return_type.tojson(dict(result.parameters))
    return VarlinkMethodReply(parameters, continues=result.continues)


def _error_reply(error: VarlinkErrorReply | ConversionError) -> VarlinkMethodReply:
    if isinstance(error, VarlinkErrorReply):
        return error.toreply()
    where = ".".join(map(str, error.location))
    return InvalidParameter(parameter=where).toreply()


async def _cancelled(task: asyncio.Future[None] | asyncio.Future[bytes]) -> None:
    """Cancels and waits, so that nothing of the task runs on."""
    task.cancel()
    await asyncio.wait({task})
