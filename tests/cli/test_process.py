# SPDX-License-Identifier: BSD-2-Clause
"""laggctl as a process of its own: following events, start and exit."""

import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from lagg.cli.parser import COMMANDS, Command
from tests.control.fake_trials import AT
from tests.control.world import (
    DEADLINE_SECONDS,
    World,
    wait_until,
)
from tests.tree import ROOT


def spawned(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lagg", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # as users have it: flushing shows
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# monitor


@contextmanager
def monitoring(world: World, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A monitor that is told events already, and is killed however the block ends."""
    with spawned("--socket", world.path, "monitor", *words) as following:
        try:
            wait_until(lambda: world.commands.sinks)
            yield following
        finally:
            following.kill()


@pytest.fixture
def monitor(world: World) -> Iterator[subprocess.Popen[str]]:
    with monitoring(world, "--json") as following:
        yield following


def line_of(following: subprocess.Popen[str]) -> str:
    assert following.stdout is not None
    ready, _, _ = select.select([following.stdout], [], [], DEADLINE_SECONDS)
    assert ready, "the line was not flushed"
    return following.stdout.readline()


def test_monitor_prints_each_event_at_once(
    world: World, monitor: subprocess.Popen[str]
) -> None:
    for number in range(2):
        world.call("Create", name=f"lagg{number}")
        found = json.loads(line_of(monitor))
        by = found.pop("by")
        assert (by["uid"], by["pid"]) == (os.geteuid(), os.getpid())
        assert found == {
            "lagg": f"lagg{number}",
            "port": None,
            "event": "created",
            "details": "failover",
            "time_ns": 1,
            "at": AT,
            "cause": None,
        }


def test_monitor_ends_well_with_control_c(monitor: subprocess.Popen[str]) -> None:
    monitor.send_signal(signal.SIGINT)
    _, said = monitor.communicate(timeout=DEADLINE_SECONDS)
    assert (monitor.returncode, said) == (0, "")


def test_control_c_ends_a_monitor_that_waits_for_laggd(
    world: World, monitor: subprocess.Popen[str]
) -> None:
    world.run(world.server.close())
    assert monitor.stderr is not None
    assert monitor.stderr.readline() == "laggctl: laggd is gone; waiting\n"
    monitor.send_signal(signal.SIGINT)
    assert monitor.communicate(timeout=DEADLINE_SECONDS) == ("", "")
    assert monitor.returncode == 0


def test_monitor_for_a_person_names_lagg_and_port(world: World) -> None:
    with monitoring(world) as following:
        world.call("Create", name="lagg0")
        # One by one: select() does not see a line that was read along with another.
        lines = [line_of(following)]
        world.call("Attach", name="lagg0", ports=["eth0"])
        lines.append(line_of(following))
    program = Path("/proc/self/comm").read_text().rstrip("\n")
    who = f"by {program}, pid {os.getpid()}, uid {os.geteuid()}"
    clock = datetime.fromisoformat(AT).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert lines == [
        f"{clock} lagg0 created: failover, {who}\n",
        f"{clock} lagg0 port eth0 port-attached, {who}\n",
    ]


# The process


def test_a_command_imports_nothing_heavy() -> None:
    heavy = (
        *("asyncio", "asyncvarlink", "dataclasses", "tomllib", "pyroute2", "cffi"),
        *("pathlib", "datetime"),  # 6 ms of 60, and 2
    )
    check = (
        "import sys, lagg.cli, lagg.cli.change, lagg.cli.show\n"
        f"assert not set(sys.modules) & set({heavy!r}), sorted(sys.modules)"
    )
    # -S, for what a site's own start-up imports is not ours.
    subprocess.run([sys.executable, "-S", "-c", check], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.word)
def test_every_command_has_its_code(command: Command) -> None:
    module = importlib.import_module(f"lagg.cli.{command.module}")
    assert callable(getattr(module, command.function))


def test_no_command_is_loaded_before_it_runs() -> None:
    check = (
        "import sys, lagg.cli\n"
        "lagg.cli.parsed(['show'])\n"
        "print(*[name for name in sys.modules if name.startswith('lagg.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True
    )
    parts = ("options", "output", "parser", "said", "words")
    assert set(done.stdout.split()) == {f"lagg.cli.{part}" for part in parts}


def test_the_program_exits_with_the_commands_code(world: World) -> None:
    act = functools.partial(
        subprocess.run, cwd=ROOT, capture_output=True, text=True, check=False
    )
    base = [sys.executable, "-m", "lagg", "--socket", world.path]
    assert act([*base, "create", "lagg0"]).returncode == 0
    assert act([*base, "destroy", "lagg9"]).returncode == 1
    assert act([*base, "destroy"]).returncode == 2
    assert act([*base[:-1], "/nowhere", "show"]).returncode == 3
