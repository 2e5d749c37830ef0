# SPDX-License-Identifier: BSD-2-Clause
"""Who is at the other end of the control socket, and how that is told."""

import os
import socket
from pathlib import Path

import pytest

from lagg.control.peer import Peer, peer_of, program_of


def test_root_the_daemons_own_user_and_members_may_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Peer(1000, frozenset()).may_change(1)
    assert Peer(0, frozenset()).may_change(1)
    assert Peer(1001, frozenset({1})).may_change(1)
    assert not Peer(1001, frozenset({2})).may_change(1)


def test_the_kernel_attests_this_process() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_of(here) == Peer(
            os.geteuid(), frozenset({os.getegid(), *os.getgroups()}), os.getpid()
        )


def test_a_program_that_calls_itself_an_escape_sequence_is_told_in_plain_text() -> None:
    comm = Path("/proc/self/comm")
    was = comm.read_bytes()
    try:
        comm.write_bytes(b"a\x1b[2J\n\xffb\xc3\xa9")
        assert program_of(os.getpid()) == "a\\x1b[2J\\x0a\\xffbé"
    finally:
        comm.write_bytes(was.rstrip(b"\n"))


def test_a_process_that_cannot_be_seen_has_no_name() -> None:
    assert program_of(0) is None
