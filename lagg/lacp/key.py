# SPDX-License-Identifier: BSD-2-Clause
"""Actor_Oper_Port_Key (802.1AX 6.3.5): which ports may be one aggregate.

Owns what a key is made of when the user gives none: a class of speed, and an identity
that tells the laggs of a system apart and comes from the lagg's name, for a lagg that
is made anew says the same words to its partner.  Knows no port and no other lagg.
"""

from collections.abc import Container

from lagg.lacp.values import Settings

SPEEDS_MBPS = (
    *(10, 100, 1000, 2500, 5000, 10_000, 14_000, 20_000, 25_000, 40_000, 50_000),
    *(56_000, 100_000, 200_000, 400_000, 800_000),
)
"""Speeds with a class of their own; any other known one shares the last class."""

_SPEED_CLASSES = {speed: n for n, speed in enumerate(SPEEDS_MBPS, 2)}
_CLASS_UNKNOWN = 1
_CLASS_OTHER = 31
_CLASS_BITS = 5

IDENTITIES = 1 << 16 - _CLASS_BITS
"""As many as a key of 16 bits has room for beside the class of speed."""

_DIGITS = "0123456789"
_FACTOR = 33
"""D. J. Bernstein's, in the hash of a name: it puts common names far apart."""


def key_of(settings: Settings, speed_mbps: int, identity: int) -> int:
    """The user's, or speed class and lagg as lagg(4) folds them; never 0.

    Ports of unknown speed share a class: nothing excludes them (H-63).
    """
    if settings.key:
        return settings.key
    known = _SPEED_CLASSES.get(speed_mbps, _CLASS_OTHER)
    speed_class = known if speed_mbps else _CLASS_UNKNOWN
    return identity % IDENTITIES << _CLASS_BITS | speed_class


def identity_of(name: str, taken: Container[int]) -> int:
    """The identity, below IDENTITIES, of a new lagg of this name.

    When another has it, the next that is not `taken`; the name's own if all are.
    """
    own = _own_identity(name)
    circle = ((own + step) % IDENTITIES for step in range(IDENTITIES))
    return next((each for each in circle if each not in taken), own)


def _own_identity(name: str) -> int:
    """lagg0, lagg1, lagg2 ... have consecutive ones, so none has another's."""
    stem = name.rstrip(_DIGITS)
    found = 0
    for character in stem:
        found = found * _FACTOR + ord(character)
    return (found + int(name[len(stem) :] or 0)) % IDENTITIES
