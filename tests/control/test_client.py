# SPDX-License-Identifier: BSD-2-Clause
"""How long `laggctl` waits: for who is at work without an end, for the dead not."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lagg.control import client
from lagg.control.client import Client, NoDaemonError

MOMENT = struct.pack("ll", 0, 20_000)
"""As struct timeval: in place of REPLY_SECONDS."""

LOOKS = 3
DONE = b'{"parameters": {"changes": []}}\0'
ALIVE = b'{"parameters": {"product": "laggd"}}\0'


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    def soon(connection: socket.socket, option: int, seconds: int) -> None:
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
        assert laggd.call("Reload") == {"changes": []}
    assert asked == [b'{"method": "org.varlink.service.GetInfo"}\0'] * LOOKS


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
    assert str(caught.value) == f"{path}: laggd does not answer any more"
