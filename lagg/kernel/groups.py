# SPDX-License-Identifier: BSD-2-Clause
"""The IP multicast groups that interfaces have joined, and how the kernel reports them.

Owns the tables in /proc/net that say so.  Knows no frame.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping

from lagg.kernel.proc import rows_of
from lagg.link import Group

_MLD_VERSION = 2  # what the kernel speaks unless told otherwise; no table says

_SSM = {4: (b"\xe8",), 16: tuple(bytes((0xFF, 0x30 + scope)) for scope in range(16))}
"""What addresses of source-specific groups begin with (RFC 4607), by their length."""

Sources = Mapping[tuple[int, bytes], tuple[bytes, ...]]
"""Who is wanted as a sender to a group, by ifindex and group."""


def joined_groups() -> dict[int, tuple[Group, ...]]:
    """The groups of all interfaces of this thread's namespace, by ifindex.

    Takes the kernel time for each.  LaggError.  Sources are told of source-specific
    groups alone: of all others it is not known whether somebody wants any source.
    """
    found: defaultdict[int, list[Group]] = defaultdict(list)
    sources = _sources()
    for ifindex, packed, version in (*_igmp(), *_mld()):
        wanted: tuple[bytes, ...] = ()
        if packed.startswith(_SSM[len(packed)]):
            wanted = sources.get((ifindex, packed), ())
        found[ifindex].append(Group(packed, version, wanted))
    return {ifindex: tuple(groups) for ifindex, groups in found.items()}


def _igmp() -> Iterator[tuple[int, bytes, int]]:
    """A line for each interface, then one for each of its groups."""
    ifindex = version = 0
    for row in rows_of("igmp"):
        if row[-1] in (b"V1", b"V2", b"V3"):
            ifindex, version = int(row[0]), int(row[-1][1:])
        elif ifindex:  # the first line is a heading
            yield ifindex, _native(row[0]), version


def _native(word: bytes) -> bytes:
    """An address that is printed as a number of this machine."""
    return int(word, 16).to_bytes(4, sys.byteorder)


def _mld() -> Iterator[tuple[int, bytes, int]]:
    for row in rows_of("igmp6"):
        yield int(row[0]), bytes.fromhex(row[2].decode()), _MLD_VERSION


def _sources() -> Sources:
    found: defaultdict[tuple[int, bytes], tuple[bytes, ...]]
    found = defaultdict(tuple)
    for table in ("mcfilter", "mcfilter6"):
        for row in rows_of(table):
            if not row[0].isdigit():  # a heading
                continue
            group, source = (bytes.fromhex(_bare(word)) for word in row[2:4])
            if int(row[4]):  # somebody includes it
                found[int(row[0]), group] += (source,)
    return found


def _bare(word: bytes) -> str:
    return word.decode().removeprefix("0x")
