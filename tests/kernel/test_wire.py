# SPDX-License-Identifier: BSD-2-Clause
"""Netlink answers that a running kernel gives too seldom to be waited for."""

import asyncio
import errno
import os
import struct
from collections.abc import Iterator

import pytest

from lagg.kernel.netlink import messages, wire
from lagg.kernel.netlink.wire import Message, Request, Socket

INTERRUPTED = 0x12  # NLM_F_MULTI | NLM_F_DUMP_INTR
DONE, ERROR = 3, 2


def answer(kind: int, sequence: int, flags: int = 0x2, body: bytes = b"") -> Message:
    raw = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body
    return Message(kind, flags, sequence, 0, raw)


def refused(code: int, sequence: int) -> Message:
    return answer(ERROR, sequence, body=struct.pack("=i", -code) + bytes(16))


@pytest.fixture
def route() -> Iterator[Socket]:
    opened = Socket(wire.NETLINK_ROUTE)
    yield opened
    opened.close()


def script(
    monkeypatch: pytest.MonkeyPatch, route: Socket, *datagrams: list[Message]
) -> None:
    """Makes the kernel answer with these datagrams, one after the other."""
    rest = iter(datagrams)

    async def receive() -> list[Message]:
        return next(rest)

    monkeypatch.setattr(route, "receive", receive)


def dump(route: Socket) -> list[bytes]:
    flags = wire.NLM_F_REQUEST | wire.NLM_F_DUMP
    body = messages.link_request(0)
    return asyncio.run(route.ask(Request(body, messages.RTM_GETLINK, flags)))


def test_a_dump_that_was_interrupted_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, route: Socket
) -> None:
    whole = answer(messages.RTM_NEWLINK, 2)
    script(
        monkeypatch,
        route,
        [answer(messages.RTM_NEWLINK, 1, INTERRUPTED)],
        [answer(DONE, 1)],
        [whole, answer(DONE, 2)],
    )
    assert dump(route) == [whole.raw]


def test_a_dump_that_is_always_interrupted_is_an_error(
    monkeypatch: pytest.MonkeyPatch, route: Socket
) -> None:
    tries = range(1, wire.DUMP_TRIES + 1)
    script(monkeypatch, route, *([answer(DONE, each, INTERRUPTED)] for each in tries))
    with pytest.raises(OSError, match="changed each time") as caught:
        dump(route)
    assert caught.value.errno == errno.EINTR


def test_a_dump_that_ends_in_an_error_is_an_error(
    monkeypatch: pytest.MonkeyPatch, route: Socket
) -> None:
    done = answer(DONE, 1, body=struct.pack("=i", -errno.ENOMEM))
    script(monkeypatch, route, [done])
    with pytest.raises(OSError, match="memory") as caught:
        dump(route)
    assert caught.value.errno == errno.ENOMEM


def test_answers_to_an_earlier_request_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, route: Socket
) -> None:
    mine = answer(messages.RTM_NEWLINK, 1)
    stale = [refused(errno.EPERM, 0), answer(messages.RTM_NEWLINK, 0), answer(DONE, 0)]
    script(monkeypatch, route, [*stale, mine], [answer(DONE, 1)])
    assert dump(route) == [mine.raw]


def test_a_kernel_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, route: Socket
) -> None:
    monkeypatch.setattr(wire, "ANSWER_S", 0.01)
    body = messages.link_request(0)
    silent = Request(body, messages.RTM_GETLINK, wire.NLM_F_REQUEST | wire.NLM_F_ACK)
    monkeypatch.setattr(route, "send", lambda datagram: None)
    with pytest.raises(OSError, match="no answer") as caught:
        asyncio.run(route.ask(silent))
    assert caught.value.errno == errno.ETIMEDOUT


def test_the_first_answer_after_a_refused_batch_is_not_the_batch_s(
    route: Socket,
) -> None:
    """What a batch was still to be told must not reach the next request."""

    async def run() -> list[bytes]:
        nobody = messages.up_request(0x7FFFFFFF, True)
        refused = Request(nobody, messages.RTM_SETLINK)
        why = "No such device" if os.geteuid() == 0 else "not permitted"
        with pytest.raises(OSError, match=why):
            await route.ask(refused, refused)
        body = messages.link_request(1)
        return await route.ask(Request(body, messages.RTM_GETLINK))

    (raw,) = asyncio.run(run())
    link = messages.link_of(raw)
    assert link is not None
    assert link.name == "lo"
