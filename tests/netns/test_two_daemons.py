# SPDX-License-Identifier: BSD-2-Clause
"""Two laggds in one network namespace: what one has, the other does not take."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from lab import Daemon, Lab
from lab.host import Host
from tests.waiting import wait_until

MAC = "02:00:5e:00:53:01"


@dataclass(frozen=True, slots=True)
class Two:
    """Both daemons, and the host whose p0 and p1 they share."""

    host: Host
    first: Daemon
    second: Daemon

    def link(self, name: str) -> dict[str, object]:
        (found,) = json.loads(
            self.host.run("ip", "-j", "-d", "addr", "show", name).stdout
        )
        return dict(found)


@pytest.fixture
def two() -> Iterator[Two]:
    with Lab() as lab:
        host, far = lab.host("near"), lab.host("far")
        for number in range(2):
            lab.cable(host, f"p{number}", far, f"p{number}")
        yield Two(host, lab.daemon(host), lab.daemon(host, place="second"))


def test_a_port_of_one_is_refused_to_the_other_by_name(two: Two) -> None:
    two.first.ctl("create", "lagg0", "--port=p0", f"--mac={MAC}")
    before = two.link("p0")
    refused = two.second.try_ctl("create", "lagg1", "--port=p0")
    assert refused.stderr == (
        "laggctl: lagg1: port p0: is a port of another laggd"
        f" (pid {two.first.pid}); detach it there first (EBUSY)\n"
    )
    assert two.link("p0") == before
    two.second.ctl("create", "lagg1", "--port=p1")
    two.first.ctl("detach", "lagg0", "p0")
    two.second.ctl("attach", "lagg1", "p0")
    assert two.second.port("lagg1", "p0")["slot"] == 1


def test_a_lagg_of_one_is_no_name_for_the_other(two: Two) -> None:
    two.first.ctl("create", "lagg0")
    refused = two.second.try_ctl("create", "lagg0")
    assert refused.stderr == (
        "laggctl: lagg0: there is an interface of that name (tun), which is no lagg of"
        " this laggd; choose another name or take that away (EBUSY)\n"
    )
    assert two.first.record()["name"] == "lagg0"


def test_of_two_who_take_a_port_at_once_one_has_it(two: Two) -> None:
    both = (two.first, two.second)
    for daemon in both:
        daemon.ctl("create", f"lagg-{daemon.pid}")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            done = list(
                pool.map(lambda d: d.try_ctl("attach", f"lagg-{d.pid}", "p0"), both)
            )
            (winner,) = [d for d, run in zip(both, done, strict=True) if not run.stderr]
            (words,) = [run.stderr for run in done if run.stderr]
            assert f"is a port of another laggd (pid {winner.pid})" in words
            winner.ctl("detach", f"lagg-{winner.pid}", "p0")


def test_what_the_killed_had_is_free_at_once_and_stays_with_who_took_it(
    two: Two,
) -> None:
    two.first.ctl("create", "lagg0", "--port=p0", f"--mac={MAC}")
    two.first.kill()
    two.first.kill_forwarder()
    two.second.ctl("create", "lagg1", "--port=p0", "--port=p1")
    assert two.link("p0")["address"] == MAC  # nobody has put it back
    two.first.start()
    wait_until(lambda: two.first.records() == [], 60, "the first serves again")
    assert two.second.port("lagg1", "p0")["link"] == "up"
    assert two.link("p0")["address"] == MAC
    words = f"not put back: p0: is a port of another laggd (pid {two.second.pid})"
    assert words in two.first.log.read_text()
