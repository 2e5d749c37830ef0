# SPDX-License-Identifier: BSD-2-Clause
"""LACP's state machines, and the rooms of lagg/, as the sources have them.

Owns the boxes and lanes of a figure.  Needs nothing but Python.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from lagg.lacp.churn import ACTOR_CHURN, PARTNER_CHURN
from lagg.lacp.machine import Machine, always
from lagg.lacp.mux import COUPLED, INDEPENDENT
from lagg.lacp.periodic import PERIODIC
from lagg.lacp.receive import RECEIVE
from pictures.rooms import ROOT, TOP, arrows, without_implied

MACHINES: dict[str, Machine[Any]] = {
    "receive": RECEIVE,
    "periodic": PERIODIC,
    "mux-independent": INDEPENDENT,
    "mux-coupled": COUPLED,
    "churn-actor": ACTOR_CHURN,
    "churn-partner": PARTNER_CHURN,
}
DOCS = ROOT / "docs"

LINE, PAD, GAP = 18, 10, 16
LEFT, BOX_WIDTH, TOP_Y = 20, 250, 50
LANE = 14
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#b8860b", "#17becf")
STYLE = """text { font: 13px sans-serif; fill: #222 } .state { font-weight: bold }
.box { fill: #fff; stroke: #444 } .arrow { fill: none; stroke-width: 1.4 }"""

ANY = "from any other state"


class Box(NamedTuple):
    """A box: its name, its head, and rows that each lead to a box of that name."""

    name: str
    head: str
    rows: Sequence[tuple[str, str]]
    dashed: bool = False


class Figure:
    """Boxes from top to bottom, and a lane of its own for each arrow."""

    def __init__(self, title: str, boxes: Sequence[Box]) -> None:
        self.title = title
        self.boxes = boxes
        self.tops: dict[str, int] = {}  # name of the box: its top
        self.rows: list[tuple[int, str]] = []  # y of the row, where it leads
        self.parts: list[str] = []

    def draw(self) -> str:
        """The whole as SVG."""
        y = TOP_Y
        for box in self.boxes:
            y = self._box(box, y)
        for lane, (row_y, target) in enumerate(self.rows):
            self._arrow(row_y, target, LEFT + BOX_WIDTH + 20 + lane * LANE)
        width = LEFT + BOX_WIDTH + 40 + len(self.rows) * LANE
        svg = 'svg xmlns="http://www.w3.org/2000/svg"'
        return "\n".join(
            [
                f'<{svg} width="{width}" height="{y}">',
                f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
                f'<text class="state" x="{LEFT}" y="28">{self.title}</text>',
                *self.parts,
                "</svg>\n",
            ]
        )

    def _box(self, box: Box, top: int) -> int:
        height = PAD + LINE * (1 + len(box.rows)) + PAD // 2
        style = ' stroke-dasharray="4 3"' if box.dashed else ""
        self.parts.append(
            f'<rect class="box" x="{LEFT}" y="{top}" width="{BOX_WIDTH}" '
            f'height="{height}" rx="4"{style}/>'
        )
        self._text(box.head, top + LINE, "state")
        self.tops[box.name] = top
        for number, (words, target) in enumerate(box.rows, 2):
            self._text(words, top + LINE * number, "guard")
            self.rows.append((top + LINE * number - 4, target))
        return top + height + GAP

    def _text(self, words: str, y: int, style: str) -> None:
        x = LEFT + PAD + (12 if style == "guard" else 0)
        self.parts.append(
            f'<text class="{style}" x="{x}" y="{y}">{escape(words)}</text>'
        )

    def _arrow(self, y: int, target: str, x: int) -> None:
        right, end = LEFT + BOX_WIDTH, self.tops[target] + LINE - 4
        colour = COLOURS[list(self.tops).index(target) % len(COLOURS)]
        self.parts.append(
            f'<path class="arrow" stroke="{colour}" '
            f'd="M{right} {y} H{x} V{end} H{right + 7}"/>'
            f'<path fill="{colour}" d="M{right} {end} l8 -4 v8 z"/>'
        )


def states_of(machine: Machine[Any]) -> Iterator[Box]:
    """A box for each state of a machine."""
    if machine.always:
        yield Box(ANY, ANY, [_row(*each) for each in machine.always], dashed=True)
    for state, rows in machine.rows.items():
        start = " (start)" if state is machine.start else ""
        yield Box(state.name, state.name + start, [_row(*each) for each in rows])


def _row(guard: Callable[..., bool], target: Any) -> tuple[str, str]:  # noqa: ANN401
    words = guard.__name__.strip("_").replace("_", " ")
    return ("always (UCT)" if guard is always else words), target.name


def rooms() -> Iterator[Box]:
    """A box for each room of lagg/, none above one that calls it."""
    for room, others in without_implied(arrows()).items():
        yield Box(room, _head(room), [(_head(other), other) for other in others])


def _head(room: str) -> str:
    return "lagg/ itself" if room == TOP else f"{room}/"


def figures() -> Iterator[tuple[Path, Figure]]:
    """Every figure, and its file."""
    for name, machine in MACHINES.items():
        yield (
            DOCS / "lacp" / f"{name}.svg",
            Figure(machine.figure, [*states_of(machine)]),
        )
    yield (
        DOCS / "rooms.svg",
        Figure("The rooms of lagg/, and whom they call", [*rooms()]),
    )


def main() -> int:
    """Write, or compare."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    for path, figure in figures():
        drawn = figure.draw()
        if not path.exists() or path.read_text(encoding="utf-8") != drawn:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(drawn, encoding="utf-8")
    for name in stale:
        print(f"{name} is not current: run tools/diagrams" if check else name)
    return 1 if check and stale else 0
