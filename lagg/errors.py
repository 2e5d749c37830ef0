# SPDX-License-Identifier: BSD-2-Clause
"""Errors that reach a user.

Owns how a refusal is worded, and two ways to live with one; knows no part that raises
one.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class LaggError(Exception):
    """A refused operation: which thing, why, and the errno lagg(4) users know.

    Nothing has changed when it is raised: every operation is whole or undone.
    """

    def __init__(self, thing: str, cause: str, code: int) -> None:
        """`thing` as "lagg0" or "lagg0: port eth1"; `code` a positive errno."""
        super().__init__(thing, cause, code)
        self.thing = thing
        self.cause = cause
        self.code = code

    @property
    def errno_name(self) -> str:
        """The errno as a word, "EBUSY"."""
        if self.code == errno.EOPNOTSUPP:  # Python calls it ENOTSUP, Linux does not
            return "EOPNOTSUPP"
        return errno.errorcode.get(self.code, f"errno {self.code}")

    def __str__(self) -> str:
        """The one line a user reads: thing, cause, errno."""
        return f"{self.thing}: {self.cause} ({self.errno_name})"

    @classmethod
    def of_os(cls, thing: str, doing: str, error: OSError) -> "LaggError":
        """A LaggError for a failed system call; `doing` names the step."""
        cause = f"{doing}: {error.strerror or error}"
        return cls(thing, cause, error.errno or errno.EIO)


class BadRequestError(LaggError):
    """The request itself is wrong (EINVAL): a bad name, option or value."""

    def __init__(self, thing: str, cause: str, code: int = errno.EINVAL) -> None:
        """A LaggError with EINVAL, unless lagg(4) answers with another errno."""
        super().__init__(thing, cause, code)


class UnlikeError(LaggError):
    """What another laggd has, or has left, this one cannot go on with, now or later."""


def nearest(word: str, known: Sequence[str], before: str = "") -> str:
    """As " (did you mean ...?)"; empty when none of the known words is near.

    `before` is said before the word, and likens none to another.
    """
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {before}{near[0]}?)" if near else ""


Log = Callable[[str, LaggError], object]
"""A logger's method, as warning(): the line names whose logger it is."""


@contextmanager
def done_if(*codes: int) -> Iterator[None]:
    """A refusal with one of these errnos says that what was wanted is so already."""
    try:
        yield
    except LaggError as error:
        if error.code not in codes:
            raise


@contextmanager
def logged(log: Log, words: str = "%s") -> Iterator[None]:
    """A refusal inside is logged, `words` around it, and goes no further."""
    try:
        yield
    except LaggError as error:
        log(words, error)
