# SPDX-License-Identifier: BSD-2-Clause
"""The checkable half of docs/STYLE.md: lengths, twins in C and Python, text, tools.

Who may import whom is in test_boundaries.py.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from lagg import model
from lagg.options import PORTS_MAX
from tests.tree import (
    ROOT,
    c_files,
    first_line,
    is_text,
    name_of,
    python_files,
    tree,
    without_comments,
)

SELF = Path(__file__).resolve()

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = {"py": 50, "c": 70}
# The ratchet, which may only tighten.  Nine of ten are no longer than LONG_LINES: the
# share of those that are is far below a tenth.
MEDIAN_LINES_MAX = {"py": 6, "c": 9}
LONG_LINES = 20
LONG_SHARE_MAX = {"py": 0.02, "c": 0.07}

# ---- lengths -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Function:
    where: str
    lines: int  # of its body, without docstring


def python_functions() -> Iterator[Function]:
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node, clean=False) is not None
                body = node.body[1:] if documented else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                yield Function(f"{name_of(path)}:{node.lineno} {node.name}", lines)


def c_functions() -> Iterator[Function]:
    """By the brace in column 0, which clang-format puts there."""
    for path in c_files():
        head, start = "", None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                name = f"{name_of(path)}:{start} {head}"
                yield Function(name, number - start - 1)
                start = None
            elif start is None and (match := re.match(r"(\w+)\(", line)):
                head = match[1]


FUNCTIONS = {"py": python_functions, "c": c_functions}


@cache
def functions_of(language: str) -> tuple[Function, ...]:
    return tuple(FUNCTIONS[language]())


def test_no_file_is_long() -> None:
    files = [*python_files(), *c_files()]
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in files}
    assert {n: lines for n, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


@pytest.mark.parametrize("language", FUNCTIONS)
def test_no_function_is_longer_than_a_screen(language: str) -> None:
    limit = FUNCTION_LINES_MAX[language]
    assert [f for f in functions_of(language) if f.lines > limit] == []


@pytest.mark.parametrize("language", FUNCTIONS)
def test_functions_are_short_and_do_not_grow(language: str) -> None:
    functions = functions_of(language)
    long = [f for f in functions if f.lines > LONG_LINES]
    middle = statistics.median(f.lines for f in functions)
    assert middle <= MEDIAN_LINES_MAX[language]
    assert len(long) / len(functions) <= LONG_SHARE_MAX[language], long


# ---- the border between C and Python -----------------------------------------------


@cache
def lagg_h() -> str:
    return (ROOT / "native" / "lagg.h").read_text(encoding="utf-8")


def enumerators(name: str) -> dict[str, int]:
    """Members and values of an enum of lagg.h that counts up, or says its numbers."""
    block = re.search(rf"enum {name} {{(.*?)}};", without_comments(lagg_h()), re.DOTALL)
    assert block is not None, f"enum {name} is not in lagg.h"
    values: dict[str, int] = {}
    for member in filter(None, (part.strip() for part in block[1].split(","))):
        word, _, number = member.partition("=")
        values[word.strip()] = int(number) if number else len(values)
    return values


@pytest.mark.parametrize(
    ("enum", "prefix", "twin"),
    [
        ("lagg_drop", "LAGG_DROP_", model.Drop),
        ("lagg_spread", "LAGG_SPREAD_", model.Spread),
        ("lagg_hash_kind", "LAGG_HASH_", model.HashKind),
    ],
)
def test_python_and_c_count_the_same_things(
    enum: str, prefix: str, twin: type[model.Drop | model.Spread | model.HashKind]
) -> None:
    words = [word.removeprefix(prefix) for word in enumerators(enum)]
    assert [member.name for member in twin] == words[:-1]
    assert words[-1] == "COUNT"


def test_every_drop_reason_is_named_as_its_enumerator() -> None:
    named = {drop.name: drop.value for drop in model.Drop}
    assert named == {word: word.lower().replace("_", "-") for word in named}


def test_limits_are_the_same_on_both_sides() -> None:
    limits = enumerators("lagg_limit")
    assert limits["LAGG_PORTS_MAX"] == PORTS_MAX
    assert limits["LAGG_BUCKETS"] == model.BUCKETS


def test_arrays_have_the_size_of_their_enum() -> None:
    limits = enumerators("lagg_limit")
    sizes = {
        "drops": enumerators("lagg_drop")["LAGG_DROP_COUNT"],
        "tx_slots": limits["LAGG_BUCKETS"],
        "ports": limits["LAGG_PORTS_MAX"],
        "names": enumerators("lagg_message_limit")["LAGG_PAGE_NAMES"],
        "bytes": enumerators("lagg_message_limit")["LAGG_LEASE_BYTES_MAX"],
        "text": enumerators("lagg_message_limit")["LAGG_NAME_BYTES"],
    }
    code = without_comments(lagg_h())
    arrays = re.findall(rf"\b({'|'.join(sizes)})\[(\d+)\](?:\[48\])?;", code)
    assert {name for name, _ in arrays} == set(sizes)
    assert [(n, size) for n, size in arrays if int(size) != sizes[n]] == []


def test_every_drop_reason_is_tested() -> None:
    tests = [p for p in tree() if p.is_relative_to(ROOT / "tests") and is_text(p)]
    text = "\n".join(p.read_text(encoding="utf-8") for p in tests if p != SELF)
    untested = [
        drop.value
        for drop in model.Drop
        if not re.search(
            rf"\bLAGG_DROP_{drop.name}\b|\bDrop\.{drop.name}\b|[\"']{drop.value}[\"']",
            text,
        )
    ]
    assert untested == [], "drop reasons that no test mentions"


def test_every_public_c_function_has_its_contract_above_it() -> None:
    lines = lagg_h().splitlines()
    bare = [
        line
        for above, line in pairwise(lines)
        if re.match(r"\w[\w\s]*[\s*]lagg_\w+\(", line) and not above.endswith("*/")
    ]
    assert bare == []


# ---- what the C tests call ---------------------------------------------------------

C_TESTED_ELSEWHERE = {
    "lagg_seccomp": "of the whole process, and for good: tests/kernel/test_seccomp.py",
}


def c_code(folder: str, suffix: str) -> Iterator[str]:
    """The code of each .c or .h file under a folder, less its comments."""
    for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
        yield without_comments(path.read_text(encoding="utf-8"))


@cache
def c_bodies() -> dict[str, frozenset[str]]:
    """Each function of native/, and all names in its body."""
    definition = r"^(\w+)\([^;{]*?\)\n\{\n(.*?)^\}"
    bodies: dict[str, frozenset[str]] = {}
    for code in c_code("native", ".[ch]"):
        for name, body in re.findall(definition, code, re.MULTILINE | re.DOTALL):
            names = frozenset(re.findall(r"\w+", body))
            bodies[name] = bodies.get(name, frozenset()) | names
    return bodies


def declared_in_headers() -> set[str]:
    """Prototypes, and functions that are inline."""
    form = (
        r"^(?!static_assert)\w[^\n;{}#]*?\b(\w+)\((?=[^;{]*\);)|^(\w+)\([^;{]*?\)\n\{"
    )
    found = (re.findall(form, code, re.MULTILINE) for code in c_code("native", ".h"))
    return {name for both in found for name in map("".join, both)}


def named_in_c_tests() -> set[str]:
    code = "\n".join(c_code("tests/native", ".[ch]"))
    return set(re.findall(r"\b(\w+)\s*\(", code)) & c_bodies().keys()


def reached_from(names: set[str]) -> set[str]:
    """These functions of native/ and all that they may call, by whatever way."""
    bodies = c_bodies()
    reached, waiting = set(names), list(names)
    while waiting:
        fresh = (bodies[waiting.pop()] & bodies.keys()) - reached
        reached |= fresh
        waiting += fresh
    return reached


def test_every_public_c_function_is_called_by_a_c_test() -> None:
    public = {name for name in declared_in_headers() if name.startswith("lagg_")}
    assert len(public) > 20
    assert public - named_in_c_tests() == {"lagg_seccomp"}


def test_every_c_function_of_a_header_is_reached_by_a_c_test() -> None:
    """Few need to be named: packet_send(), say, is what port_send() calls."""
    declared = declared_in_headers()
    assert len(declared) > 100
    assert declared - reached_from(named_in_c_tests()) == set(C_TESTED_ELSEWHERE)


# ---- every text file ---------------------------------------------------------------


def test_every_source_names_its_licence() -> None:
    line = "SPDX-License-Identifier: BSD-2-Clause"
    scripts = [
        path
        for path in tree()
        if path.suffix in {"", ".sh"}
        and is_text(path)
        and first_line(path).startswith("#!")
    ]
    sources = {*python_files(), *c_files(), *scripts}
    bare = [
        name_of(path)
        for path in sorted(sources)
        if line not in "\n".join(path.read_text(encoding="utf-8").split("\n")[:3])
    ]
    assert bare == []


def test_no_path_of_a_developer_s_machine() -> None:
    places = re.compile("/" + "(?:work|root|home/[a-z]+)/")
    assert [
        f"{name_of(path)}: {match[0]}"
        for path in tree()
        if is_text(path)
        for match in places.finditer(path.read_text(encoding="utf-8"))
    ] == []


def test_text_ends_in_one_newline_and_lines_in_no_blank() -> None:
    wrong = []
    for path in filter(is_text, tree()):
        text = path.read_text(encoding="utf-8")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            wrong.append(f"{name_of(path)}: end of file")
        if re.search(r"[ \t]+$", text, re.MULTILINE) and path.suffix != ".md":
            wrong.append(f"{name_of(path)}: blanks at the end of a line")
    assert not wrong


def test_no_test_sleeps() -> None:
    sleep = re.compile(
        r"\btime\.sleep\(|\bfrom time import.*\bsleep\b|\basyncio\.sleep\((?!0\))"
    )
    wrong = [
        name_of(path)
        for path in python_files()
        if path.is_relative_to(ROOT / "tests")
        and path.name not in {"waiting.py", SELF.name}
        and sleep.search(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "wait for what you wait for: tests/waiting.py"


# ---- words -------------------------------------------------------------------------

NEEDS_ITS_NEIGHBOUR = re.compile(
    r"(The same|So (is|are|do|does|with|many|much)|That|Those|Of|They|It|As \w+\(\))\b"
)


def explanations(node: ast.AST) -> Iterator[ast.Constant]:
    """Docstrings, and those of constants; not of tests, whose name is the beginning."""
    for child in ast.iter_child_nodes(node):
        if not str(getattr(child, "name", "")).startswith("test_"):
            yield from explanations(child)
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            yield child.value


def test_a_docstring_is_read_without_its_neighbour() -> None:
    """What begins with "The same" or "Of those" says nothing where it stands alone."""
    assert [
        f"{name_of(path)}:{text.lineno}: {text.value!s}"
        for path in python_files()
        for text in explanations(ast.parse(path.read_text(encoding="utf-8")))
        if NEEDS_ITS_NEIGHBOUR.match(str(text.value))
    ] == []


NAMED_TWICE = {
    "Port": "802.1AX's in lacp/, which knows no lagg; lagg(4)'s in plan/",
    "Parameters": "within each error of the control socket, as asyncvarlink wants it",
}


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name
        for path in python_files()
        if path.is_relative_to(ROOT / "lagg")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in names.items() if times > 1} == set(NAMED_TWICE)


# ---- the tools ---------------------------------------------------------------------

TOOLS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        *("ruff check", "ruff format --check --diff", "codespell"),
        pytest.param("mypy", marks=pytest.mark.slow),
    ],
)
def test_tool_has_no_complaint(command: str) -> None:
    complain_not(command.split())


def test_clang_format_has_no_complaint() -> None:
    files = [name_of(path) for path in c_files()]
    complain_not(["clang-format", "--dry-run", "--Werror", *files])


def complain_not(command: list[str]) -> None:
    done = subprocess.run(
        [str(TOOLS / command[0]), *command[1:]],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
