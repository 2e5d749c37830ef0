# SPDX-License-Identifier: BSD-2-Clause
"""The journal's native protocol: an entry of fields in one datagram.

Owns which fields an entry of laggd has, and how it reaches journald
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL).  Knows no logger's settings.
"""

import errno
import fcntl
import logging
import os
import socket
from uuid import UUID, uuid5

from lagg.events import Asker, Event, EventKind

SOCKET = "/run/systemd/journal/socket"

PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""syslog(3)'s."""

_NAMESPACE = UUID("4e3fc846-1f29-43f5-8d6d-91331e00575f")

MESSAGE_IDS = {kind: uuid5(_NAMESPACE, kind.value).hex for kind in EventKind}
"""One for each kind of event, for ever; in OPERATIONS.md."""

_TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)


class JournalError(Exception):
    """The journal takes nothing now."""


def entry(record: logging.LogRecord, text: str, by: Asker | None) -> bytes:
    """A log record as a datagram; `text` is its message, `by` who asked for it.

    Of an event its lagg, port, kind and MESSAGE_ID are fields as well.
    """
    fields: dict[str, object] = {
        "MESSAGE": text,
        "PRIORITY": PRIORITIES.get(record.levelno, 6),
        "SYSLOG_IDENTIFIER": "laggd",
        "LOGGER": record.name,
    }
    event: Event | None = getattr(record, "event", None)
    if event is not None:
        fields |= {
            "MESSAGE_ID": MESSAGE_IDS[event.event],
            "LAGG": event.lagg,
            "PORT": event.port,
            "EVENT": event.event.value,
            "CAUSE": event.cause,
        }
    if by is not None:
        fields |= {"BY_UID": by.uid, "BY_PID": by.pid, "BY_PROGRAM": by.program}
    return b"".join(
        _field(name, str(value)) for name, value in fields.items() if value is not None
    )


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" in data:  # by its length, 64 bits little-endian
        return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
    return b"%b=%b\n" % (name.encode(), data)


def send(datagram: bytes, path: str) -> None:
    """Sends it, at once or not at all.  JournalError."""
    flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, flags) as sender:
        try:
            sender.connect(path)
            try:
                sender.send(datagram)
            except OSError as error:
                if error.errno not in _TOO_LONG:
                    raise
                _send_memory(sender, datagram)
        except OSError as error:
            raise JournalError(str(error)) from error


def _send_memory(sender: socket.socket, datagram: bytes) -> None:
    """As sealed memory in place of the datagram; OSError."""
    memory = os.memfd_create("laggd-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(memory, "wb", buffering=0) as file:
        file.write(datagram)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(sender, [], [memory])
