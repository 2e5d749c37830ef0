# SPDX-License-Identifier: BSD-2-Clause
"""What a program wrote to a terminal, as an SVG.

Owns the few escape sequences that laggctl writes, the palette and the layout.  Pure:
text in, text out.
"""

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from lagg.cli.fold import runs

CLEAR = "\033[H\033[J"
FONT_PX = 13
CELL_PX = 7.8
LINE_PX = 17
MARGIN_PX = 16
INK, PAPER = "#d8dee9", "#1e222a"
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "7": "#8b949e"}
_BOLD = "1"
_SGR = re.compile(r"\033\[([0-9;]*)m")


def last_page(written: str) -> str:
    """What is on the screen in the end, of a program that clears it for each page."""
    return written.replace("\r\n", "\n").rpartition(CLEAR)[2].rstrip("\n")


def bare(line: str) -> str:
    """The line without colours."""
    return _SGR.sub("", line)


def svg(lines: Iterable[str], title: str) -> str:
    """The picture; as wide as its widest line."""
    lines = list(lines)
    columns = max(len(bare(line)) for line in lines)
    width = round(columns * CELL_PX + 2 * MARGIN_PX)
    height = len(lines) * LINE_PX + 2 * MARGIN_PX
    texts = "\n".join(
        _text(line, MARGIN_PX + (number + 0.75) * LINE_PX)
        for number, line in enumerate(lines)
        if bare(line).strip()
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
     font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
     font-size="{FONT_PX}" fill="{INK}">
<title>{escape(title)}</title>
<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>
{texts}
</svg>
"""


def _text(line: str, y: float) -> str:
    spans, at = [], 0
    for code, text in runs(line):
        # Each word in its column and as wide as its cells, whatever the reader's font.
        for word in re.finditer(r"[^ ]+", text):
            left = MARGIN_PX + (at + word.start()) * CELL_PX
            spans.append(
                f'<tspan x="{left:.1f}" textLength="{len(word[0]) * CELL_PX:.1f}"'
                f"{_style(code)}>{escape(word[0])}</tspan>"
            )
        at += len(text)
    return f'<text y="{y:.1f}">{" ".join(spans)}</text>'


def _style(code: str) -> str:
    if code == _BOLD:
        return ' font-weight="bold" fill="#ffffff"'
    return f' fill="{COLOURS[code]}"' if code in COLOURS else ""
