# SPDX-License-Identifier: BSD-2-Clause
"""modprobe.d(5): options of the bonding module, and aliases that name a bond.

Owns the grammar of these lines.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lagg.cli.importing.bonding import Bonds, pairs
from lagg.cli.importing.draft import Drafts
from lagg.cli.importing.text import Source

_MODULE = "bonding"


def read(sources: Iterable[Source], bonds: Bonds, drafts: Drafts) -> None:
    """`options bonding mode=1`, `options bond0 mode=1`, `alias bond0 bonding`."""
    lines = [(s, words) for s in sources for words in _lines(s.text)]
    aliases = {
        words[1]
        for _, words in lines
        if words[0] == "alias" and words[2:] == [_MODULE] and len(words) == 3
    }
    for name in sorted(aliases):
        bonds.made(name)
    for source, words in lines:
        if words[0] == "options" and words[1:2] == [_MODULE]:
            bonds.module += pairs(words[2:])
        elif words[0] == "options" and set(words[1:2]) & aliases:
            bonds.made(words[1]).add_options(pairs(words[2:]))
        elif not (words[0] == "alias" and set(words[1:2]) & aliases):
            drafts.leave(f"{source.base}: {' '.join(words)}", "no line about a bond")


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield words
