# SPDX-License-Identifier: BSD-2-Clause
"""laggd's log: lines on standard error, or entries of the journal.

Owns how a line is written, and that each says who asked for what it tells.  Knows
nothing of what is logged.
"""

import logging
import os
import sys
from contextlib import suppress

from lagg.daemon import journal
from lagg.daemon.journal import PRIORITIES, JournalError, entry, send
from lagg.tasks import asker


def start_log(level: str) -> None:
    """What is logged from now on goes where standard error does."""
    lines = _stderr_handler(_PLAIN)
    handler = JournalHandler(journal.SOCKET) if _stderr_is_journal() else lines
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # It reports every poll at this level, and laggd's own debug log is wanted.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, logging.root.level))


def _stderr_handler(formatter: logging.Formatter) -> logging.Handler:
    # None: it was closed, and there is nobody to say anything to.
    stream = logging.StreamHandler(sys.stderr) if sys.stderr else logging.NullHandler()
    stream.setFormatter(formatter)
    return stream


def _said(record: logging.LogRecord, text: str) -> str:
    """The text with who asked for it, behind its first line."""
    by = asker()
    if by is None:
        return text
    first, newline, rest = text.partition("\n")
    return f"{first}, by {by}{newline}{rest}"


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _said(record, super().format(record))


_PLAIN = _Plain("%(asctime)s %(levelname)s %(message)s")


class _Prefixed(logging.Formatter):
    """sd-daemon(3): a priority in front of each line; the journal has the time."""

    def format(self, record: logging.LogRecord) -> str:
        priority = PRIORITIES.get(record.levelno, 6)
        text = _said(record, super().format(record))
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class JournalHandler(logging.Handler):
    """Entries with fields; lines where the journal does not take them."""

    def __init__(self, path: str) -> None:
        """`path`: where the journal listens."""
        super().__init__()
        self.setFormatter(logging.Formatter())  # the text alone: all else is fields
        self._path = path
        self._instead = _stderr_handler(_Prefixed())

    def emit(self, record: logging.LogRecord) -> None:
        """Gives it to the journal; for whoever logs."""
        try:
            text = _said(record, self.format(record))
            send(entry(record, text, asker()), self._path)
        except JournalError:
            self._instead.emit(record)
        except Exception:  # noqa: BLE001  as logging's own: a log ends nobody
            self.handleError(record)


def _stderr_is_journal() -> bool:
    """systemd.exec(5): JOURNAL_STREAM holds while stderr is that very stream."""
    with suppress(OSError):
        stat = os.fstat(2)
        named = os.environ.get("JOURNAL_STREAM")
        return named == f"{stat.st_dev}:{stat.st_ino}"
    return False
