# SPDX-License-Identifier: BSD-2-Clause
"""The rooms of lagg/, its folders, and the arrows between them: who imports whom.

Owns how both are read from the sources.  Knows no rule about them: those are in
tests/test_boundaries.py, and the picture is in tools/diagrams.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "lagg"

TOP = "lagg"
"""The room of the files that are in no folder."""

FROZEN = "lagg.frozen."
"""How the names begin of the file that stands for Python's dataclasses in all rooms."""


@cache
def modules() -> Mapping[str, Path]:
    """Every file by its dotted name under lagg/: "kernel.netlink.watch"."""
    return {_module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Absolute dotted names, wherever in the file; a `from` counts with each name."""
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base_of(node, path)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _base_of(node: ast.ImportFrom, path: Path) -> str:
    package = path.relative_to(ROOT).parent.parts
    above = package[: len(package) + 1 - node.level] if node.level else ()
    return ".".join([*above, *([node.module] if node.module else [])])


def room_of(module: str) -> str:
    """A module's room, by its dotted name under lagg/, or that of a name in it."""
    first = module.partition(".")[0]
    return first if (PACKAGE / first).is_dir() else TOP


def is_ours(name: str) -> bool:
    """Whether an absolute dotted name is of this project, and of a room."""
    return name.startswith("lagg.") and not name.startswith(FROZEN)


def arrows() -> Mapping[str, frozenset[str]]:
    """Each room, and the others that its files import.

    Without lagg/__main__.py, which is laggctl by another name, and lagg/frozen.py.
    """
    found: dict[str, set[str]] = {}
    for module, path in modules().items():
        room = room_of(module)
        others = found.setdefault(room, set())
        if module != "__main__":
            ours = (name for name in imports_of(path) if is_ours(name))
            others.update(room_of(name.removeprefix("lagg.")) for name in ours)
            others.discard(room)
    return {room: frozenset(others) for room, others in found.items()}


def without_implied(arrows: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """The arrows but those that a longer way makes too, rooms from top to bottom.

    None of them may lead back to where it began.
    """
    order = sorted(arrows, key=lambda room: (-_floor(room, arrows), room))
    left = {}
    for room in order:
        further = {each for other in arrows[room] for each in _all_below(other, arrows)}
        left[room] = [other for other in order if other in arrows[room] - further]
    return left


def _floor(room: str, arrows: Mapping[str, frozenset[str]]) -> int:
    return max((_floor(other, arrows) + 1 for other in arrows[room]), default=0)


def _all_below(room: str, arrows: Mapping[str, frozenset[str]]) -> set[str]:
    below = set(arrows[room])
    return below.union(*(_all_below(other, arrows) for other in below))
