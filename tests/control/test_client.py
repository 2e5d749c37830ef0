# SPDX-License-Identifier: BSD-2-Clause
"""How long `laggctl` waits: for who is at work without an end, for the dead not."""

import ast
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lagg.control import client, interface
from lagg.control.client import Client, NoDaemonError

MOMENT = struct.pack("ll", 0, 20_000)
"""As struct timeval: in place of REPLY_SECONDS, where nobody answers in any time."""

LOOKS = 3
DONE = b'{"parameters": {"changes": []}}\0'
ALIVE = b'{"parameters": {"product": "laggd"}}\0'


def hurry(connection: socket.socket) -> None:
    """Has its client look soon whether laggd lives."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, MOMENT)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is, those that look as well."""

    def soon(connection: socket.socket, option: int, _: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, option, MOMENT)

    monkeypatch.setattr(client, "_set_timeout", soon)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "laggd.sock")


@pytest.fixture
def serve(path: str) -> Iterator[Callable[[Callable[[socket.socket], None]], None]]:
    """Runs a laggd, which has the listening socket, beside the test."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        threads: list[threading.Thread] = []

        def start(laggd: Callable[[socket.socket], None]) -> None:
            threads.append(threading.Thread(target=laggd, args=(listener,)))
            threads[0].start()

        yield start
        for thread in threads:
            thread.join()


def test_a_change_is_waited_for_as_long_as_laggd_lives(
    path: str, serve: Callable[[Callable[[socket.socket], None]], None]
) -> None:
    asked: list[bytes] = []

    def busy(listener: socket.socket) -> None:
        working, _ = listener.accept()
        with working:
            working.recv(4096)
            for _ in range(LOOKS):
                with listener.accept()[0] as looking:
                    asked.append(looking.recv(4096))
                    looking.sendall(ALIVE)
            working.sendall(DONE)

    serve(busy)
    with Client(path) as laggd:
        hurry(laggd._socket)  # who looks has all the time that laggd needs
        assert laggd.call("Reload") == {"changes": []}
    assert asked == [b'{"method": "org.varlink.service.GetInfo"}\0'] * LOOKS


@pytest.mark.usefixtures("hurried")
def test_a_laggd_that_hangs_is_given_up(
    path: str, serve: Callable[[Callable[[socket.socket], None]], None]
) -> None:
    ended = threading.Event()

    def hanging(listener: socket.socket) -> None:
        with listener.accept()[0], listener.accept()[0]:
            ended.wait()

    serve(hanging)
    with Client(path) as laggd, pytest.raises(NoDaemonError) as caught:
        laggd.call("Reload")
    ended.set()
    assert str(caught.value) == (
        f"{path}: laggd does not answer any more: reload may be done or not,"
        " see laggctl show"
    )


GONE = "laggd died or was replaced before it answered"


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("Attach", "attach may be done or not, see laggctl show"),
        ("Defaults", "defaults may be done or not, see laggctl show"),
        ("List", "ask again"),
    ],
)
@pytest.mark.parametrize("reads", [True, False], ids=["end of file", "reset"])
def test_a_laggd_that_dies_leaves_in_doubt_what_it_was_to_do(
    path: str,
    serve: Callable[[Callable[[socket.socket], None]], None],
    method: str,
    remedy: str,
    reads: bool,
) -> None:
    def dying(listener: socket.socket) -> None:
        with listener.accept()[0] as asked:
            select.select([asked], [], [])  # who closes on what is unread resets
            if reads:
                asked.recv(4096)
                asked.sendall(DONE[:7])

    serve(dying)
    with Client(path) as laggd, pytest.raises(NoDaemonError) as caught:
        laggd.call(method, name="lagg0")
    assert str(caught.value) == f"{path}: {GONE}: {remedy}"


@pytest.mark.usefixtures("hurried")
def test_a_laggd_that_accepts_nobody_is_there_and_does_not_listen(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with Client(path), pytest.raises(NoDaemonError) as caught:
            Client(path)
    assert str(caught.value) == f"{path}: laggd does not listen"


def test_what_may_be_asked_again_is_what_needs_no_right_to_change() -> None:
    """A method that changes something says so: `with self._change()`."""
    source = ast.parse(Path(interface.__file__).read_text(encoding="utf-8"))
    methods = {
        node.name: ast.unparse(node)
        for node in ast.walk(source)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("varlinkmethod" in ast.unparse(each) for each in node.decorator_list)
    }
    assert len(methods) > len(client.LOOKS) > 0
    assert {
        name for name, text in methods.items() if "._change(" not in text
    } == client.LOOKS
