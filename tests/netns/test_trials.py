# SPDX-License-Identifier: BSD-2-Clause
"""A change that cuts off who asked for it is taken back by itself, whoever is there.

    operator at b: lagg0 = q0 q1  ----------  p0 p1 = lagg0 :a, where it is changed

p1's cable is cut, so p0 is all that the operator's connection has; that goes with it.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab import Lab, Pair, wait_until
from lab.waiting import SLOWNESS
from tests.netns.steer import DEADLINE_S, LAGG

PORT = 5100
CONFIRM_S = 3 * SLOWNESS
WORD = b"."


class Operator:
    """Who is at b, with a connection to a; what is said to a is said back."""

    def __init__(self, pair: Pair) -> None:
        kind = socket.AF_INET, socket.SOCK_STREAM
        listener = pair.a.host.open_socket(*kind)
        self._here = pair.b.host.open_socket(*kind)
        with listener:
            listener.bind((pair.a.address, PORT))
            listener.listen()
            self._here.connect((pair.a.address, PORT))
            self._there, _ = listener.accept()
        for each in (self._here, self._there):
            each.setblocking(False)

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def says(self) -> None:
        """A word on its way; the kernel says it again until it has come."""
        self._here.send(WORD)

    def is_answered(self) -> bool:
        """Whether what was said has come, and its answer."""
        with suppress(BlockingIOError):
            self._there.send(self._there.recv(1))
        with suppress(BlockingIOError):
            return self._here.recv(1) == WORD
        return False


class House:
    """The pair, p0 its only way."""

    def __init__(self, lab: Lab) -> None:
        self.pair = Pair(lab)
        self.laggd = self.pair.a.laggd
        self.pair.cables[1].cut()
        self.pair.wait_until_links(1)
        self.operator = Operator(self.pair)
        self.talk()

    def talk(self) -> None:
        """The operator's word comes, and the answer."""
        self.operator.says()
        self.await_answer()

    def await_answer(self) -> None:
        wait_until(self.operator.is_answered, DEADLINE_S, "the operator is answered")

    def cut_off(self) -> None:
        """As the operator had asked for; there is no answer any more."""
        words = ("detach", LAGG, "p0", "--confirm", f"{CONFIRM_S:g}s")
        told = json.loads(self.laggd.ctl("--json", *words))["trial"]
        self.over_s = time.monotonic() + CONFIRM_S
        known = self.laggd.record()["trial"]
        assert told["laggs"] == known["laggs"] == [LAGG]
        assert 0 < known["left_ms"] <= told["left_ms"] <= CONFIRM_S * 1000
        assert self.ports == ["p1"]
        self.operator.says()
        assert not self.operator.is_answered()

    def comes_back(self) -> None:
        """The operator is answered again, and nobody did anything for it."""
        assert not self.operator.is_answered()
        self.await_answer()
        assert self.laggd.record()["trial"] is None
        assert self.ports == ["p0", "p1"]
        self.talk()

    @property
    def ports(self) -> list[str]:
        return sorted(port["name"] for port in self.laggd.record()["ports"])


@pytest.fixture
def house() -> Iterator[House]:
    with Lab() as lab:
        made = House(lab)
        yield made
        made.operator.close()


def test_a_change_that_cuts_the_operator_off_is_taken_back_also_by_other_laggds(
    house: House,
) -> None:
    house.cut_off()
    house.comes_back()

    house.cut_off()
    assert house.laggd.restart()["laggs"] == 1
    assert house.ports == ["p1"]
    house.comes_back()

    house.cut_off()
    house.laggd.kill()
    wait_until(
        lambda: time.monotonic() > house.over_s, DEADLINE_S, "nobody is there in time"
    )
    assert not house.operator.is_answered()
    house.laggd.start()
    house.comes_back()


def test_what_is_confirmed_stays_and_a_second_change_waits_for_that(
    house: House,
) -> None:
    ctl = house.laggd.ctl
    said = ctl("set", LAGG, "--rr-limit=7", "--confirm=1h")
    assert said.startswith("lagg0: reverts at ")
    assert said.endswith(" unless: laggctl confirm lagg0\n")
    refused = house.laggd.try_ctl("attach", LAGG, "p9")
    assert refused.returncode == 1
    assert "a change of it waits to be confirmed, and reverts in 3" in refused.stderr
    assert "on trial" in ctl("show", LAGG)
    assert "lagg0 on trial for" in ctl("status")
    assert ctl("confirm") == "lagg0: confirmed\n"
    assert house.laggd.record()["options"]["rr_limit"] == 7
    assert house.laggd.record()["trial"] is None
    assert house.laggd.try_ctl("confirm").returncode == 1
    ctl("set", LAGG, "--rr-limit=8", "--confirm=1h")
    assert ctl("confirm", LAGG, "--revert") == "lagg0: reverted\n"
    assert house.laggd.record()["options"]["rr_limit"] == 7
    assert ctl("set", LAGG, "--rr-limit=7", "--confirm=1h") == (
        "nothing has changed, and nothing is to be confirmed\n"
    )


def test_a_dry_run_on_the_kernel_is_what_the_change_then_does(house: House) -> None:
    house.pair.cables[1].mend()
    house.pair.wait_until_links(2)
    laggd = house.laggd
    for change in (
        ("set", LAGG, "--proto=loadbalance", "--hash-seed=1"),
        ("detach", LAGG, "p1"),
        ("attach", LAGG, "p1"),
        ("set", LAGG, "--mtu=1400", "--port=p1", "--weight=3"),
    ):
        before = laggd.record()
        said = json.loads(laggd.ctl("--json", *change, "--dry-run"))
        after = laggd.record()
        for key in ("generation", "options", "proto", "mtu", "mac", "waiting_for"):
            assert after[key] == before[key]
        laggd.ctl(*change)
        buckets = json.loads(laggd.ctl("--json", "stats", LAGG, "--buckets"))
        has = Counter(bucket["port"] for bucket in buckets)
        (shift,) = said["shifts"]
        assert {p["port"]: p["buckets_after"] for p in shift["ports"]} == {
            "p0": has["p0"],
            "p1": has["p1"],
        }
    assert laggd.record()["mtu"] == 1400
    for refused in (
        ("attach", LAGG, "lo"),
        ("attach", LAGG, "absent0"),
        ("detach", LAGG, "lo"),
        ("set", LAGG, "--active=p0"),
        ("create", "p0"),
        ("create", "lagg1", "p0"),
    ):
        dry, real = laggd.try_ctl(*refused, "--dry-run"), laggd.try_ctl(*refused)
        assert dry.returncode == real.returncode == 1
        assert dry.stderr == real.stderr != ""
