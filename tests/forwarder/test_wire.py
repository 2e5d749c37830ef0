# SPDX-License-Identifier: BSD-2-Clause
"""What a forwarder says is looked at: one that errs or lies is not believed.

It is played by a thread, and the descriptors it sends are counted afterwards.
"""

import array
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lagg._native import ffi

from lagg.errors import LaggError
from lagg.forwarder import wire
from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.wire import ForwarderRequest, Word


def reply(what: int, names: tuple[bytes, ...] = (), **fields: object) -> bytes:
    """A struct lagg_reply, however wrong."""
    made = ffi.new("struct lagg_reply *")
    made.what, made.major, made.count = what, wire.MAJOR, len(names)
    for number, name in enumerate(names):
        ffi.memmove(made.names[number], name, len(name))
    for field, value in fields.items():
        setattr(made, field, value)
    return bytes(ffi.buffer(made))


@dataclass(frozen=True, slots=True)
class Said:
    """A message and the number of descriptors that go with it."""

    message: bytes
    fds: int = 0


HELLO = Said(reply(Word.HELLO, text=b"1.0"))


class Liar:
    """Answers each request by the next thing it has to say."""

    def __init__(self, path: Path, *said: Said) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._said = said
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            for said in self._said:
                connection.recv(4096)
                fds = array.array("i", [0] * said.fds)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
                connection.sendmsg([said.message], rights if said.fds else [])
            connection.recv(4096)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    before = len(os.listdir("/proc/self/fd"))
    yield tmp_path / "liar.sock"
    assert len(os.listdir("/proc/self/fd")) == before


def outcome(path: Path, ask: Callable[[ForwarderClient], object], *said: Said) -> str:
    """The errno that a client answers its caller with, and the reason."""
    liar = Liar(path, HELLO, *said)
    try:
        with ForwarderClient(path) as client, pytest.raises(LaggError) as error:
            ask(client)
        assert client.ended, "a connection out of step goes on"
    finally:
        liar.close()
    return f"{error.value.errno_name} {error.value.cause}"


LIST = Said(reply(Word.LIST, (b"a", b"b"), argument=2), 2)

WRONG_LISTS = {
    "short": Said(LIST.message[:-1], 2),
    "long": Said(LIST.message + b"x", 2),
    "more descriptors": Said(LIST.message, 3),
    "fewer descriptors": Said(LIST.message, 1),
    "no descriptors": Said(LIST.message),
    "one name twice": Said(reply(Word.LIST, (b"a", b"a"), argument=2), 2),
    "no name": Said(reply(Word.LIST, (b"a", b""), argument=2), 2),
    "a name that is none": Said(reply(Word.LIST, (b"a", b"\x1b[2J"), argument=2), 2),
    "more names than it says": Said(reply(Word.LIST, (b"a", b"b"), argument=1), 2),
    "fewer names than it says": Said(reply(Word.LIST, (b"a", b"b"), argument=3), 2),
    "more than can be": Said(reply(Word.LIST, (b"a",) * 64, argument=1 << 31), 64),
    "a count beyond the page": Said(reply(Word.LIST, count=65, argument=65), 65),
    "another word": Said(reply(Word.PUT)),
    "no word": Said(reply(99)),
    "another protocol": Said(reply(Word.LIST, major=9)),
    "no errno": Said(reply(Word.LIST, error=5)),
    "a wild errno": Said(reply(Word.LIST, error=-(1 << 31))),
    "unasked, with a descriptor": Said(reply(Word.YIELD, (b"a",)), 1),
}


@pytest.mark.parametrize("said", WRONG_LISTS.values(), ids=WRONG_LISTS)
def test_a_list_that_is_wrong_is_refused_and_leaves_nothing_open(
    path: Path, said: Said
) -> None:
    assert outcome(path, lambda client: client.list(), said).startswith("EPROTO ")


def test_a_forwarder_of_an_earlier_version_is_asked_for_no_session(path: Path) -> None:
    orders = {(1, 2, 0): (b"LACP", 1000), (1, 2, 1): (b"BFD", 100)}
    liar = Liar(path, HELLO, Said(reply(Word.LEASE)))
    with ForwarderClient(path) as client:
        assert client.minor < wire.SESSIONS_SINCE
        client.lease(orders)  # another request would have no answer
    liar.close()


def test_a_list_that_is_right_is_taken(path: Path) -> None:
    liar = Liar(path, HELLO, LIST)
    with ForwarderClient(path) as client:
        kept = client.list()
    liar.close()
    assert kept.keys() == {"a", "b"}
    for fd in kept.values():
        os.close(fd)


def test_a_list_that_changes_between_pages_is_read_anew(path: Path) -> None:
    full = tuple(b"%d" % number for number in range(wire.PAGE_NAMES))
    first = Said(reply(Word.LIST, full, argument=65, generation=1), 64)
    second = Said(reply(Word.LIST, (b"z",), argument=65, generation=2), 1)
    anew = Said(reply(Word.LIST, (b"a",), argument=1, generation=2), 1)
    liar = Liar(path, HELLO, first, second, anew)
    with ForwarderClient(path) as client:
        kept = client.list()
    liar.close()
    assert kept.keys() == {"a"}
    os.close(kept["a"])


def test_a_descriptor_that_nobody_asked_for_is_closed(path: Path) -> None:
    said = Said(reply(Word.COMMIT, (b"a",)), 1)
    why = outcome(path, lambda client: client.commit(), said)
    assert why == "EPROTO descriptors that nobody asked for: COMMIT"


def test_a_refusal_s_text_can_do_nothing_to_a_terminal(path: Path) -> None:
    said = Said(reply(Word.COMMIT, error=-16, text=b"busy\x1b[2J\xff"))
    liar = Liar(path, HELLO, said)
    with ForwarderClient(path) as client, pytest.raises(LaggError) as error:
        client.commit()
    liar.close()
    assert error.value.cause == "COMMIT: busy?[2J\ufffd"


def test_another_protocol_is_refused_at_once(path: Path) -> None:
    liar = Liar(path, Said(reply(Word.HELLO, major=9, error=-71, text=b"another")))
    with pytest.raises(LaggError, match="HELLO: another"):
        ForwarderClient(path)
    liar.close()


def test_nobody_there_is_an_error_that_names_the_socket(path: Path) -> None:
    with pytest.raises(GoneError, match=r"liar\.sock: cannot connect"):
        ForwarderClient(path)


@pytest.mark.parametrize("word", Word)
def test_a_request_is_packed_as_c_reads_it(word: Word) -> None:
    packed = ForwarderRequest(word, 1, 2, 3, "name", b"pdu").pack()
    request = ffi.from_buffer("struct lagg_request *", packed)
    assert (request.what, request.lagg, request.slot, request.argument) == (
        *(word.value, 1, 2),
        3,
    )
    assert ffi.string(request.name) == b"name"
    assert bytes(request.bytes)[: request.bytes_count] == b"pdu"


def test_a_payload_longer_than_a_message_can_carry_is_an_error() -> None:
    with pytest.raises(ValueError, match="longer than a message can carry"):
        ForwarderRequest(Word.LEASE, payload=bytes(wire.LEASE_BYTES_MAX + 1)).pack()
