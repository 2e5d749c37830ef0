# SPDX-License-Identifier: BSD-2-Clause
"""Events: each has its place where it happens, and its row where a reader looks."""

import ast
import re
from collections.abc import Iterator

from lagg.events import EventKind
from lagg.lacp.values import NoticeKind
from tests.tree import ROOT, python_files

OF_LACP = {each.value for each in NoticeKind}


def told_in_lagg() -> Iterator[tuple[str, str]]:
    """(enumeration, member) of each event or notice that is made of a named kind."""
    for path in python_files():
        if not path.is_relative_to(ROOT / "lagg"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="emit"), args=[kind, *_]):
                    yield from kinds(kind)
                case ast.Call(func=ast.Name(id="Event" | "News" | "Notice"), args=args):
                    for each in args:
                        yield from kinds(each)


def kinds(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Attribute(
            value=ast.Name(id="EventKind" | "NoticeKind" as enumeration), attr=member
        ):
            yield enumeration, member


def test_every_event_is_told_somewhere() -> None:
    told = {name for enumeration, name in told_in_lagg() if enumeration == "EventKind"}
    own = {each.name for each in EventKind if each.value not in OF_LACP}
    assert told == own


def test_every_notice_of_lacp_is_given_and_is_an_event() -> None:
    engine = "".join(
        path.read_text(encoding="utf-8")
        for path in python_files()
        if path.parent == ROOT / "lagg/lacp" and path.name != "values.py"
    )
    assert [
        each for each in NoticeKind if f"NoticeKind.{each.name}" not in engine
    ] == []
    assert [EventKind(each.value).name for each in NoticeKind] == [
        each.name for each in NoticeKind
    ]


def test_every_event_has_its_row_in_the_operations_manual() -> None:
    text = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    section = text.partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert rows == [each.value for each in EventKind]
