# SPDX-License-Identifier: BSD-2-Clause
"""The forwarder's family: whichever of its processes dies, and what is there then."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from lagg.forwarder.client import ForwarderClient, GoneError
from lagg.forwarder.process import Process
from tests.forwarder.world import DEADLINE_S, Running
from tests.waiting import wait_until


def test_the_standby_serves_when_the_one_that_served_is_killed(
    forwarder: Running,
) -> None:
    owner, standby = forwarder.owner(), forwarder.wait_whole()
    owner.put("lock", 0)
    assert forwarder.kill() == standby
    with pytest.raises(GoneError):
        owner.listen()
    successor = forwarder.owner()
    assert successor.list() == {}
    assert forwarder.wait_whole() not in (owner.pid, standby)


def test_a_client_that_waited_meanwhile_is_heard(forwarder: Running) -> None:
    pid = forwarder.pid
    os.kill(pid, signal.SIGSTOP)
    waiting = ForwarderClient.knock(forwarder.path, lambda _: None)
    os.kill(pid, signal.SIGKILL)
    waiting.require_greeting()
    assert waiting.pid != pid
    assert waiting.list() == {}
    waiting.disconnect()


def test_a_standby_that_dies_is_followed_by_another(forwarder: Running) -> None:
    client, standby = forwarder.client(), forwarder.wait_whole()
    os.kill(standby, signal.SIGKILL)
    wait_until(
        lambda: forwarder.family() - {client.pid, standby}, DEADLINE_S, "another"
    )
    assert client.list() == {}


def test_without_the_parent_the_one_that_serves_goes_on_and_the_standby_ends(
    forwarder: Running,
) -> None:
    client, standby = forwarder.client(), Process(forwarder.wait_whole())
    serving = Process(client.pid)
    os.kill(forwarder.process.pid, signal.SIGKILL)
    assert forwarder.wait_ended() == -signal.SIGKILL
    assert standby.ended(DEADLINE_S * 1000)
    assert client.list() == {}
    with ForwarderClient(forwarder.path) as another:
        assert another.pid == client.pid
    os.kill(client.pid, signal.SIGTERM)
    assert serving.ended(DEADLINE_S * 1000)
    for each in (standby, serving):
        each.close()


def test_processes_that_end_at_once_do_so_five_times_and_no_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    forwarder = Running(tmp_path)
    while not forwarder.process.ended():
        with suppress(GoneError, ProcessLookupError):
            os.kill(forwarder.pid, signal.SIGKILL)
    assert forwarder.process.exit_code == 1
    *ends, last = capfd.readouterr().err.splitlines()
    assert len(ends) == 5
    assert last == (
        "lagg-forwarder: 5 processes in a row ended within 1 s; makes no more"
    )
    with pytest.raises(GoneError):
        ForwarderClient(forwarder.path)
    forwarder.close()


def test_the_end_ends_every_process(forwarder: Running) -> None:
    processes = [Process(pid) for pid in (forwarder.wait_whole(), forwarder.pid)]
    forwarder.owner().end()
    assert forwarder.wait_ended() == 0
    for each in processes:
        assert each.ended()
        each.close()
