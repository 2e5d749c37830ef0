# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl top` on a whole screen: what its keys mean, and the lines that stand there.

Owns the keys, the scrolling and the help.  Pure: a view and a key in, a view out; rates
and a size in, lines out.  Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from lagg.cli.fold import clip
from lagg.cli.said import WARNING
from lagg.cli.top_page import TopView, title, top_lines

if TYPE_CHECKING:
    from lagg.cli.said import Paint
    from lagg.cli.top_rates import History

REVERSE = "7"

HELP = (
    "q        end",
    "h ?      this page",
    "up down  scroll by a line, also k and j",
    "PgUp PgDn  by a page; Home and End",
    "o        sort by: as they are, out, in, lost, name",
    "r        the other way round",
    "s        a full bar is: the most of its lagg, of its port, or its port's speed",
    "p        ports, or a line for each lagg alone",
    "space    hold still",
    "",
    "share: of the frames that leave by the lagg.  lost/s: frames that were not",
    "delivered, less those for a standby, which nobody missed.",
)

FOOT = "q end  h help  o order  r reverse  s scale  p ports  space hold"

E = TypeVar("E", bound=Enum)


class Screen(NamedTuple):
    """What a reader sees of the page."""

    view: TopView = TopView()
    at: int = 0  # the first line of the table that is shown
    help: bool = False
    still: bool = False
    ended: bool = False


def pressed(screen: Screen, key: str, page: int) -> Screen:
    """The screen after a key, by its name; `page` lines are shown at a time.

    A key that means nothing changes nothing.
    """
    if screen.help:
        return screen._replace(help=False, ended=key == "q")
    act = _KEYS.get(key)
    return screen if act is None else act(screen, page)


def screen_lines(
    history: History,
    screen: Screen,
    clock: str,
    size: tuple[int, int],
    paint: Paint,
    missing: str = "",
) -> tuple[list[str], Screen]:
    """Exactly the lines of a terminal of `size`, (lines, columns), and where it is.

    `missing`: why nothing new comes, in words.
    """
    rows, width = size
    head, body = top_lines(history, width, paint, screen.view)
    room = max(rows - len(head) - 2, 0)
    at = max(min(screen.at, len(body) - room), 0)
    shown = list(HELP[:room]) if screen.help else body[at : at + room]
    shown += [""] * (room - len(shown))
    lines = [_title(history, screen, clock, missing, paint), *head, *shown]
    lines.append(paint(_foot(at, room, len(body)).ljust(width), REVERSE))
    return [clip(line, width) for line in lines[:rows]], screen._replace(at=at)


def room_of(rows: int) -> int:
    """Lines of the table on a terminal of so many."""
    return max(rows - 3, 1)


def _title(
    history: History, screen: Screen, clock: str, missing: str, paint: Paint
) -> str:
    view = screen.view
    words = [title(history, clock)]
    words.append(f"order {view.order.value}{', reversed' if view.backwards else ''}")
    words.append(f"full bar: {view.scale.value}")
    words += ["held still"] if screen.still else []
    if missing:
        words.insert(1, paint(missing, WARNING))
    return "  ".join(words)


def _foot(at: int, room: int, lines: int) -> str:
    if lines <= room:
        return FOOT
    return f"{at + 1}-{min(at + room, lines)} of {lines}  {FOOT}"


# ---- keys --------------------------------------------------------------------------


def _next(value: E) -> E:
    every = list(type(value))
    return every[(every.index(value) + 1) % len(every)]


def _viewed(change: Callable[[TopView], TopView]) -> Callable[[Screen, int], Screen]:
    return lambda screen, _: screen._replace(view=change(screen.view))


def _scrolled(by: Callable[[int, int], int]) -> Callable[[Screen, int], Screen]:
    return lambda screen, page: screen._replace(at=max(by(screen.at, page), 0))


_END = 1 << 20
"""More lines than there are; screen_lines() shows the last ones."""

_KEYS: Mapping[str, Callable[[Screen, int], Screen]] = {
    "q": lambda screen, _: screen._replace(ended=True),
    "h": lambda screen, _: screen._replace(help=True),
    "?": lambda screen, _: screen._replace(help=True),
    " ": lambda screen, _: screen._replace(still=not screen.still),
    "o": _viewed(lambda view: view._replace(order=_next(view.order))),
    "r": _viewed(lambda view: view._replace(backwards=not view.backwards)),
    "s": _viewed(lambda view: view._replace(scale=_next(view.scale))),
    "p": _viewed(lambda view: view._replace(ports=not view.ports)),
    "up": _scrolled(lambda at, _: at - 1),
    "k": _scrolled(lambda at, _: at - 1),
    "down": _scrolled(lambda at, _: at + 1),
    "j": _scrolled(lambda at, _: at + 1),
    "page up": _scrolled(lambda at, page: at - page),
    "page down": _scrolled(lambda at, page: at + page),
    "home": _scrolled(lambda at, _: 0),
    "end": _scrolled(lambda at, _: _END),
}
