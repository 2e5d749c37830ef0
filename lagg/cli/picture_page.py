# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl picture`: host, laggs, ports and partners as an SVG, with shares of traffic.

Owns its layout, colours and words.  The picture needs nothing from outside of it, and
is dark where its reader's pages are.  Pure: records in, text out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from lagg.cli.fold import cut
from lagg.cli.lacp_page import partner_words
from lagg.cli.said import carrier_reason, shares, speed_words

if TYPE_CHECKING:
    from lagg.records import LaggRecord, PortRecord

STYLE = """\
svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --dim: #59636e;
  --paper: #fff; --box: #f6f8fa; --edge: #d1d9e0; --good: #1a7f37; --bad: #d1242f }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --dim: #9198a1;
  --paper: #0d1117; --box: #151b23; --edge: #3d444d; --good: #3fb950; --bad: #f85149 } }
.paper { fill: var(--paper) } .box { fill: var(--box); stroke: var(--edge) }
text { fill: var(--ink) } .name { font-weight: 600 } .dim { fill: var(--dim) }
.way { fill: none; stroke: var(--edge); stroke-linecap: round }
.way.up { stroke: var(--good) } .way.down { stroke: var(--bad); stroke-dasharray: 5 6 }
"""

PAD, GAP = 20, 14
BOX_PX, LINE_PX = 46, 18
HOST_X, LAGG_X, PORT_X, PARTNER_X = 20, 190, 500, 830
HOST_PX, LAGG_PX, PORT_PX, PARTNER_PX = 110, 220, 250, 190
WIDTH = PARTNER_X + PARTNER_PX + PAD
CHARACTER_PX = 7.2
"""At most, of most fonts; what would be wider than its box is cut."""

WAY_MIN_PX, WAY_MAX_PX = 2.0, 16.0


class _Box(NamedTuple):
    """A place with two lines of words; `y` its top."""

    x: int
    y: float
    width: int
    name: str
    words: str

    @property
    def middle(self) -> float:
        return self.y + BOX_PX / 2

    def draw(self) -> str:
        room = int((self.width - 20) / CHARACTER_PX)
        lines = ((self.name, "name"), (self.words, "dim"))
        texts = "".join(
            f'<text class="{kind}" x="{self.x + 10}" y="{self.y + at * LINE_PX:g}">'
            f"{_text(cut(each, room))}</text>"
            for at, (each, kind) in enumerate(lines, 1)
        )
        whole = f"<title>{_text(f'{self.name}: {self.words}')}</title>"
        return (
            f'<g>{whole}<rect class="box" x="{self.x}" y="{self.y:g}"'
            f' width="{self.width}" height="{BOX_PX}" rx="6"/>{texts}</g>'
        )


def picture_page(host: str, laggs: Sequence[LaggRecord]) -> str:
    """The SVG.  A way that is up is as thick as its share of the frames so far."""
    parts, y, boxes = [], float(PAD), []
    for lagg in laggs:
        box, drawn, y = _drawn_lagg(lagg, y)
        boxes.append(box)
        parts += drawn
    bottom = max(y, PAD + BOX_PX + GAP)
    middle = (PAD + bottom - GAP - BOX_PX) / 2
    home = _Box(HOST_X, middle, HOST_PX, host, _count(len(laggs), "lagg"))
    ways = [
        _way(home, box, lagg["link"], WAY_MIN_PX)
        for box, lagg in zip(boxes, laggs, strict=True)
    ]
    return _framed(host, bottom + PAD - GAP, [*ways, *parts, home.draw()])


def _framed(host: str, height: float, parts: Sequence[str]) -> str:
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"'
            f' width="{WIDTH}" height="{height:g}" role="img">',
            f"<title>{_text(host)}: laggs, their ports and partners</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height:g}"/>',
            *parts,
            "</svg>",
        )
    )


def _drawn_lagg(lagg: LaggRecord, top: float) -> tuple[_Box, list[str], float]:
    """Its box, all that is drawn of it, and where the next one begins."""
    rows = max(len(lagg["ports"]) + len(lagg["waiting_for"]), 1)
    height = rows * (BOX_PX + GAP)
    middle = top + (height - GAP - BOX_PX) / 2
    box = _Box(LAGG_X, middle, LAGG_PX, lagg["name"], _lagg_words(lagg))
    ports = list(_port_boxes(lagg, top))
    partner = _partner_box(lagg, middle)
    drawn = []
    for (port, at), part in zip(ports, _parts(lagg), strict=True):
        kind = "up" if port["reason"] is None else port["link"]
        kind = "" if kind == "up" and port["reason"] else kind
        part = 0 if kind == "down" else part
        thick = WAY_MIN_PX + part * (WAY_MAX_PX - WAY_MIN_PX)
        drawn.append(_way(box, at, kind, thick))
        if partner is not None and port["lacp"] and port["lacp"]["partner"]["port"]:
            drawn.append(_way(at, partner, kind, thick))
        drawn.append(at.draw())
    drawn += [each.draw() for each in _waited(lagg, top + len(ports) * (BOX_PX + GAP))]
    drawn += [partner.draw()] if partner else []
    return box, [*drawn, box.draw()], top + height + GAP


def _lagg_words(lagg: LaggRecord) -> str:
    reason = carrier_reason(lagg)
    speed = speed_words(lagg["speed_mbps"])
    return f"{lagg['proto']}, {reason or f'up, {speed}'}"


def _port_boxes(lagg: LaggRecord, top: float) -> Iterator[tuple[PortRecord, _Box]]:
    for at, port in enumerate(lagg["ports"]):
        y = top + at * (BOX_PX + GAP)
        name = port["name"]
        if port["link"] == "up" and port["speed_mbps"] > 0:
            name += f", {speed_words(port['speed_mbps'])}"
        words = port["reason"] or shares(port, lagg)
        yield port, _Box(PORT_X, y, PORT_PX, name, words)


def _waited(lagg: LaggRecord, top: float) -> Iterator[_Box]:
    for at, name in enumerate(lagg["waiting_for"]):
        yield _Box(PORT_X, top + at * (BOX_PX + GAP), PORT_PX, name, "waited for")


def _partner_box(lagg: LaggRecord, y: float) -> _Box | None:
    partner = partner_words(lagg)
    if partner is None:
        return None
    system, _, key = partner.partition(", ")
    return _Box(PARTNER_X, y, PARTNER_PX, system, f"LACP partner, {key}")


def _parts(lagg: LaggRecord) -> list[float]:
    """Each port's part of all frames of the lagg, 0 to 1."""
    frames = [port["tx_frames"] + port["rx_frames"] for port in lagg["ports"]]
    return [each / (sum(frames) or 1) for each in frames]


def _way(left: _Box, right: _Box, kind: str, thick: float) -> str:
    start, end = left.x + left.width, right.x
    bend = (start + end) / 2
    return (
        f'<path class="way {kind}" stroke-width="{thick:.1f}" d="M{start}'
        f" {left.middle:g} C{bend:g} {left.middle:g} {bend:g} {right.middle:g}"
        f' {end} {right.middle:g}"/>'
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _text(words: str) -> str:
    """As XML may have it: some characters of a foreign name it may not."""
    return escape("".join(each if each.isprintable() else "?" for each in words))
