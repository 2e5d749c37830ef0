# SPDX-License-Identifier: BSD-2-Clause
"""Who may import, include, call and allocate what: design.md 3 as tables.

Reads syntax trees and C text.  What a table does not name gets the strictest row.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.tree import ROOT, name_of, native_c_files, python_files, without_comments

# Our modules by what they are.  One that is in no row is a part of the driver.
VALUES = frozenset(
    {
        "errors",
        "model",
        "link",
        "plan",
        "requests",
        "files",
        "diff",
        "schema",
        "rules",
        "records",
        "lacp",
        "shape",
        "flow_moves",
        "eligible",
        "explain",
        "paths",
    }
)
ROOMS = frozenset(
    {"plan", "config", "kernel", "ports", "running", "operations", "control", "daemon"}
)
DOORS = frozenset({"native", "netlink", "proc", "slow", "varlink"})
CLIENT = frozenset({"cli", "client", "streams", "__main__"})
SERVER = frozenset({"server", "process", "reloader"})

# What each may import of ours, beside itself.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "model": frozenset({"errors", "lacp"}),
    "lacp": frozenset(),
    "privileges": frozenset({"errors"}),
    "tasks": frozenset({"errors"}),
    "supervise": frozenset({"model", "tasks"}),
    "metrics": frozenset({"errors", "model", "records"}),
    "native": VALUES | {"_native", "privileges"},
    "netlink": VALUES | {"proc"},
    "slow": VALUES | {"proc"},
    "server": VALUES | {"commands", "varlink"},
    "reloader": VALUES | {"tasks"},
    "process": VALUES
    | {"server", "commands", "metrics", "native", "privileges", "reloader"}
    | {"streams", "supervise"},
}

# Whole packages that only one module may import.
SOLE_IMPORTERS = {"pyroute2": "netlink", "cffi": "native", "lagg._native": "native"}

# Effects, clocks and chance: nothing of the kind in modules of values.
# link takes AF_INET and the like from socket, paths one variable from os.
PURE = VALUES - {"link", "paths"}
IMPURE = frozenset(
    {"asyncio", "ctypes", "datetime", "fcntl", "logging", "multiprocessing", "os"}
    | {"random", "secrets", "select", "selectors", "signal", "socket", "subprocess"}
    | {"threading", "time"}
)
# The state machines may import nothing but these.
LACP_STDLIB = frozenset({"collections", "dataclasses", "enum", "struct", "typing"})

# C files by level: each calls only its own level and those above it in this list.
LEVELS = (
    ("epoch", "frame", "hash", "hold", "pace", "filter", "seccomp"),
    ("snapshot", "distributor"),
    ("tap", "packet", "ring", "txring", "xdp"),
    ("port",),
    ("counts", "transmit", "receive"),
    ("worker",),
    ("roster", "device"),
)
# No system call, no allocation; so no header that offers one.
C_PURE = frozenset({"epoch", "frame", "hash", "hold", "pace", "distributor"})
C_PURE_HEADERS = frozenset(
    {"lagg.h", "internal.h", "assert.h", "errno.h", "limits.h", "stdalign.h"}
    | {"stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h", "endian.h"}
    | {"byteswap.h", "arpa/inet.h", "net/ethernet.h", "netinet/in.h"}
    | {"linux/if_ether.h", "linux/virtio_net.h"}
    | {"nmmintrin.h", "immintrin.h", "arm_acle.h"}
)
# Memory comes and goes in device.c, but for a port's, which goes in roster.c; a packet
# ring is mapped where its socket is.
ALLOCATION = r"malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|free"
MAPPING = r"mmap|munmap|mremap"
C_MAY_CALL = {
    "device": f"{ALLOCATION}|{MAPPING}",
    "roster": "free",
    "ring": MAPPING,
    "txring": MAPPING,
    "xdp": MAPPING,
}

# ---- who may import whom -----------------------------------------------------------


def row_of(parts: Sequence[str]) -> str:
    """("kernel", "netlink", "watch") -> "netlink": the row of the tables it is in."""
    in_room = len(parts) > 1 and parts[0] in ROOMS
    return parts[1] if in_room else parts[0]


def module_of(path: Path) -> str:
    return row_of(path.relative_to(ROOT / "lagg").with_suffix("").parts)


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def imports_of(path: Path) -> Iterator[str]:
    """Absolute dotted names, wherever in the file; a `from` counts with each name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path).split(".")
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def lagg_imports() -> Iterator[tuple[str, str, str]]:
    """(file, its row, imported name) for everything under lagg/."""
    for path in python_files():
        if path.is_relative_to(ROOT / "lagg"):
            for name in imports_of(path):
                yield name_of(path), module_of(path), name


def may_import(module: str, other: str) -> bool:
    if other in {module, "__version__"}:
        return True
    if module in MAY_IMPORT:
        return other in MAY_IMPORT[module]
    if module in VALUES | DOORS:
        return other in VALUES
    if module in CLIENT:
        return other in VALUES | CLIENT | {"proc", "varlink"}
    return other not in SERVER | CLIENT | {"_native", "varlink"}


def test_our_modules_import_only_what_is_below_them() -> None:
    wrong = [
        f"{file}: {name}"
        for file, module, name in lagg_imports()
        if name.startswith("lagg.")
        and not may_import(module, row_of(name.split(".")[1:]))
    ]
    assert not wrong


def test_each_foreign_world_has_one_door() -> None:
    wrong = [
        f"{file}: {name} is for {owner} alone"
        for file, module, name in lagg_imports()
        for package, owner in SOLE_IMPORTERS.items()
        if f"{name}.".startswith(f"{package}.") and module != owner
    ]
    wrong += [
        f"{file}: scapy is GPL and slow to import"
        for file, _, name in lagg_imports()
        if name.split(".")[0] == "scapy"
    ]
    assert not wrong


def test_values_know_no_effect_and_no_clock() -> None:
    wrong = []
    for file, module, name in lagg_imports():
        top = name.split(".")[0]
        if module in PURE and top in IMPURE:
            wrong.append(f"{file}: {name}")
        if module == "lacp" and top != "lagg" and top not in LACP_STDLIB:
            wrong.append(f"{file}: {name}")
    assert not wrong


def test_the_client_loads_neither_driver_nor_kernel_interfaces() -> None:
    far = (
        "lagg.operations.commands",
        "lagg.kernel.native",
        "lagg.kernel.netlink",
        "lagg._native",
        "pyroute2",
    )
    program = f"import sys, lagg.cli; print(*[m for m in {far} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


# ---- who may begin a task -----------------------------------------------------------

# varlink awaits both of the tasks of a stream where it begins them.
MAY_BEGIN_TASKS = frozenset({"tasks", "varlink"})
BEGINNERS = frozenset({"create_task", "ensure_future", "TaskGroup", "shield"})


def calls_of(path: Path) -> Iterator[tuple[int, ast.Call, str]]:
    """(line, call, last word of what is called) for every call of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            yield node.lineno, node, called


def calls_in_lagg() -> Iterator[tuple[str, Path, ast.Call, str]]:
    for path in python_files():
        if path.is_relative_to(ROOT / "lagg"):
            for line, call, called in calls_of(path):
                yield f"{name_of(path)}:{line}", path, call, called


def test_every_background_task_has_an_owner() -> None:
    wrong = [
        f"{where}: {called}()"
        for where, path, _, called in calls_in_lagg()
        if called in BEGINNERS and module_of(path) not in MAY_BEGIN_TASKS
    ]
    assert not wrong, "lagg/tasks.py begins tasks, and sees to their end"


def test_of_steps_together_none_is_left_running() -> None:
    """A bare gather() raises at once, and what it leaves is cut off at exit."""
    wrong = [
        where
        for where, path, _, called in calls_in_lagg()
        if called == "gather" and module_of(path) != "tasks"
    ]
    assert not wrong, "together() of lagg/tasks.py waits for all"


# ---- the kernel's text -------------------------------------------------------------


def test_text_is_read_by_no_encoding_but_utf_8() -> None:
    """An interface may be called anything; proc.py reads what names it, as bytes."""
    wrong = [
        f"{where}: {word.value}"
        for where, path, call, _ in calls_in_lagg()
        if module_of(path) not in CLIENT  # which writes for a locale
        for word in (*call.args, *(each.value for each in call.keywords))
        if isinstance(word, ast.Constant)
        and isinstance(word.value, str)
        and word.value.lower() in {"ascii", "latin1", "latin-1", "iso-8859-1"}
    ]
    assert not wrong


def test_tables_of_proc_are_read_in_one_file() -> None:
    wrong = [
        name_of(path)
        for path in python_files()
        if path.is_relative_to(ROOT / "lagg")
        and module_of(path) != "proc"
        and re.search(r'"/proc/[\w/-]*net/(?!bonding)|"/proc/sys/', path.read_text())
    ]
    assert not wrong


# ---- what C may do -----------------------------------------------------------------


def level_of(noun: str) -> int:
    return next((n for n, nouns in enumerate(LEVELS) if noun in nouns), -1)


def test_every_c_file_has_its_level() -> None:
    assert [name_of(p) for p in native_c_files() if level_of(p.stem) < 0] == []


def test_c_calls_only_its_level_and_those_below() -> None:
    wrong = []
    for path in native_c_files():
        higher = [noun for level in LEVELS[level_of(path.stem) + 1 :] for noun in level]
        if higher:
            call = rf"\b((?:lagg_)?(?:{'|'.join(higher)})_\w+)\s*\("
            code = without_comments(path.read_text(encoding="utf-8"))
            wrong += [f"{name_of(path)}: {name}()" for name in re.findall(call, code)]
    assert not wrong


def test_tap_and_sockets_know_no_snapshot() -> None:
    wrong = [
        name_of(path)
        for path in native_c_files()
        if path.stem in {"tap", "packet", "ring", "txring", "xdp", "port"}
        and re.search(
            r"\bstruct (?:snapshot|epoch)\b|\b(?:snapshot|epoch)_\w+\s*\(",
            without_comments(path.read_text(encoding="utf-8")),
        )
    ]
    assert not wrong


def test_pure_c_includes_values_only() -> None:
    wrong = []
    for path in native_c_files():
        source = path.read_text(encoding="utf-8")
        headers = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', source, re.MULTILINE)
        if path.stem in C_PURE:
            wrong += [
                f"{name_of(path)}: {header}"
                for header in headers
                if header not in C_PURE_HEADERS
            ]
        wrong += [f"{name_of(path)}: {h}" for h in headers if h == "Python.h"]
    assert not wrong


def test_only_device_c_allocates_and_frees() -> None:
    call = re.compile(rf"\b({ALLOCATION}|{MAPPING}|strdup|strndup|alloca)\s*\(")
    wrong = []
    for path in native_c_files():
        allowed = re.compile(C_MAY_CALL.get(path.stem, r"(?!)"))
        for name in call.findall(without_comments(path.read_text(encoding="utf-8"))):
            if not allowed.fullmatch(name):
                wrong.append(f"{name_of(path)}: {name}()")
    assert not wrong


def test_c_makes_no_threads_and_takes_no_locks() -> None:
    call = re.compile(r"\b(?:pthread|thrd|mtx|cnd|sem)_\w+\s*\(")
    wrong = [
        f"{name_of(path)}: {match[0]}"
        for path in native_c_files()
        for match in call.finditer(without_comments(path.read_text(encoding="utf-8")))
    ]
    assert not wrong
