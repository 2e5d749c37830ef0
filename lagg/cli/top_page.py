# SPDX-License-Identifier: BSD-2-Clause
"""The page of `laggctl top`: a row for each lagg and each of its ports.

Owns the columns, which of them a narrow terminal has, the order and the scale of the
bars.  Pure: rates in, lines out; knows no terminal but its width and the choice of
colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lagg.cli.fold import clip, cut
from lagg.cli.said import (
    BOLD,
    LIGHT,
    WARNING,
    carrier_reason,
    count_words,
    lost_words,
    speed_words,
)
from lagg.cli.top_rates import HISTORY, STILL, History, Rates

if TYPE_CHECKING:
    from lagg.cli.said import Paint
    from lagg.records import LaggRecord, PortRecord

BARS = " ▁▂▃▄▅▆▇█"

STATE_MIN, SPARK_MIN = 14, 8
"""Columns with less say nothing."""


class Order(Enum):
    """What laggs, and the ports of each, are sorted by."""

    SLOT = "as they are"
    OUT = "out"
    IN = "in"
    LOST = "lost"
    NAME = "name"


class Scale(Enum):
    """What a full bar is."""

    LAGG = "the most of its lagg"
    PORT = "the most of its port"
    SPEED = "its port's speed, both ways"


class TopView(NamedTuple):
    """What a reader has chosen."""

    order: Order = Order.SLOT
    backwards: bool = False
    scale: Scale = Scale.LAGG
    ports: bool = True  # else a line for each lagg alone


class TopRow(NamedTuple):
    """A lagg or port before it is text."""

    name: str
    link: str
    share: str
    rates: Rates
    past: Sequence[Rates]
    most: float  # bits a second of a full bar
    state: str
    is_lagg: bool = False


class Column(NamedTuple):
    """A number of a row."""

    head: str
    width: int
    cell: Callable[[TopRow], str]


COLUMNS = (
    Column("share", 5, lambda row: row.share),
    Column("out bit/s", 9, lambda row: bit_words(row.rates.tx_bits)),
    Column("in bit/s", 9, lambda row: bit_words(row.rates.rx_bits)),
    Column("out/s", 9, lambda row: count_words(round(row.rates.tx_frames))),
    Column("in/s", 9, lambda row: count_words(round(row.rates.rx_frames))),
    Column("lost/s", 6, lambda row: count_words(round(row.rates.lost))),
)

_FIRST_TO_GO = ("out/s", "in/s", "lost/s", "share")
"""Where the terminal is narrow; before them the bars."""


def top_page(
    history: History, clock: str, width: int, paint: Paint, view: TopView | None = None
) -> str:
    """The whole page, at most `width` columns; `clock` the time of day."""
    head, body = top_lines(history, width, paint, view or TopView())
    return "\n".join([title(history, clock), *head, *body])


def title(history: History, clock: str) -> str:
    """The line above all."""
    count = len(history.laggs)
    return f"laggd  {clock}  {count} {'lagg' if count == 1 else 'laggs'}"


def top_lines(
    history: History, width: int, paint: Paint, view: TopView
) -> tuple[list[str], list[str]]:
    """The head of the table, and its lines; none is wider than `width`."""
    rows = [row for lagg in _sorted_laggs(history, view) for row in lagg]
    names = max((len(row.name) for row in rows), default=0) + 2
    chosen, spark_room = _fitting(width - max(names, len("  port")), rows)
    labels = [each.head.rjust(each.width) for each in chosen]
    bars = ["history".ljust(spark_room)] if spark_room else []
    head = "  ".join(["  port".ljust(names), *labels, *bars, "state"])
    lines = []
    for row in rows:
        lines.append(clip(_line(row, names, chosen, spark_room, paint), width))
    return [clip(head, width)], lines


# ---- rows --------------------------------------------------------------------------


def _sorted_laggs(history: History, view: TopView) -> list[list[TopRow]]:
    """The rows of each lagg, its own first, in the order that is wanted."""
    blocks = [_rows(history, lagg, view) for lagg in history.laggs]
    key = _KEYS[view.order]
    if key is not None:
        blocks = [[own, *sorted(ports, key=key)] for own, *ports in blocks]
        blocks.sort(key=lambda block: key(block[0]))
    if view.backwards:
        blocks = [[own, *reversed(ports)] for own, *ports in reversed(blocks)]
    return blocks


_KEYS: Mapping[Order, Callable[[TopRow], tuple[float, str]] | None] = {
    Order.SLOT: None,
    Order.OUT: lambda row: (-row.rates.tx_bits, row.name),
    Order.IN: lambda row: (-row.rates.rx_bits, row.name),
    Order.LOST: lambda row: (-row.rates.lost, row.name),
    Order.NAME: lambda row: (0, row.name),
}


def _rows(history: History, lagg: LaggRecord, view: TopView) -> list[TopRow]:
    past = [history.of(lagg["name"], port["name"]) for port in lagg["ports"]]
    own = _lagg_row(lagg, _together(past) or [STILL])
    if not view.ports:
        return [own]
    total = own.rates.tx_frames
    most = max((r.bits for each in past for r in each), default=0.0)
    ports = [
        _port_row(port, rates, total, _full(view.scale, port, rates, most))
        for port, rates in zip(lagg["ports"], past, strict=True)
    ]
    return [own, *ports]


def _lagg_row(lagg: LaggRecord, past: Sequence[Rates]) -> TopRow:
    most, state = max(rates.bits for rates in past), _lagg_state(lagg, past[-1])
    name, link = lagg["name"], lagg["link"]
    return TopRow(name, link, "", past[-1], past, most, state, is_lagg=True)


def _together(past: Sequence[Sequence[Rates]]) -> list[Rates]:
    """The sums of several histories, which end together."""
    longest = max(map(len, past), default=0)
    filled = [[STILL] * (longest - len(each)) + list(each) for each in past]
    return [
        Rates(*map(sum, zip(*each, strict=True))) for each in zip(*filled, strict=True)
    ]


def _full(scale: Scale, port: PortRecord, past: Sequence[Rates], most: float) -> float:
    match scale:
        case Scale.LAGG:
            return most
        case Scale.PORT:
            return max((rates.bits for rates in past), default=0.0)
        case Scale.SPEED:
            return 2e6 * port["speed_mbps"]


def _port_row(
    port: PortRecord, past: Sequence[Rates], total: float, most: float
) -> TopRow:
    share = f"{100 * past[-1].tx_frames / total:.0f} %" if total else "-"
    state = _port_state(port)
    return TopRow(f"  {port['name']}", port["link"], share, past[-1], past, most, state)


def _lagg_state(lagg: LaggRecord, now: Rates) -> str:
    """What it does; while frames are lost, also why some were."""
    reason = carrier_reason(lagg)
    link = f"down: {reason}" if reason else f"up, {speed_words(lagg['speed_mbps'])}"
    lost = lost_words(lagg["counters"]["drops"]) if now.lost else ""
    return f"{lagg['proto']}, {link}" + (f"; lost so far: {lost}" if lost else "")


def _port_state(port: PortRecord) -> str:
    """LACP's mux state if there is one, else what it does; why it carries nothing."""
    primary = "primary, " if "MASTER" in port["flags"] else ""
    if port["reason"]:
        return f"{primary}{port['reason']}"
    return f"{primary}{port['lacp']['mux'] if port['lacp'] else 'active'}"


# ---- their text --------------------------------------------------------------------


def _fitting(room: int, rows: Sequence[TopRow]) -> tuple[list[Column], int]:
    """The columns that fit beside a state, and how many bars."""
    chosen = list(COLUMNS)
    for head in (*_FIRST_TO_GO, ""):
        left = room - sum(2 + each.width for each in chosen) - 2
        if left >= STATE_MIN or not head:
            break
        chosen = [each for each in chosen if each.head != head]
    words = max((len(row.state) for row in rows), default=0)
    bars = left - max(min(words, left - SPARK_MIN - 2), STATE_MIN) - 2
    return chosen, min(bars, HISTORY) if bars >= SPARK_MIN else 0


def _line(
    row: TopRow, names: int, chosen: Sequence[Column], spark_room: int, paint: Paint
) -> str:
    name = paint(row.name.ljust(names), BOLD if row.is_lagg else LIGHT.get(row.link))
    cells = [name]
    for column in chosen:
        cell = cut(column.cell(row), column.width).rjust(column.width)
        lost = column.head == "lost/s" and row.rates.lost > 0
        cells.append(paint(cell, WARNING if lost else None))
    if spark_room:
        cells.append(spark(row.past, row.most, spark_room).rjust(spark_room))
    state = paint(row.state, LIGHT.get(row.link) if row.is_lagg else None)
    return "  ".join([*cells, state]).rstrip()


def spark(rates: Sequence[Rates], most: float, room: int) -> str:
    """The last `room` rates as bars; a full one is `most` bits a second, or more."""
    if most <= 0:
        return BARS[0] * min(len(rates), room)
    top = len(BARS) - 1
    shown = list(rates)[-room:] if room else []
    # What is not nothing is seen: the lowest bar begins above 0.
    return "".join(
        BARS[min(-(-int(r.bits * top) // int(most + 1)), top)] for r in shown
    )


def bit_words(bits: float) -> str:
    """1500000 -> "1.5 M"."""
    for unit in ("", " k", " M", " G"):
        if bits < 999.5:
            return f"{bits:.3g}{unit}"
        bits /= 1000
    return f"{bits:.4g} T"
