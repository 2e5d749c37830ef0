# SPDX-License-Identifier: BSD-2-Clause
"""A terminal's text as an SVG: what is kept, what is coloured, how wide it is."""

import re
import xml.etree.ElementTree as ElementTree

from lagg.cli.fold import runs
from lagg.cli.said import coloured
from pictures.screen import (
    CELL_PX,
    CLEAR,
    COLOURS,
    MARGIN_PX,
    bare,
    last_page,
    svg,
)

LINES = ["plain", f"a {coloured('red', '31')} <b> & c", "", "x" * 40]
SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_is_what_stands_there_in_the_end() -> None:
    written = f"{CLEAR}one\r\n{CLEAR}two\r\nlines\r\n"
    assert last_page(written) == "two\nlines"
    assert last_page("no clearing\r\n") == "no clearing"


def test_a_line_is_runs_of_one_colour() -> None:
    assert list(runs(LINES[1])) == [("", "a "), ("31", "red"), ("", " <b> & c")]
    assert bare(LINES[1]) == "a red <b> & c"


def test_the_svg_has_every_character_and_colour() -> None:
    picture = ElementTree.fromstring(svg(LINES, "a <title>"))
    texts = ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]
    assert texts == ["plain", "a red <b> & c", "x" * 40]
    starts = [float(span.get("x", "0")) for span in picture.iter(f"{SVG}tspan")]
    columns = [round((start - MARGIN_PX) / CELL_PX) for start in starts]
    assert columns == [0, 0, 2, 6, 10, 12, 0]
    red = [span.text for span in picture.iter() if span.get("fill") == COLOURS["31"]]
    assert red == ["red"]
    title = picture.find(f"{SVG}title")
    assert title is not None
    assert title.text == "a <title>"


def test_it_is_as_wide_as_its_widest_line() -> None:
    found = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg(LINES, "t"))
    assert found is not None
    assert int(found[1]) == round(40 * CELL_PX + 2 * MARGIN_PX)
