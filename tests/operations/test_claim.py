# SPDX-License-Identifier: BSD-2-Clause
"""What is there is read before it is claimed; after that, only what has changed."""

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from lagg.forwarder.keeper import Keeper
from lagg.forwarder.wire import layout
from lagg.handover.saved import SavedLagg
from lagg.handover.slots import Slots
from lagg.link import Link
from lagg.model import Options, Proto
from lagg.operations.claim import Apart, Claim, _record
from lagg.plan.shape import LaggMac, Shape
from lagg.ports.originals import StateFile

MAC = "02:00:5e:00:53:01"


def saved(name: str, ifindex: int) -> bytes:
    """A lagg of that name, without a port."""
    link = Link(ifindex, name, MAC, 1500, True, True, "UP", 1, kind="tun")
    shape = Shape(Proto.FAILOVER, Options(hash_seed=1), mac=LaggMac(MAC))
    return SavedLagg(link, 1, shape).text()


class Forwarder:
    """A keeper of what is in `kept`; another laggd acts until it is claimed."""

    def __init__(self) -> None:
        self.kept = {"1": Slots.create("lagg0"), "2": Slots.create("lagg1")}
        for number, slots in self.kept.items():
            slots.write(saved(f"lagg{number}", int(number)))
        self.left: dict[str, int] = {}
        self.list_again()
        self.said: list[str] = []
        self.pid, self.layout = 1, layout()
        self.at_last: Callable[[], bool] = lambda: True
        """What the other laggd does at last; answers whether the list is as it was."""

    def list_again(self) -> None:
        self.left = {f"{n}/state": os.dup(s.fileno()) for n, s in self.kept.items()}

    def claim(self) -> bool:
        self.said.append("claim")
        return self.at_last()

    def commit(self) -> None:
        self.said.append("commit")


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    made = Forwarder()
    yield made
    for slots in made.kept.values():
        slots.close()
    for descriptor in made.left.values():
        os.close(descriptor)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of laggs whose text is read, in turn."""
    found: list[str] = []
    real = SavedLagg.of

    def of(text: bytes, now: int) -> SavedLagg:
        made = real(text, now)
        found.append(made.link.name)
        return made

    monkeypatch.setattr(SavedLagg, "of", of)
    return found


def look(forwarder: Forwarder, *, alone: bool = False) -> list[str]:
    """The names of all laggs that are found there."""
    file = cast(StateFile, SimpleNamespace())
    keeper = cast(Keeper, forwarder)
    left = Claim(keeper, file, Apart(), alone=alone).look()
    assert left.descriptors == forwarder.left
    return [each.saved.link.name for each in left.laggs]


def test_what_nobody_changed_is_read_before_the_claim_alone(
    forwarder: Forwarder, read: list[str]
) -> None:
    forwarder.at_last = lambda: read == ["lagg1", "lagg2"]
    assert look(forwarder) == ["lagg1", "lagg2"]
    assert (forwarder.said, read) == (["claim"], ["lagg1", "lagg2"])


def test_what_was_changed_before_the_other_let_go_is_read_again(
    forwarder: Forwarder, read: list[str]
) -> None:
    def change() -> bool:
        forwarder.kept["2"].write(saved("uplink", 2))
        return True

    forwarder.at_last = change
    assert look(forwarder) == ["lagg1", "uplink"]
    assert read == ["lagg1", "lagg2", "uplink"]


def test_a_list_that_changed_is_read_anew_and_the_first_one_is_closed(
    forwarder: Forwarder, read: list[str]
) -> None:
    def destroy() -> bool:
        forwarder.kept.pop("1").close()
        return False

    forwarder.at_last = destroy
    before = len(os.listdir("/proc/self/fd"))
    assert look(forwarder) == ["lagg2"]
    assert len(os.listdir("/proc/self/fd")) == before - 2  # the pair of what is gone
    assert read == ["lagg1", "lagg2", "lagg2"]


def test_a_state_that_is_just_written_is_read_once_it_is_whole(
    forwarder: Forwarder,
) -> None:
    slots = forwarder.kept["1"]
    whole = slots.read()
    assert whole is not None
    slots.write(b"half of it")

    def complete() -> bool:
        slots.write(whole)
        return True

    forwarder.at_last = complete
    assert look(forwarder) == ["lagg1", "lagg2"]


def test_what_nobody_has_is_ours_before_it_is_read(
    forwarder: Forwarder, read: list[str]
) -> None:
    assert look(forwarder, alone=True) == ["lagg1", "lagg2"]
    assert (forwarder.said, len(read)) == (["claim", "commit"], 2)


def test_of_a_forwarder_that_has_just_died_the_rest_is_told() -> None:
    no_pid = 1 << 22  # of all that Linux gives
    keeper = SimpleNamespace(version="1", pid=no_pid, deaths=2, ailments=lambda: ())
    assert _record(cast(Keeper, keeper)) == {
        "version": "1",
        "pid": no_pid,
        "uptime_s": 0,
        "deaths": 2,
        "answers": True,
    }
