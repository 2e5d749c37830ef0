# SPDX-License-Identifier: BSD-2-Clause
"""The page of `laggctl top`: rates between two records, and how they have been.

Owns what a rate is, the history, and the layout.  Pure: records and their times in,
text out; knows no terminal but its width and the choice of colours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from lagg.cli.said import BOLD, LIGHT, WARNING, carrier_reason, count_words, speed_words

if TYPE_CHECKING:
    from lagg.cli.said import Paint
    from lagg.records import LaggRecord, PortRecord

HISTORY = 60
"""Pages that a port's history goes back."""

BARS = " ▁▂▃▄▅▆▇█"
_NS = 1_000_000_000


class Rates(NamedTuple):
    """A port between two records, per second."""

    tx_frames: float
    tx_bits: float
    rx_frames: float
    rx_bits: float
    drops: float


STILL = Rates(0, 0, 0, 0, 0)


class History:
    """What was seen of each port; the newest record last."""

    def __init__(self) -> None:
        self._laggs: dict[str, LaggRecord] = {}
        self._time_ns = 0
        self._rates: dict[tuple[str, str], deque[Rates]] = {}

    def add(self, laggs: Sequence[LaggRecord], time_ns: int) -> None:
        """The records of one moment; monotonic time."""
        passed_s = (time_ns - self._time_ns) / _NS
        fresh = {
            (lagg["name"], port["name"]): self._rates_of(lagg, port, passed_s)
            for lagg in laggs
            for port in lagg["ports"]
        }
        self._rates = {
            key: deque([*self._rates.get(key, ()), rates], maxlen=HISTORY)
            for key, rates in fresh.items()
        }
        self._laggs = {lagg["name"]: lagg for lagg in laggs}
        self._time_ns = time_ns

    @property
    def laggs(self) -> list[LaggRecord]:
        """The newest records."""
        return list(self._laggs.values())

    def of(self, lagg: str, port: str) -> Sequence[Rates]:
        """A port's rates, the newest last."""
        return self._rates[lagg, port]

    def _rates_of(self, lagg: LaggRecord, port: PortRecord, passed_s: float) -> Rates:
        before = self._port_before(lagg["name"], port)
        if before is None or passed_s <= 0:
            return STILL

        def rate(now: int, was: int) -> float:
            return max(now - was, 0) / passed_s

        return Rates(
            rate(port["tx_frames"], before["tx_frames"]),
            rate(port["tx_bytes"], before["tx_bytes"]) * 8,
            rate(port["rx_frames"], before["rx_frames"]),
            rate(port["rx_bytes"], before["rx_bytes"]) * 8,
            rate(sum(port["drops"].values()), sum(before["drops"].values())),
        )

    def _port_before(self, lagg: str, port: PortRecord) -> PortRecord | None:
        """The port of this ifindex in the record before."""
        if lagg not in self._laggs:
            return None
        ports = self._laggs[lagg]["ports"]
        alike = (p for p in ports if p["ifindex"] == port["ifindex"])
        return next(alike, None)


def top_page(history: History, clock: str, width: int, paint: Paint) -> str:
    """The whole page, at most `width` columns; `clock` the time of day."""
    laggs = history.laggs
    noun = "lagg" if len(laggs) == 1 else "laggs"
    lines = [f"laggd  {clock}  {len(laggs)} {noun}"]
    for lagg in laggs:
        lines += ["", *_lagg_lines(history, lagg, width, paint)]
    return "\n".join(lines)


def rates_json(history: History) -> list[dict[str, Any]]:
    """The newest rates of each port, for programs."""
    return [
        {
            "name": lagg["name"],
            "ports": [
                {
                    "name": port["name"],
                    **history.of(lagg["name"], port["name"])[-1]._asdict(),
                }
                for port in lagg["ports"]
            ],
        }
        for lagg in history.laggs
    ]


def _lagg_lines(
    history: History, lagg: LaggRecord, width: int, paint: Paint
) -> list[str]:
    reason = carrier_reason(lagg)
    link = f"link {lagg['link']}" + (f" ({reason})" if reason else "")
    title = (
        f"{paint(lagg['name'], BOLD)}  {lagg['proto']}"
        f"  {paint(link, LIGHT.get(lagg['link']))}  {speed_words(lagg['speed_mbps'])}"
    )
    past = [history.of(lagg["name"], port["name"]) for port in lagg["ports"]]
    total = sum(rates[-1].tx_frames for rates in past)
    most = max((_bits(r) for rates in past for r in rates), default=0.0)
    rows = [HEAD] + [
        _row(port, rates[-1], total)
        for port, rates in zip(lagg["ports"], past, strict=True)
    ]
    lines = _columns(rows)
    room = max(0, min(HISTORY, width - len(lines[0]) - 2))
    colours = [LIGHT.get(port["link"]) for port in lagg["ports"]]
    return [
        title,
        f"{lines[0]}  {'both ways'[:room]}".rstrip(),
        *(
            f"{_with_colour(line, port, colour, paint)}  {spark(rates, most, room)}"
            for line, port, colour, rates in zip(
                lines[1:], lagg["ports"], colours, past, strict=True
            )
        ),
        *_drop_lines(lagg, past, paint),
    ]


HEAD = ("  port", "share", "out/s", "out bit/s", "in/s", "in bit/s", "drops/s", "state")


def _row(port: PortRecord, rates: Rates, total: float) -> tuple[str, ...]:
    share = f"{100 * rates.tx_frames / total:.0f} %" if total else "-"
    return (
        f"  {port['name']}",
        share,
        count_words(round(rates.tx_frames)),
        bit_words(rates.tx_bits),
        count_words(round(rates.rx_frames)),
        bit_words(rates.rx_bits),
        count_words(round(rates.drops)),
        _state(port),
    )


def _state(port: PortRecord) -> str:
    """LACP's mux state if there is one, else the flags; and why it carries nothing."""
    lacp = cast("dict[str, Any]", port).get("lacp")
    state = lacp["mux"] if lacp else ",".join(port["flags"]) or port["link"]
    return f"{state}: {port['reason']}" if port["reason"] else state


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Numbers to the right, words to the left, all lines as long."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if at in (0, last) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _with_colour(line: str, port: PortRecord, colour: str | None, paint: Paint) -> str:
    name = port["name"]
    return line.replace(name, paint(name, colour), 1)


def _drop_lines(
    lagg: LaggRecord, past: Sequence[Sequence[Rates]], paint: Paint
) -> list[str]:
    if not any(rates[-1].drops for rates in past):
        return []
    counted = sorted(
        ((n, why) for why, n in lagg["counters"]["drops"].items() if n), reverse=True
    )
    words = ", ".join(f"{why} {count_words(n)}" for n, why in counted)
    return [paint(f"  dropped so far: {words}", WARNING)] if words else []


def spark(rates: Sequence[Rates], most: float, room: int) -> str:
    """The last `room` rates as bars; a full one is `most` bits a second."""
    if most <= 0:
        return BARS[0] * min(len(rates), room)
    top = len(BARS) - 1
    shown = list(rates)[-room:] if room else []
    # What is not nothing is seen: the lowest bar begins above 0.
    return "".join(BARS[-(-int(_bits(r) * top) // int(most + 1))] for r in shown)


def _bits(rates: Rates) -> float:
    return rates.tx_bits + rates.rx_bits


def bit_words(bits: float) -> str:
    """1500000 -> "1.5 M"."""
    for unit in ("", " k", " M", " G"):
        if bits < 999.5:
            return f"{bits:.3g}{unit}"
        bits /= 1000
    return f"{bits:.4g} T"
