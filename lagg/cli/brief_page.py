# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show` of several laggs, a line each, and `show --tree`: a first look.

Owns their layout, and in how few words a lagg and a port say how they do.  Pure, as
show_page.py is; knows no terminal but its width and the choice of colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lagg.cli.show_page import (
    BOLD,
    LIGHT,
    Paint,
    carrier_reason,
    columns,
    speed_words,
    title_words,
)

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

HEAD = ("lagg", "link", "proto", "speed", "ports", "")
CUT = "..."


def brief_page(laggs: Sequence[LaggRecord], width: int | None, paint: Paint) -> str:
    """A line for each lagg, at most `width` characters; None: as long as they are."""
    rows = [HEAD, *map(_row, laggs)]
    used = sum(max(len(row[at]) for row in rows) + 2 for at in range(len(HEAD) - 1))
    room = None if width is None else max(width - used, len(CUT))
    rows = [(*row[:-1], _cut(row[-1], room)) for row in rows]
    colours = [None, *(LIGHT.get(lagg["link"]) for lagg in laggs)]
    lines = columns(rows, lambda row: colours[row], paint)
    return "\n".join(line[2:] for line in lines)


def tree_page(host: str, laggs: Sequence[LaggRecord], paint: Paint) -> str:
    """The host, its laggs, their ports, and with lacp who is at the other end."""
    lines = [paint(host, BOLD)]
    for at, lagg in enumerate(laggs):
        last = at == len(laggs) - 1
        title = f"{paint(lagg['name'], BOLD)}  {', '.join(title_words(lagg, paint))}"
        lines.append(f"{'└─' if last else '├─'} {title}")
        lines += [f"{' ' if last else '│'}  {twig}" for twig in _twigs(lagg, paint)]
    return "\n".join(lines)


# ---- a line each ---------------------------------------------------------------------


def _row(lagg: LaggRecord) -> tuple[str, ...]:
    return (
        lagg["name"],
        lagg["link"],
        lagg["proto"],
        speed_words(lagg["speed_mbps"]),
        f"{len(_carrying(lagg))}/{len(lagg['ports'])}",
        _in_words(lagg),
    )


def _carrying(lagg: LaggRecord) -> list[str]:
    return [port["name"] for port in lagg["ports"] if port["reason"] is None]


def _in_words(lagg: LaggRecord) -> str:
    """Who carries and who does not, or why nobody does."""
    reason = carrier_reason(lagg)
    if reason is not None:
        words = reason
    else:
        words = " ".join((*_carrying(lagg), *_partner_words(lagg)))
        out = [
            f"{port['name']} {port['reason']}"
            for port in lagg["ports"]
            if port["reason"] is not None
        ]
        words = "; ".join((words, *out))
    waited = ", ".join(lagg["waiting_for"])
    return f"{words}; waiting for {waited}" if waited else words


def _partner_words(lagg: LaggRecord) -> list[str]:
    partner = lagg["lacp"] and lagg["lacp"]["partner"]
    return [f"with {partner['system']} key {partner['key']}"] if partner else []


def _cut(words: str, room: int | None) -> str:
    if room is None or len(words) <= room:
        return words
    return words[: room - len(CUT)] + CUT


# ---- the tree ------------------------------------------------------------------------


def _twigs(lagg: LaggRecord, paint: Paint) -> list[str]:
    rows = [_port_cells(port, lagg) for port in lagg["ports"]]
    rows += [(name, "-", "", "waited for") for name in lagg["waiting_for"]]
    if not rows:
        return ["└─ no ports"]
    colours = [LIGHT.get(cells[1]) for cells in rows]
    lines = columns(rows, lambda row: colours[row], paint)
    return [
        f"{'└─' if at == len(rows) - 1 else '├─'}{line[1:]}"
        for at, line in enumerate(lines)
    ]


def _port_cells(port: PortRecord, lagg: LaggRecord) -> tuple[str, ...]:
    words = port["reason"] or _shares(port, lagg)
    if port["lacp"] is not None:
        partner = port["lacp"]["partner"]
        there = f"{partner['system']} port {partner['port']} key {partner['key']}"
        words = f"{words} - {there}" if partner["port"] else words
    return port["name"], port["link"], speed_words(port["speed_mbps"]), words


def _shares(port: PortRecord, lagg: LaggRecord) -> str:
    """Its part of all frames so far, each way."""
    sent = _share(port["tx_frames"], [each["tx_frames"] for each in lagg["ports"]])
    received = _share(port["rx_frames"], [each["rx_frames"] for each in lagg["ports"]])
    return f"sends {sent} %, receives {received} %"


def _share(own: int, of_all: Sequence[int]) -> int:
    return round(100 * own / (sum(of_all) or 1))
