# SPDX-License-Identifier: BSD-2-Clause
"""What lagg-forwarder and its client say to each other, over a real socket."""

import array
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lagg.errors import LaggError
from lagg.forwarder import wire
from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.wire import ForwarderRequest, Word
from tests.forwarder.world import (
    DEADLINE_S,
    Running,
    descriptors,
    hear,
    listed,
    refusal,
    same,
    stopped,
)
from tests.tree import ROOT
from tests.waiting import wait_until


@contextmanager
def opened(count: int) -> Iterator[list[int]]:
    """As many files, all different."""
    fds = [os.memfd_create(f"kept-{number}") for number in range(count)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@contextmanager
def answering(client: ForwarderClient, answer: Callable[[], object]) -> Iterator[None]:
    """The owner hears one YIELD meanwhile, in a thread, and answers so."""

    def work() -> None:
        assert hear(client) is Word.YIELD
        answer()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


class Owner:
    """Another process that is the owner, and keeps one descriptor there."""

    def __init__(self, forwarder: Running) -> None:
        program = (
            "import sys; from pathlib import Path\n"
            "from lagg.forwarder.client import ForwarderClient\n"
            "client = ForwarderClient(Path(sys.argv[1]))\n"
            "client.claim(); client.commit()\n"
            "client.put('lock', 0); print('owner', flush=True); sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(forwarder.path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"owner\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def owner_apart(forwarder: Running) -> Iterator[Owner]:
    owner = Owner(forwarder)
    yield owner
    owner.kill()


# ---- descriptors -------------------------------------------------------------------


def test_what_one_client_puts_another_has(forwarder: Running) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    with opened(3 * wire.PAGE_NAMES + 5) as fds:
        put = {f"1/{number}/tx": fd for number, fd in enumerate(fds)}
        for name, fd in put.items():
            owner.put(name, fd)
        with listed(other) as kept:
            assert kept.keys() == put.keys()
            assert all(same(kept[name], fd) for name, fd in put.items())
            assert not any(os.get_inheritable(fd) for fd in kept.values())


def test_what_is_put_again_is_replaced_and_what_is_deleted_is_closed(
    forwarder: Running,
) -> None:
    owner = forwarder.owner()
    before = descriptors(owner)
    with opened(2) as (one, two):
        owner.put("lock", one)
        owner.put("lock", two)
        assert descriptors(owner) == before + 1
        with listed(owner) as kept:
            assert [same(fd, two) for fd in kept.values()] == [True]
    owner.delete("lock")
    assert descriptors(owner) == before
    assert owner.list() == {}
    with pytest.raises(LaggError) as error:
        owner.delete("lock")
    assert refusal(error.value) == ("DEL lock", "ENOENT")


def test_descriptors_outlive_who_put_them(
    forwarder: Running, owner_apart: Owner
) -> None:
    owner_apart.kill()
    with listed(forwarder.client()) as kept:
        assert kept.keys() == {"lock"}


def test_a_name_that_is_none_is_refused(forwarder: Running) -> None:
    owner = forwarder.owner()
    for name in ("", "Lock", "a b", "ä"):
        with pytest.raises(LaggError) as error:
            owner.put(name, 0)
        assert error.value.errno_name == "EINVAL"
    with pytest.raises(ValueError, match="longer than a message can carry"):
        owner.put("n" * 48, 0)
    assert owner.list() == {}


# ---- who may write -----------------------------------------------------------------


def test_who_is_not_the_owner_changes_nothing(forwarder: Running) -> None:
    forwarder.owner()
    other = forwarder.client()
    acts: tuple[Callable[[], object], ...] = (
        lambda: other.put("lock", 0),
        lambda: other.delete("lock"),
        other.end,
    )
    for act in acts:
        with pytest.raises(LaggError) as error:
            act()
        assert error.value.errno_name == "EPERM"
    assert other.list() == {}


def test_an_owner_that_goes_is_followed_and_told(forwarder: Running) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    with answering(owner, owner.go):
        other.claim()
    with pytest.raises(LaggError, match="not the owner"):
        owner.put("lock", 0)  # nobody may write until it commits
    other.commit()
    assert hear(owner) is Word.DONE
    other.put("lock", 0)


def test_an_owner_that_refuses_says_why_and_stays(forwarder: Running) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    with (
        answering(owner, lambda: owner.refuse("lagg0: a flow is on the move")),
        pytest.raises(LaggError, match="lagg0: a flow is on the move") as error,
    ):
        other.claim()
    assert error.value.errno_name == "ECANCELED"
    owner.put("lock", 0)


def test_a_dead_owner_is_not_asked(forwarder: Running, owner_apart: Owner) -> None:
    owner_apart.kill()
    other = forwarder.client()
    other.claim()
    other.commit()
    other.delete("lock")


def test_an_owner_that_dies_while_it_is_asked_is_followed(
    forwarder: Running, owner_apart: Owner
) -> None:
    other = forwarder.client()
    with stopped(owner_apart.process.pid):
        killer = threading.Timer(0.2, owner_apart.process.kill)
        killer.start()
        other.claim()
        killer.join()
    other.commit()
    other.delete("lock")


def test_a_silent_owner_is_not_followed_and_keeps_what_it_has(
    forwarder: Running, owner_apart: Owner
) -> None:
    other = forwarder.client()
    with stopped(owner_apart.process.pid):
        for _ in range(2):
            with pytest.raises(LaggError, match="the owner does not answer") as error:
                other.claim()
            assert refusal(error.value) == ("CLAIM", "ETIMEDOUT")
        with pytest.raises(LaggError) as error:
            other.commit()
        assert refusal(error.value) == ("COMMIT", "ENOMSG")
    with listed(other) as kept:
        assert kept.keys() == {"lock"}


def test_a_newcomer_that_dies_before_it_commits_was_never_there(
    forwarder: Running,
) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    with answering(owner, owner.go):
        other.claim()
    other.disconnect()
    assert hear(owner) is Word.RESUME
    owner.put("lock", 0)


def test_a_newcomer_that_does_not_commit_in_time_was_never_there(
    forwarder: Running,
) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    with answering(owner, owner.go):
        other.claim()
    assert hear(owner) is Word.RESUME
    with pytest.raises(LaggError) as error:
        other.commit()
    assert refusal(error.value) == ("COMMIT", "ENOMSG")
    owner.put("lock", 0)


# ---- who is no client --------------------------------------------------------------


def test_the_end_closes_all_and_is_exit_0(forwarder: Running) -> None:
    owner, other = forwarder.owner(), forwarder.client()
    owner.put("lock", 0)
    owner.end()
    assert forwarder.wait_ended() == 0
    with pytest.raises(GoneError):
        other.list()
    assert other.ended


def test_one_that_does_not_read_is_dropped_and_keeps_nobody_waiting(
    forwarder: Running,
) -> None:
    deaf, other = forwarder.raw(), forwarder.client()
    deaf.setblocking(False)
    request = ForwarderRequest(Word.LIST).pack()
    dropped = False
    while not dropped:
        try:
            deaf.send(request)
        except BlockingIOError:
            pass  # it is not read until the one before was answered
        except (BrokenPipeError, ConnectionResetError):
            dropped = True
        assert other.list() == {}


def test_no_more_than_there_is_room_for_are_served(forwarder: Running) -> None:
    clients = [forwarder.client() for _ in range(16)]
    with pytest.raises(GoneError):
        ForwarderClient(forwarder.path)
    clients.pop().disconnect()
    wait_until(lambda: _can_connect(forwarder), DEADLINE_S, "there is room again")


def _can_connect(forwarder: Running) -> bool:
    try:
        ForwarderClient(forwarder.path).disconnect()
    except GoneError:
        return False
    return True


def test_a_stopped_forwarder_is_an_error_that_names_the_request(
    forwarder: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = forwarder.client()
    monkeypatch.setattr("lagg.forwarder.client.ANSWER_NS_MAX", 1_000_000)
    with stopped(client.pid), pytest.raises(LaggError) as error:
        client.list()
    assert error.value.errno_name == "ETIMEDOUT"
    assert "LIST" in error.value.cause
    assert client.ended


def garbage(chance: random.Random) -> tuple[bytes, int]:
    """A message that is none, or is none of an owner's, and descriptors with it."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 400)), chance.randrange(4)
    packed = bytearray(ForwarderRequest(Word(chance.randrange(len(Word)))).pack())
    for _ in range(chance.randrange(4) if kind == 1 else 1):
        packed[chance.randrange(len(packed))] = chance.randrange(256)
    return bytes(packed), chance.randrange(3) if kind == 2 else 0


def send(to: socket.socket, message: bytes, count: int) -> None:
    fds = array.array("i", [0] * count)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if count else []
    to.sendmsg([message], ancillary)


def test_a_thousand_messages_of_garbage_change_nothing(forwarder: Running) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    owner = forwarder.owner()
    owner.put("lock", 0)
    stranger = forwarder.raw()
    hello = ForwarderRequest(Word.HELLO, argument=wire.MAJOR << 16)
    send(stranger, hello.pack(), 0)
    stranger.recv(wire.REPLY_BYTES)
    before = descriptors(owner)
    for _ in range(1000):
        message, count = garbage(chance)
        if message[:4] == ForwarderRequest(Word.CLAIM).pack()[:4]:
            continue  # whose answer is the owner's to give
        send(stranger, message, count)
        reply, fds, _, _ = socket.recv_fds(stranger, wire.REPLY_BYTES, 253)
        for fd in fds:
            os.close(fd)
        assert len(reply) == wire.REPLY_BYTES
    assert descriptors(owner) == before
    with listed(owner) as kept:
        assert kept.keys() == {"lock"}
    owner.delete("lock")
