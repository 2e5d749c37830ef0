# SPDX-License-Identifier: BSD-2-Clause
"""What a lab might leave behind on this machine, and whether it did.

Owns the look: at the host's own namespace before and after, and at what was the lab's.
"""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pyroute2.nftables.main import NFTables

from lab.host import NETNS_DIRECTORY
from lab.lab import Lab


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the host's own namespace has that could be a lab's."""

    interfaces: frozenset[str]
    tables: frozenset[str]  # of nftables
    files: frozenset[str]

    @classmethod
    def now(cls) -> Self:
        """As they are."""
        with NFTables() as nft:
            tables = [str(t.get_attr("NFTA_TABLE_NAME")) for t in nft.get_tables()]
        return cls(
            interfaces=frozenset(name for _, name in socket.if_nameindex()),
            tables=frozenset(name for name in tables if name.startswith("lagg")),
            files=frozenset(map(str, Path("/run").glob("lagg*"))),
        )


@dataclass(frozen=True, slots=True)
class Traces:
    """All that a lab has made, taken down while it is up."""

    before: Surroundings
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    processes: frozenset[int]
    files: frozenset[str]

    @classmethod
    def of(cls, lab: Lab, before: Surroundings) -> Self:
        """`before`: what was there before the lab."""
        hosts = lab.hosts.values()
        return cls(
            before=before,
            namespaces=frozenset(host.netns for host in hosts),
            interfaces=frozenset(name for host in hosts for name in host.links()),
            processes=frozenset(pid for host in hosts for pid in host.pids()),
            files=frozenset({str(lab.directory)}),
        )

    def left(self) -> list[str]:
        """What is there still, each with its kind."""
        now, before = Surroundings.now(), self.before
        strayed = (now.interfaces - before.interfaces) & self.interfaces
        files = {name for name in self.files if os.path.lexists(name)}
        return [
            *_named("namespace", filter(_is_namespace, self.namespaces)),
            *_named("interface", strayed),
            *_named("nft table", now.tables - before.tables),
            *_named("process", map(str, filter(_is_process, self.processes))),
            *_named("file", files | (now.files - before.files)),
        ]


def _named(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind} {name}" for name in sorted(names)]


def _is_namespace(netns: str) -> bool:
    return (NETNS_DIRECTORY / netns).exists()


def _is_process(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()
