# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of the bench's results: SVG, the same bytes for the same results.

Run as `tools/bench plot FILE.json DIRECTORY`.  Owns what is in which panel, and the
colours.  matplotlib is loaded only to draw: it is not among what tools/setup brings.
"""

import argparse
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.metrics import Results, Rows, Spread
from bench.table import SYSTEMS

COLOURS = ("#0072b2", "#e69f00", "#56b4e9", "#f0c36b")
"""Okabe and Ito's, which everyone can tell apart."""

PANEL_INCHES = (6.2, 4.4)
BAR_SHARE = 0.8  # of a row's height, all its bars
REMEDY = "no matplotlib: .venv/bin/pip install -e '.[bench]'"
SETTINGS = {
    "svg.hashsalt": "laggd",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars: a group for each row, in it one for each metric."""

    title: str
    metrics: Mapping[str, str]  # by key, what the legend says
    section: str = SYSTEMS
    logarithmic: bool = False


SYSTEMS_PICTURE = (
    Panel("64-byte frames delivered, Mpps", {"tx": "out", "rx": "in"}),
    Panel(
        "64-byte frames without loss, Mpps",
        {"tx_lossless": "out", "rx_lossless": "in"},
    ),
    Panel(
        "TCP, Gbit/s",
        {
            "tcp1_out": "1 stream out",
            "tcp1_in": "1 stream in",
            "tcp4_out": "4 streams out",
            "tcp4_in": "4 streams in",
        },
    ),
    Panel(
        "Round trip, p50, us",
        {
            "same_p50": "all on one CPU",
            "other_p50": "on two CPUs",
            "any_p50": "unplaced",
        },
        logarithmic=True,
    ),
)

_SWEPT = {"tx_path": "out", "rx_path": "in"}
SWEEPS_PICTURE = tuple(
    Panel(f"CPU of laggd by {section}, ns a frame", _SWEPT, section)
    for section in ("ports", "flows", "workers")
)

PICTURES = {"bench.svg": SYSTEMS_PICTURE, "bench-sweeps.svg": SWEEPS_PICTURE}
"""Files, and the panels of each."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in units of rows from the top."""

    place: float
    height: float
    spread: Spread
    series: int


def bars(rows: Rows, panel: Panel) -> list[Bar]:
    """All of a panel; none where a row has not the metric."""
    height = BAR_SHARE / len(panel.metrics)
    return [
        Bar(
            row + (series + 0.5) * height - BAR_SHARE / 2,
            height,
            Spread.of(rounds),
            series,
        )
        for row, metrics in enumerate(rows.values())
        for series, key in enumerate(panel.metrics)
        if (rounds := metrics.get(key))
    ]


def _has_bars(results: Results, panel: Panel) -> bool:
    return bool(bars(results.sections.get(panel.section, {}), panel))


# ---- matplotlib ----------------------------------------------------------------------


def draw(results: Results, shown: Sequence[Panel]) -> str:
    """One picture, of panels that have bars; ImportError without matplotlib."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = 2 if len(shown) > 3 else max(1, len(shown))
    lines = -(-len(shown) // columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines)
    with rc_context(SETTINGS):
        picture = Figure(figsize=size, layout="constrained", facecolor="white")
        for number, panel in enumerate(shown, 1):
            axes = picture.add_subplot(lines, columns, number)
            _draw_panel(axes, results.sections[panel.section], panel)
        written = io.StringIO()
        picture.savefig(written, format="svg", metadata={"Date": None})
    return re.sub(r"[ \t]+$", "", written.getvalue(), flags=re.MULTILINE)


def _draw_panel(axes: Any, rows: Rows, panel: Panel) -> None:  # noqa: ANN401
    for bar in bars(rows, panel):
        spread = bar.spread
        whisker = [[spread.median - spread.least], [spread.most - spread.median]]
        axes.barh(
            bar.place,
            spread.median,
            height=bar.height,
            xerr=whisker,
            color=COLOURS[bar.series],
            error_kw={"elinewidth": 0.8, "capsize": 1.5},
        )
    _label(axes, rows, panel)


def _label(axes: Any, rows: Rows, panel: Panel) -> None:  # noqa: ANN401
    axes.set_title(panel.title, loc="left")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(left=1)
    for series in sorted({bar.series for bar in bars(rows, panel)}):
        label = list(panel.metrics.values())[series]
        axes.barh(0, 0, color=COLOURS[series], label=label)
    place = {"loc": "upper left", "bbox_to_anchor": (0, -0.06)}
    axes.legend(frameon=False, ncols=2, **place)


def main(words: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tools/bench plot", description=__doc__)
    parser.add_argument("file", type=Path, help="of tools/bench --json")
    parser.add_argument("directory", type=Path)
    found = parser.parse_args(words)
    try:
        results = Results.from_json(found.file.read_text())
        for name, panels in PICTURES.items():
            if shown := [panel for panel in panels if _has_bars(results, panel)]:
                found.directory.joinpath(name).write_text(draw(results, shown))
    except ModuleNotFoundError as error:
        sys.exit(f"tools/bench plot: {REMEDY if 'matplotlib' in str(error) else error}")
    except (OSError, ValueError) as error:
        sys.exit(f"tools/bench plot: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
