# SPDX-License-Identifier: BSD-2-Clause
"""A successor that cannot go on, or dies or stops on its way: the old laggd goes on.

Each is the laggd that is installed, with one thing in it that is otherwise: what its
interpreter runs before it (sitecustomize).
"""

import errno
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab import Lab, wait_until
from lab.daemon import LAGGCTL
from lagg.control.client import LOOKS, Client, NoDaemonError
from lagg.errors import LaggError
from lagg.handover.slots import Slots
from tests.netns.outliving import steady
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
    with standing(house, hook) as asked:
        house.serves(before)  # when it was told so, by the forwarder
    _, said = asked.communicate(timeout=DEADLINE_S)
    assert asked.returncode == 1
    assert "COMMIT" in not_replaced(said, before["pid"])
    house.goes_on(before)


def test_a_laggd_that_stops_when_it_has_let_go_finds_itself_replaced_when_it_wakes(
    house: House, hook: Path
) -> None:
    hook.write_text(signalled("lagg.forwarder.keeper:Keeper._verdict", signal.SIGSTOP))
    house.laggd.restart()
    pid = hook.with_name("pid")
    pid.unlink(missing_ok=True)
    hook.unlink()
    old = house.status["pid"]
    asked = house.host.popen(*restarts(house), stdout=subprocess.PIPE)
    wait_until(lambda: has_stopped(pid), DEADLINE_S, "it has let go")
    assert int(pid.read_text()) == old
    wait_until(lambda: claimed(house) == errno.ETIMEDOUT, DEADLINE_S, "it is another's")
    os.kill(old, signal.SIGCONT)
    said, _ = asked.communicate(timeout=DEADLINE_S)
    assert asked.returncode == 0
    house.laggd.followed(json.loads(said)["pid"])
    wait_until(lambda: not Path(f"/proc/{old}").exists(), DEADLINE_S, "it ends")
    house.goes_on(house.status)


def claimed(house: House) -> int:
    """Why we get nothing: EBUSY while another claims, ETIMEDOUT once it has it."""
    with house.client() as anybody, pytest.raises(LaggError) as refusal:
        anybody.claim()
    return refusal.value.code


def test_a_state_that_somebody_forges_is_refused_until_it_is_written_anew(
    house: House,
) -> None:
    before = house.status
    with house.client() as anybody:
        kept = anybody.list()
    (name,) = [each for each in kept if each.endswith("/state")]
    state = Slots(kept[name], LAGG)
    for _ in range(2):  # in both of its slots, and newer than laggd's next
        state.write(b"forged")
    for fd in kept.values():
        os.close(fd)
    refused = house.laggd.try_ctl("restart")
    assert refused.returncode == 1
    assert "begins with 'forged'" in not_replaced(refused.stderr, before["pid"])
    house.goes_on(before)  # by changes, of which each is saved
    house.laggd.restart()


# ---- clients meanwhile ---------------------------------------------------------------


@contextmanager
def standing(house: House, hook: Path) -> Iterator["subprocess.Popen[str]"]:
    """laggd stands, its successor has been granted all and stops until the block ends.

    For two seconds; then the old one goes on.  What is given is `laggctl restart`.
    """
    pid = hook.with_name("pid")
    pid.unlink(missing_ok=True)
    hook.write_text(signalled(f"{CLAIM}:adopt_device", signal.SIGSTOP))
    asked = house.host.popen(
        *restarts(house), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: has_stopped(pid), DEADLINE_S, "it has stopped")
    hook.unlink()
    yield asked
    os.kill(int(pid.read_text()), signal.SIGCONT)


def restarts(house: House) -> tuple[str | Path, ...]:
    return (LAGGCTL, "--socket", house.laggd.socket, "--json", "restart")


def has_stopped(pid: Path) -> bool:
    if not pid.exists():
        return False
    state = Path(f"/proc/{pid.read_text()}/stat").read_text().rpartition(")")[2]
    return state.split()[0] == "T"


TRIES = 10

CALLS: dict[str, dict[str, Any]] = {
    "Set": {"name": LAGG, "options": {"rr_limit": 7}},
    "Attach": {"name": LAGG, "ports": ["p2"]},
    "Detach": {"name": LAGG, "ports": ["p2"]},
    "Create": {"name": "lagg1"},
    "Destroy": {"name": "lagg1"},
    "Defaults": {},
    "Reload": {},
    "List": {},
    "Status": {},
    "Explain": {"name": LAGG, "frame": "ff" * 60},
    "Save": {},
}
"""One of each kind."""


def called(path: str, method: str, answered: dict[str, Any]) -> None:
    """What comes of a call, whichever it is."""
    try:
        with Client(path) as laggd:
            answered[method] = laggd.call(method, **CALLS[method])
    except (NoDaemonError, LaggError) as error:
        answered[method] = error


class Calls:
    """A client for each kind of call: under way, and `answered` once all are."""

    def __init__(self, house: House) -> None:
        self._answers: dict[str, Any] = {}
        path = str(house.laggd.socket)
        self._threads = [
            threading.Thread(target=called, args=(path, method, self._answers))
            for method in CALLS
        ]
        for each in self._threads:
            each.start()
        wait_until(lambda: all(map(waits, self._threads)), DEADLINE_S, "all have asked")

    @property
    def answered(self) -> dict[str, Any]:
        """By method, what was answered or is wrong."""
        for each in self._threads:
            each.join()
        return self._answers


def waits(thread: threading.Thread) -> bool:
    """Whether it sleeps in recv(2) for an answer, or has had it."""
    try:
        wchan = Path(f"/proc/self/task/{thread.native_id}/wchan").read_text()
    except FileNotFoundError:
        return True
    return "unix_stream_" in wchan


def while_replaced(house: House, hook: Path) -> dict[str, Any]:
    """What comes of calls; again if this machine takes 2 s to make them."""
    for _ in range(TRIES):
        with standing(house, hook) as asked:
            calls = Calls(house)
        said, complaint = asked.communicate(timeout=DEADLINE_S)
        if asked.returncode == 0:
            house.laggd.followed(json.loads(said)["pid"])
            return calls.answered
        assert "COMMIT" in complaint
        undo(house, calls)
    pytest.fail(f"{TRIES} successors came too late")


def undo(house: House, calls: Calls) -> None:
    """What they may have changed."""
    assert calls.answered.keys() == CALLS.keys()
    house.laggd.ctl("set", LAGG, "--rr-limit", "1")
    for words in ("detach", LAGG, "p2"), ("destroy", "lagg1"):
        house.laggd.try_ctl(*words)


def test_calls_under_way_when_laggd_is_replaced_are_in_doubt(
    house: House, hook: Path
) -> None:
    before, record = house.status, steady(house.laggd.record())
    answered = while_replaced(house, hook)
    for method in CALLS:
        remedy = f"{method.lower()} may be done or not, see laggctl show"
        if method in LOOKS:
            remedy = "ask again"
        assert str(answered.pop(method)) == (
            f"{house.laggd.socket}: laggd died or was replaced before it answered:"
            f" {remedy}"
        )
    assert steady(house.laggd.record()) == record
    assert house.status["pid"] != before["pid"]


def test_calls_while_a_successor_fails_are_answered_by_the_old_one(
    house: House, hook: Path
) -> None:
    before = house.status
    with standing(house, hook) as asked:
        calls = Calls(house)
        assert house.status["pid"] == before["pid"]  # answered when it goes on
    _, said = asked.communicate(timeout=DEADLINE_S)
    assert "COMMIT" in not_replaced(said, before["pid"])
    answered = calls.answered
    lost = [m for m, each in answered.items() if isinstance(each, NoDaemonError)]
    assert (lost, answered.keys()) == ([], CALLS.keys())
    undo(house, calls)
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
