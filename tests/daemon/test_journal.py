# SPDX-License-Identifier: BSD-2-Clause
"""What the journal is given, as it reads it from its socket."""

import fcntl
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.control.peer import program_of
from lagg.daemon.journal import MESSAGE_IDS, entry
from lagg.daemon.log import JournalHandler
from lagg.events import Asker, Event, EventKind
from lagg.running.chronicle import Chronicle
from lagg.tasks import asked
from tests.control.world import DEADLINE_SECONDS, JOURNAL, RawClient
from tests.tree import ROOT


class Journal:
    """journald, as far as a client knows it: a socket, and entries as mappings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(DEADLINE_SECONDS)
        self.seals: int | None = None  # of the memory that came last

    def next(self) -> dict[str, str]:
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for each in descriptors:
            self.seals = fcntl.fcntl(each, fcntl.F_GET_SEALS)
            data = os.pread(each, os.fstat(each).st_size, 0)
            os.close(each)
        return dict(fields(data))

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def fields(data: bytes) -> Iterator[tuple[str, str]]:
    """https://systemd.io/JOURNAL_NATIVE_PROTOCOL, read anew."""
    while data:
        line, _, data = data.partition(b"\n")
        name, is_text, value = line.partition(b"=")
        if not is_text:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        yield name.decode(), value.decode()


@pytest.fixture
def journal() -> Iterator[Journal]:
    with tempfile.TemporaryDirectory(prefix="laggd-") as place:
        found = Journal(Path(place, "journal"))
        yield found
        found.close()


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    handler = JournalHandler(str(journal.path))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield logging.getLogger("lagg.here")
    root.removeHandler(handler)
    root.setLevel(level)


CLIENT = Asker(uid=1000, pid=4711, program="laggctl")
TOLD = {"SYSLOG_IDENTIFIER": "laggd", "LOGGER": "lagg.running.chronicle"}


@pytest.mark.usefixtures("log")
def test_an_event_has_its_lagg_port_kind_and_who_asked_as_fields(
    journal: Journal,
) -> None:
    seen: list[Event] = []
    chronicle = Chronicle(seen.append)
    chronicle.tell("lagg0", EventKind.PORT_LINK, "down", "eth1", warns=True)
    with asked(CLIENT):
        chronicle.tell("lagg0", EventKind.LINK, "up", cause="eth1 attached")
    assert journal.next() == TOLD | {
        "MESSAGE": "lagg0: eth1: port-link: down",
        "PRIORITY": "4",
        "MESSAGE_ID": MESSAGE_IDS[EventKind.PORT_LINK],
        "LAGG": "lagg0",
        "PORT": "eth1",
        "EVENT": "port-link",
    }
    assert journal.next() == TOLD | {
        "MESSAGE": "lagg0: link: up (eth1 attached), by laggctl, pid 4711, uid 1000",
        "PRIORITY": "6",
        "MESSAGE_ID": MESSAGE_IDS[EventKind.LINK],
        "LAGG": "lagg0",
        "EVENT": "link",
        "CAUSE": "eth1 attached",
        "BY_UID": "1000",
        "BY_PID": "4711",
        "BY_PROGRAM": "laggctl",
    }


def test_an_entry_may_have_lines(journal: Journal, log: logging.Logger) -> None:
    log.error("one\ntwo=%s", "\x1bß")
    found = journal.next()
    assert (found["MESSAGE"], found["PRIORITY"]) == ("one\ntwo=\x1bß", "3")


def test_a_name_that_is_no_utf_8_is_said_by_its_bytes() -> None:
    record = logging.LogRecord("lagg", logging.INFO, "", 0, "", (), None)
    assert dict(fields(entry(record, "\udcff", None)))["MESSAGE"] == "\\udcff"


def test_what_is_too_long_for_a_datagram_comes_as_sealed_memory(
    journal: Journal, log: logging.Logger
) -> None:
    log.info("%s", "x" * 5_000_000)
    assert journal.next()["MESSAGE"] == "x" * 5_000_000
    sealed = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    assert journal.seals is not None
    assert journal.seals & sealed == sealed


def test_while_the_journal_is_away_lines_go_to_standard_error(
    journal: Journal, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = JournalHandler(str(journal.path))  # it knows the stream of this test
    journal.close()
    record = log.makeRecord("lagg", logging.WARNING, "", 0, "a\nb", (), None)
    handler.emit(record)
    assert capsys.readouterr().err == "<4>a\n<4>b\n"


@pytest.mark.slow
def test_laggd_says_to_the_journal_who_changed_what(journal: Journal) -> None:
    place = journal.path.parent
    path = place / "s"
    config = place / "laggd.toml"
    config.write_text("")
    words = ["--socket", str(path), "--state-dir", str(place), "--config", str(config)]
    stream = place / "stderr"
    with stream.open("w") as stderr:
        stat = os.fstat(stderr.fileno())
        named = {
            "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}",
            "PYTHONPATH": "tools/packages",
            JOURNAL: str(journal.path),
        }
        laggd = subprocess.Popen(
            [sys.executable, "-m", "tests.control.world", *words],
            cwd=ROOT,
            env={**os.environ, **named},
            stderr=stderr,
        )
    with laggd:
        try:
            assert journal.next()["MESSAGE"].startswith(f"serving {path}")
            config.write_text("[[lagg]]\nname = 'lagg0'\n")
            with RawClient(str(path)) as client:
                client.call("Reload")
            found = journal.next()
        finally:
            laggd.terminate()
    by = Asker(os.geteuid(), os.getpid(), program_of(os.getpid()))
    assert found["MESSAGE"] == f"reload: lagg0: created, laggproto failover, by {by}"
    assert found["BY_UID"] == str(os.geteuid())
    assert stream.read_text() == ""


def test_every_kind_of_event_has_one_message_id_and_it_is_in_the_manual() -> None:
    text = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    section = text.partition("\n## The journal\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| `([0-9a-f]{32})` \|", section, re.MULTILINE)
    assert rows == [(kind.value, each) for kind, each in MESSAGE_IDS.items()]
    assert len({*MESSAGE_IDS.values()}) == len(EventKind)
