# SPDX-License-Identifier: BSD-2-Clause
"""A row of the tables in options.py and port_options.py: all that can be said of one.

Owns which kinds of values there are, for which protocols an option may count, and what
it is called where.  Imports nothing that would cost a command of laggctl its start-up.
"""

from enum import Enum
from typing import NamedTuple

CARRYING = ("failover", "roundrobin", "loadbalance", "lacp", "broadcast", "tlb", "alb")
STATIC = ("failover", "roundrobin", "loadbalance", "broadcast", "tlb", "alb")
ELECTS = ("failover", "tlb", "alb")
BY_FLOW = ("loadbalance", "lacp", "tlb", "alb")
LACP = ("lacp",)

U16_MAX = 2**16 - 1
"""A priority or key of LACP; priority 0 is the highest."""


class Kind(Enum):
    """What a value is, unless it is a number."""

    SWITCH = "switch"  # true or false
    WORD = "word"  # of an enumeration: the one that the default is of
    MAC = "mac"  # a unicast address, or "auto": None
    LAYERS = "layers"  # a list of some of lagghash's
    NAMES = "names"  # a list of names of interfaces
    NAME = "name"  # of an interface, or "": None
    PINS = "pins"  # a list of buckets with their ports, each as "17=eth1"
    WATCHES = "watches"  # a list of watches, each a table or its words


class Whole(NamedTuple):
    """A whole number in a range, its ends included."""

    least: int
    most: int
    zero: str = ""  # a word for 0, where it has one


class FreeBSD(NamedTuple):
    """What an option is called in FreeBSD; an empty field: not there."""

    word: str = ""  # of ifconfig(8); a switch is cleared by it after a minus sign
    flag: str = ""  # in ifconfig(8)'s line of lagg options
    bit: int = 0  # of the flag
    knob: str = ""  # of sysctl(8), below net.link.lagg
    every_lagg: bool = False  # the knob is of all laggs at once, no default


class Option(NamedTuple):
    """A row of the tables."""

    key: str  # in files, records and requests; the flag has dashes
    value: Kind | Whole
    help: str  # of the flag, for a line
    sentence: str  # or several, of the manual
    metavar: str = "N"  # what follows the flag, unless the option is a switch
    protos: tuple[str, ...] = ()  # that it counts for; none: it is the interface's
    freebsd: FreeBSD = FreeBSD()
    usual: object = None  # its default as records have it; None: none, or it is drawn

    @property
    def flag(self) -> str:
        """The option's long name on the command line."""
        return f"--{self.key.replace('_', '-')}"
