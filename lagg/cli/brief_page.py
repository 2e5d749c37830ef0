# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show` of several laggs, a line each, and `show --tree`: a first look.

Owns their layout, and in how few words a lagg and a port say how they do.  Pure, as
show_page.py is; knows no terminal but its width and the choice of colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lagg.cli.fold import CUT, clip, cut
from lagg.cli.lacp_page import NOBODY, partner_words
from lagg.cli.said import (
    BOLD,
    LIGHT,
    Paint,
    carrier_reason,
    columns,
    shares,
    speed_words,
    title_words,
    trial_words,
)

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

HEAD = ("lagg", "link", "proto", "speed", "ports", "")
TRUNK = "│  "


def brief_page(laggs: Sequence[LaggRecord], width: int | None, paint: Paint) -> str:
    """A line for each lagg, at most `width` characters; None: as long as they are."""
    rows = [HEAD, *map(_row, laggs)]
    used = sum(max(len(row[at]) for row in rows) + 2 for at in range(len(HEAD) - 1))
    room = None if width is None else max(width - used, len(CUT))
    rows = [(*row[:-1], cut(row[-1], room)) for row in rows]
    colours = [None, *(LIGHT.get(lagg["link"]) for lagg in laggs)]
    lines = columns(rows, lambda row: colours[row], paint)
    return "\n".join(line[2:] for line in lines)


def tree_page(
    host: str, laggs: Sequence[LaggRecord], width: int | None, paint: Paint
) -> str:
    """The host, its laggs, their ports, and with lacp who is at the other end."""
    lines = [paint(host, BOLD)]
    for at, lagg in enumerate(laggs):
        last = at == len(laggs) - 1
        title = f"{paint(lagg['name'], BOLD)}  {', '.join(title_words(lagg, paint))}"
        room = None if width is None else width - len(TRUNK)
        lines.append(f"{'└─' if last else '├─'} {title}")
        twigs = _twigs(lagg, room, paint)
        lines += [f"{' ' * len(TRUNK) if last else TRUNK}{twig}" for twig in twigs]
    return "\n".join(line if width is None else clip(line, width) for line in lines)


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
    waits = [f"waiting for {waited}"] if waited else []
    return "; ".join((*trial_words(lagg), words, *waits))


def _partner_words(lagg: LaggRecord) -> list[str]:
    partner = partner_words(lagg)
    return [f"with {partner}"] if partner else []


# ---- the tree ------------------------------------------------------------------------


def _twigs(lagg: LaggRecord, width: int | None, paint: Paint) -> list[str]:
    rows = [_port_cells(port, lagg) for port in lagg["ports"]]
    rows += [(name, "-", "", "waited for") for name in lagg["waiting_for"]]
    if not rows:
        return ["└─ no ports"]
    used = 3 + sum(max(len(row[at]) for row in rows) + 2 for at in range(3))
    room = None if width is None else max(width - used, len(CUT))
    rows = [(*row[:-1], cut(row[-1], room)) for row in rows]
    colours = [LIGHT.get(cells[1]) for cells in rows]
    lines = [line[2:] for line in columns(rows, lambda row: colours[row], paint)]
    lines += [f"partner {each}" for each in (partner_words(lagg),) if each]
    return [
        f"{'└─' if at == len(lines) - 1 else '├─'} {line}"
        for at, line in enumerate(lines)
    ]


def _port_cells(port: PortRecord, lagg: LaggRecord) -> tuple[str, ...]:
    words = port["reason"] or shares(port, lagg)
    words += _other_end(port, lagg)
    speed = speed_words(port["speed_mbps"]) if port["link"] == "up" else "-"
    return port["name"], port["link"], speed, words


def _other_end(port: PortRecord, lagg: LaggRecord) -> str:
    """As " -> port 3", with its system where that is not the lagg's partner."""
    partner = port["lacp"] and port["lacp"]["partner"]
    if partner is None or partner["system"] == NOBODY:
        return ""
    agreed = lagg["lacp"] and lagg["lacp"]["partner"]
    is_his = agreed is not None and agreed["system"] == partner["system"]
    return f" -> {'' if is_his else partner['system'] + ' '}port {partner['port']}"
