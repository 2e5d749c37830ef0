# SPDX-License-Identifier: BSD-2-Clause
"""docs/race.svg, drawn from the steps that tools/race ran.

The same run, the same file.
"""

import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape

from tests.verify.story import Story

PANEL_WIDTH = 430
COLUMNS = 2
MARGIN = 12
BOX_WIDTH = 200
LINE_CHARS = 34
MORAL_CHARS = 74
LINE_HEIGHT = 14
GAP = 7
HEAD = 54
LANES = {"worker": 8, "control": 222}
LANE_NAMES = {"worker": "worker", "control": "control thread"}
FILL = {"worker": "#e8f0fb", "control": "#fff3dd"}
BAD, GOOD = ("#fbe3e3", "#b00020"), ("#eaf7ea", "#1b7a2f")


def text(x: int, y: int, words: str, extra: str = "") -> str:
    return f'<text x="{x}" y="{y}" {extra}>{escape(words)}</text>'


def box(x: int, y: int, lines: list[str], fill: str, stroke: str) -> Iterator[str]:
    height = len(lines) * LINE_HEIGHT + 8
    yield (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{height}" rx="5"'
        f' fill="{fill}" stroke="{stroke}"/>'
    )
    for number, line in enumerate(lines):
        weight = "" if stroke == "#555" else 'font-weight="bold"'
        yield text(x + 8, y + 15 + number * LINE_HEIGHT, line, weight)


def box_height(words: str) -> int:
    return len(textwrap.wrap(words, LINE_CHARS)) * LINE_HEIGHT + 8


def panel_height(story: Story) -> int:
    boxes = [*(step.text for step in story.steps), story.end]
    moral = len(textwrap.wrap(story.scene.moral, MORAL_CHARS)) * LINE_HEIGHT
    return HEAD + sum(box_height(words) + GAP for words in boxes) + moral + 10


def panel(story: Story, height: int) -> Iterator[str]:
    yield (
        f'<rect width="{PANEL_WIDTH}" height="{height}" rx="8" fill="white"'
        ' stroke="#999"/>'
    )
    yield text(10, 20, story.scene.title, 'font-size="13" font-weight="bold"')
    for actor, x in LANES.items():
        yield text(x + 8, 42, LANE_NAMES[actor], 'fill="#777"')
    y = HEAD
    for step in story.steps:
        lines = textwrap.wrap(step.text, LINE_CHARS)
        yield from box(LANES[step.actor], y, lines, FILL[step.actor], "#555")
        y += box_height(step.text) + GAP
    yield from end(story, y, height)


def end(story: Story, y: int, height: int) -> Iterator[str]:
    # It is the worker that dies; when nobody does, it is the last to act.
    actor = story.steps[-1].actor if story.is_good else "worker"
    fill, stroke = GOOD if story.is_good else BAD
    yield from box(LANES[actor], y, [story.end], fill, stroke)
    moral = textwrap.wrap(story.scene.moral, MORAL_CHARS)
    top = height - 10 - (len(moral) - 1) * LINE_HEIGHT
    for number, line in enumerate(moral):
        yield text(10, top + number * LINE_HEIGHT, line, f'fill="{stroke}"')


def draw(stories: list[Story]) -> str:
    """The whole file."""
    rows = -(-len(stories) // COLUMNS)
    tall = max(map(panel_height, stories))
    width = COLUMNS * (PANEL_WIDTH + MARGIN) + MARGIN
    height = rows * (tall + MARGIN) + MARGIN + 22
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(MARGIN, 20, "Time goes down. The lagg is changed while a worker sends."),
    ]
    for number, story in enumerate(stories):
        row, column = divmod(number, COLUMNS)
        x = MARGIN + column * (PANEL_WIDTH + MARGIN)
        y = MARGIN + 22 + row * (tall + MARGIN)
        lines += [f'<g transform="translate({x} {y})">', *panel(story, tall), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"
