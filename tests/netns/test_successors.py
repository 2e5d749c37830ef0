# SPDX-License-Identifier: BSD-2-Clause
"""A successor that cannot go on, or dies or stops on its way: the old laggd goes on.

Each is the laggd that is installed, with one thing in it that is otherwise: what its
interpreter runs before it (sitecustomize).
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import Lab, wait_until
from lab.daemon import LAGGCTL
from tests.netns.steer import DEADLINE_S, LAGG
from tests.netns.test_handover import House

HOOK = """\
import pathlib
fault = pathlib.Path(__file__).with_name("fault")
if fault.exists():
    exec(fault.read_text())
"""

OTHER_PROTOCOL = """
import lagg.forwarder.wire as wire
wire.MAJOR += 1
"""
OTHER_STATE = """
import lagg.handover.saved as saved
saved._HEAD = "laggd-state 2\\n"
"""
OTHER_LAYOUT = """
import importlib.util, pathlib, sys
file = pathlib.Path(importlib.util.find_spec("lagg._native").origin)
basis = (0x811C9DC5).to_bytes(4, "little")  # FNV-1a's, with which the hash begins
assert basis in file.read_bytes()
other = fault.with_name(file.name)
other.write_bytes(file.read_bytes().replace(basis, b"otherwise"[:4]))
spec = importlib.util.spec_from_file_location("lagg._native", other)
sys.modules["lagg._native"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["lagg._native"])
"""


def signalled(place: str, number: signal.Signals) -> str:
    """Has a successor send itself a signal where it is about to call `place`."""
    module, name = place.split(":")
    owner, _, method = name.rpartition(".")
    return f"""
import os, {module} as module
owner = module{owner and "." + owner}
before = owner.{method}
def caught(*words, **more):
    fault.with_name("pid").write_text(str(os.getpid()))
    os.kill(os.getpid(), {number.value})
    return before(*words, **more)
owner.{method} = caught
"""


CLAIM = "lagg.operations.claim"
DIES_AT = (
    f"{CLAIM}:Claim.look",
    f"{CLAIM}:adopt_device",
    f"{CLAIM}:adopt",
    f"{CLAIM}:Claim.complete",
)


class Fault(NamedTuple):
    """What a successor runs first, and what is said of it then."""

    code: str
    said: str


REFUSALS = {
    "a newer protocol": Fault(
        OTHER_PROTOCOL,
        "lagg-forwarder: HELLO: another protocol: stop laggd, then start it (EPROTO)",
    ),
    "a newer state": Fault(
        OTHER_STATE,
        "lagg 1: what laggd left of it cannot be read: the state begins with"
        " 'laggd-state 1', not 'laggd-state 2'; frames go on; to give up every lagg:"
        " stop laggd, then start it (EPROTO)",
    ),
    "another layout": Fault(
        OTHER_LAYOUT,
        "lagg-forwarder: the memory that it shares is another one's: version",
    ),
} | {
    f"dies at {place}": Fault(
        signalled(place, signal.SIGKILL), "it was killed (SIGKILL)"
    )
    for place in DIES_AT
}


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a successor runs first, where it is written."""
    directory = tmp_path_factory.mktemp("hook")
    (directory / "sitecustomize.py").write_text(HOOK)
    return directory / "fault"


@pytest.fixture(scope="module")
def house(hook: Path) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch, Lab() as lab:
        patch.setenv("PYTHONPATH", str(hook.parent))
        made = House(lab)
        patch.undo()
        yield made


def not_replaced(said: str, pid: int) -> str:
    """The reason that `laggctl restart` has given."""
    before = "laggctl: laggd: not replaced: "
    after = f"; pid {pid} goes on (ECANCELED)\n"
    assert said.startswith(before)
    assert said.endswith(after)
    return said.removeprefix(before).removesuffix(after)


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
def test_of_a_successor_that_cannot_go_on_the_reason_is_said(
    house: House, hook: Path, fault: Fault
) -> None:
    before = house.status
    hook.write_text(fault.code)
    refused = house.laggd.try_ctl("restart")
    hook.unlink()
    assert refused.returncode == 1
    assert fault.said in not_replaced(refused.stderr, before["pid"])
    house.serves(before)


def test_a_successor_that_stops_on_its_way_is_too_late_when_it_wakes(
    house: House, hook: Path
) -> None:
    before = house.status
    pid = hook.with_name("pid")
    pid.unlink(missing_ok=True)
    hook.write_text(signalled(f"{CLAIM}:adopt_device", signal.SIGSTOP))
    asked = house.host.popen(
        *(LAGGCTL, "--socket", house.laggd.socket, "restart"), stderr=subprocess.PIPE
    )
    wait_until(pid.exists, DEADLINE_S, "it has stopped")
    hook.unlink()
    house.serves(before)  # when it was told so, by the forwarder
    os.kill(int(pid.read_text()), signal.SIGCONT)
    _, said = asked.communicate(timeout=DEADLINE_S)
    assert asked.returncode == 1
    assert "COMMIT" in not_replaced(said, before["pid"])
    house.goes_on(before)


def test_of_a_successor_that_dies_when_all_is_its_own_the_next_one_goes_on(
    house: House, hook: Path
) -> None:
    ifindex = house.host.ifindex(LAGG)
    hook.write_text(signalled("lagg.operations.commands:go_on", signal.SIGKILL))
    refused = house.laggd.try_ctl("restart")
    hook.unlink()
    assert (refused.returncode, refused.stderr) == (
        1,
        "laggctl: laggd: replaced, and then: it was killed (SIGKILL); frames go on, and"
        " nobody controls: start laggd (ECANCELED)\n",
    )
    assert house.laggd.stop() == 0  # the one before, which has ended in peace
    house.laggd.start()
    assert house.host.ifindex(LAGG) == ifindex
    house.goes_on(house.status)
