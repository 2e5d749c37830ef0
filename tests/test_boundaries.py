# SPDX-License-Identifier: BSD-2-Clause
"""Who may import, call and change what.

Reads syntax trees; for C: test_boundaries_c.py.  Folders of lagg/ and the arrows
between them are found by tools/packages/pictures/rooms.py; here is what must hold of
them.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from pictures.rooms import TOP, arrows, imports_of, is_ours, modules, room_of
from tests.tree import (
    ROOT,
    name_of,
    python_files,
    tree,
)

# The folders of lagg/ from bottom to top: none imports from one above it.
ROOMS = (
    "lacp",
    TOP,
    "watchers",
    "plan",
    "handover",
    "config",
    "kernel",
    "forwarder",
    "ports",
    "running",
    "operations",
    "control",
    "daemon",
    "cli",
)
ROOMS_MAX = 16
ARROWS_MAX = 60

# Where the order alone would let a folder or file know more than it needs: all of ours
# that it may import, beside itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__main__": ("cli",),
    "errors": (),
    "ethernet": ("lacp",),
    "events": ("lacp",),
    "model": ("errors", "lacp", "options", "watches"),
    "option_row": (),
    "options": ("option_row", "rx_options"),
    "port_options": ("option_row",),
    "rx_options": ("option_row",),
    "records": ("lacp", "model", "option_row", "options", "watches"),
    "streams": (),
    "watchers": ("ethernet", "lacp", "watches"),
    "watches": ("lacp",),
    "tasks": ("errors", "events"),
    "handover.saved": (TOP, "lacp", "plan"),
    "kernel.netlink": (TOP, "kernel.proc", "kernel.kept_socket"),
    "kernel.native": (
        *(TOP, "plan", "kernel.privileges", "kernel.datapath"),
        *("kernel.lowered", "kernel.kept_socket"),
    ),
    "kernel.lowered": (TOP, "plan"),
    "kernel.port_socket": (TOP, "kernel.proc", "kernel.kept_socket"),
    "kernel.slow": (TOP, "kernel.port_socket"),
    "kernel.probe": (TOP, "kernel.native", "kernel.port_socket"),
    "kernel.rx_filter": (TOP, "kernel.proc", "kernel.kept_socket"),
    "kernel.proc": (TOP,),
    "kernel.privileges": ("errors",),
    "forwarder": (TOP,),
    "forwarder.wire": ("_native",),
    "control": (TOP, "plan", "config"),
    "daemon": (
        TOP,
        "plan.outcome",
        "config",
        "kernel.native",
        "kernel.privileges",
        "operations",
        "control",
    ),
    "daemon.families": (TOP,),
    "daemon.command_line": (TOP,),
    "daemon.listener": (TOP,),
    "daemon.metrics": (TOP, "daemon.families", "daemon.listener"),
    "daemon.web": (TOP, "daemon.listener"),
    "daemon.reloader": (TOP, "config", "plan.outcome"),
    "daemon.supervise": (TOP,),
    "cli": (TOP, "plan", "config", "control", "kernel.proc"),
}

# Whole packages, and the few of ours that may import them.
SOLE_IMPORTERS = {
    "pyroute2": ("kernel.netlink",),
    "asyncvarlink": ("control.varlink",),
    "cffi": ("kernel.native", "kernel.lowered"),
    "lagg._native": ("kernel.native", "kernel.lowered", "forwarder.wire"),
    "tomlkit": ("cli.comments",),
    "yaml": ("cli.importing.yaml_document",),
}

# Effects, clocks and chance: nothing of the kind in modules of values.
PURE = (
    *("lacp", "plan", "config", "errors", "events", "model", "option_row", "options"),
    *("port_options", "records", "rx_options"),
    *("ports.eligible", "operations.uppers", "control.messages", "cli.show_page"),
    *("cli.brief_page", "cli.fold", "cli.lacp_page", "cli.lines", "cli.said"),
    *("cli.picture_page", "cli.top_page", "cli.top_rates", "cli.top_view"),
    *("codec", "ethernet", "frozen", "handover.saved", "handover.trial"),
    *("watches", "watchers"),
)
IMPURE = frozenset(
    {"asyncio", "ctypes", "datetime", "fcntl", "logging", "multiprocessing", "os"}
    | {"random", "secrets", "select", "selectors", "signal", "socket", "subprocess"}
    | {"threading", "time"}
)
# The state machines may import nothing but these.
LACP_STDLIB = frozenset({"collections", "dataclasses", "enum", "struct", "typing"})

# ---- who may import whom -----------------------------------------------------------


def is_in(module: str, *places: str) -> bool:
    """Whether a name under lagg/ is, or is in, one of these folders and files."""
    return any(
        room_of(module) == place or f"{module}.".startswith(f"{place}.")
        for place in places
    )


def imports() -> Iterator[tuple[str, str]]:
    """(module, imported name) for everything under lagg/."""
    for module, path in modules().items():
        for name in imports_of(path):
            yield module, name


def imports_of_ours() -> Iterator[tuple[str, str]]:
    """The imports within lagg/, both modules by their dotted names under it."""
    for module, name in imports():
        if is_ours(name):
            yield module, name.removeprefix("lagg.")


def test_there_are_few_rooms_and_few_arrows_between_them() -> None:
    assert len(arrows()) <= ROOMS_MAX
    assert sum(map(len, arrows().values())) <= ARROWS_MAX


def test_every_room_has_its_place_in_the_order() -> None:
    assert sorted(arrows()) == sorted(ROOMS)


def test_no_arrow_goes_up() -> None:
    wrong = [
        f"{room} -> {other}"
        for room, others in arrows().items()
        for other in others
        if ROOMS.index(other) >= ROOMS.index(room)
    ]
    assert not wrong


def test_what_stands_for_dataclasses_imports_nothing_of_ours() -> None:
    assert not any(name.startswith("lagg") for name in imports_of(modules()["frozen"]))


def test_neither_rooms_nor_files_import_in_a_circle() -> None:
    TopologicalSorter(arrows()).prepare()
    files = TopologicalSorter[str]()
    for module, name in imports_of_ours():
        if file_of(name) != module:
            files.add(module, file_of(name))
    files.prepare()


def file_of(name: str) -> str:
    """plan.shape.Port is in plan.shape, and __version__ in __init__."""
    parts = name.split(".")
    ways = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((way for way in ways if way in modules()), "__init__")


def test_the_map_of_the_architecture_is_so() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/`(?: itself)? \|.*\|([^|]*)\|$", page, re.MULTILINE)
    assert tuple(room for room, _ in rows) == ROOMS
    assert {
        room: frozenset(re.findall(r"\w+", said)) for room, said in rows
    } == arrows()


CALLED = re.compile(r"`(?:(\w[\w/]+\.(?:py|c)): )?(\w+)\(\)`")


def functions_of_the_architecture() -> Iterator[tuple[str, str]]:
    """(file, function): `native/tap.c: tap_read()`, or after it in its line alone."""
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for line in page.splitlines():
        file = ""
        for named, function in CALLED.findall(line):
            file = named or file
            if file:
                yield file, function


def test_the_ways_in_the_architecture_are_those_of_the_sources() -> None:
    found = [*functions_of_the_architecture()]
    assert len(found) > 30
    assert [
        f"{file}: {function}()"
        for file, function in found
        if not re.search(
            rf"^(?:\s*(?:async )?def )?{function}\(",
            (ROOT / file).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/ARCHITECTURE.md"])
def test_a_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:lagg|native|tests|tools|docs)/[\w./-]+)", text)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_module_imports_only_what_it_needs() -> None:
    wrong = [
        f"{module}: {name}"
        for module, name in imports_of_ours()
        for place, others in MAY_IMPORT.items()
        if is_in(module, place) and not is_in(name, place, *others)
    ]
    assert not wrong


def test_each_foreign_world_has_its_doors() -> None:
    wrong = [
        f"{module}: {name} is for {owners} alone"
        for module, name in imports()
        for package, owners in SOLE_IMPORTERS.items()
        if f"{name}.".startswith(f"{package}.") and not is_in(module, *owners)
    ]
    wrong += [
        f"{module}: scapy is GPL and slow to import"
        for module, name in imports()
        if name.split(".")[0] == "scapy"
    ]
    assert not wrong


def test_values_know_no_effect_and_no_clock() -> None:
    wrong = []
    for module, name in imports():
        top = name.split(".")[0]
        if is_in(module, *PURE) and top in IMPURE:
            wrong.append(f"{module}: {name}")
        if is_in(module, "lacp") and top != "lagg" and top not in LACP_STDLIB:
            wrong.append(f"{module}: {name}")
    assert not wrong


def test_the_client_loads_neither_operations_nor_kernel_interfaces() -> None:
    far = "lagg.operations", "lagg.running", "lagg.kernel", "lagg._native", "pyroute2"
    program = f"import sys, lagg.cli; print(*[m for m in {far} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


# ---- the tools ---------------------------------------------------------------------

# The folders of tools/packages/, and those of the others that each may import.
PACKAGES = {
    "lab": (),
    "bench": ("lab",),
    "demo": ("lab",),
    "manual": (),
    "pictures": ("lab",),
    "soak": ("lab",),
}


def test_what_tools_do_stands_on_the_lab_which_knows_none_of_them() -> None:
    directory = ROOT / "tools" / "packages"
    files = [path for path in tree() if path.is_relative_to(directory)]
    assert {path.relative_to(directory).parts[0] for path in files} == set(PACKAGES)
    assert [
        f"{name_of(path)}: {name}"
        for package, others in PACKAGES.items()
        for path in files
        if path.is_relative_to(directory / package) and path.suffix == ".py"
        for name in imports_of(path)
        if name.partition(".")[0] in PACKAGES.keys() - {package, *others}
    ] == []


# ---- who may begin a task -----------------------------------------------------------

# varlink awaits both of the tasks of a stream where it begins them.
MAY_BEGIN_TASKS = frozenset({"tasks", "control.varlink"})
BEGINNERS = frozenset({"create_task", "ensure_future", "TaskGroup", "shield"})


def calls_of(path: Path) -> Iterator[tuple[int, ast.Call, str]]:
    """(line, call, last word of what is called) for every call of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            yield node.lineno, node, called


def calls_in_lagg() -> Iterator[tuple[str, str, ast.Call, str]]:
    for module, path in modules().items():
        for line, call, called in calls_of(path):
            yield f"{name_of(path)}:{line}", module, call, called


def test_every_background_task_has_an_owner() -> None:
    wrong = [
        f"{where}: {called}()"
        for where, module, _, called in calls_in_lagg()
        if called in BEGINNERS and module not in MAY_BEGIN_TASKS
    ]
    assert not wrong, "lagg/tasks.py begins tasks, and sees to their end"


def test_of_steps_together_none_is_left_running() -> None:
    """A bare gather() raises at once, and what it leaves is cut off at exit."""
    wrong = [
        where
        for where, module, _, called in calls_in_lagg()
        if called == "gather" and module != "tasks"
    ]
    assert not wrong, "together() of lagg/tasks.py waits for all"


# ---- who may change a lagg at work --------------------------------------------------


def is_bundle(node: ast.expr) -> bool:
    """Whether it is a Bundle by its name: bundle, self._bundle, bundles[n]."""
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value).endswith("bundles")
    return ast.unparse(node).rpartition(".")[2].endswith("bundle")


def is_in_bundle(target: ast.expr) -> bool:
    """Whether what is assigned to is an attribute of a Bundle, or is inside one."""
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Attribute) and is_bundle(target.value):
            return True
        target = target.value
    return False


def targets_of(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to, or deletes."""
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            each = [
                part
                for target in targets
                for part in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
            return each
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
    return []


def test_nobody_but_a_bundle_assigns_to_its_attributes() -> None:
    """It has a method for each change: want(), note(), negotiate_by(), adopt()."""
    wrong = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(target)}"
        for path in python_files()
        if path != ROOT / "lagg/running/bundle.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in targets_of(node)
        if isinstance(node, ast.stmt) and is_in_bundle(target)
    ]
    wrong += [
        f"{name_of(path)}:{node.lineno}: setattr"
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id in {"setattr", "delattr"}
    ]
    assert not wrong


# ---- the kernel's text -------------------------------------------------------------


def test_text_is_read_by_no_encoding_but_utf_8() -> None:
    """An interface may be called anything; proc.py reads what names it, as bytes."""
    wrong = [
        f"{where}: {word.value}"
        for where, module, call, _ in calls_in_lagg()
        if not is_in(module, "cli")  # which writes for a locale
        for word in (*call.args, *(each.value for each in call.keywords))
        if isinstance(word, ast.Constant)
        and isinstance(word.value, str)
        and word.value.lower() in {"ascii", "latin1", "latin-1", "iso-8859-1"}
    ]
    assert not wrong


def test_tables_of_proc_are_read_in_one_file() -> None:
    wrong = [
        module
        for module, path in modules().items()
        if module != "kernel.proc"
        and re.search(r'"/proc/[\w/-]*net/(?!bonding)|"/proc/sys/', path.read_text())
    ]
    assert not wrong
