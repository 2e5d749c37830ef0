# SPDX-License-Identifier: BSD-2-Clause
"""A laggd that goes on with a dead one's laggs: what it finds, can do, and puts back.

    near: lagg0 = p0 p1 p2  ------------  q0 q1 q2 :far

Nothing is measured here; test_outlives.py has the frames.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import Lab, wait_until
from lab.daemon import Refused
from lagg.daemon.process import BAD_CONFIG, UNLIKE
from lagg.forwarder.client import ForwarderClient
from lagg.handover.slots import SLOT_BYTES, Slots
from tests.netns.outliving import PORTS, Left, facts
from tests.netns.steer import DEADLINE_S, LAGG


@pytest.fixture
def left(request: pytest.FixtureRequest) -> Iterator[Left]:
    failed = request.session.testsfailed
    with Lab() as lab:
        made = Left(lab)
        yield made
        if request.session.testsfailed > failed:
            made.laggd.show_log()


# ---- the end -----------------------------------------------------------------------


def test_sigterm_after_an_adoption_leaves_all_as_it_was_found(left: Left) -> None:
    left.create()
    left.kill()
    left.start()
    assert left.laggd.stop() == 0
    left.untouched()
    left.laggd.start()
    assert left.laggd.records() == []


def test_both_are_killed_and_the_next_laggd_puts_back_the_ports(left: Left) -> None:
    left.create()
    left.kill()
    left.laggd.kill_forwarder()
    wait_until(lambda: LAGG not in left.near.links(), DEADLINE_S, "lagg0 is gone")
    assert left.tables() == set()
    assert {left.near.link(port).promiscuity for port in PORTS} == {0}
    left.use("p1")
    left.laggd.start()
    assert left.laggd.records() == []
    assert left.laggd.stop() == 0
    left.untouched()


# ---- meanwhile ---------------------------------------------------------------------


def ports_of(left: Left) -> dict[str, str]:
    """The carrier of each."""
    return {each["name"]: each["link"] for each in left.record()["ports"]}


def mtus_of(left: Left) -> set[int]:
    return {left.near.link(name).mtu for name in (LAGG, *PORTS)}


UP = dict.fromkeys(PORTS, "up")
MAC = "02:5e:00:00:53:42"

MEANWHILE: dict[str, tuple[Callable[[Left], object], Callable[[Left], bool]]] = {
    "a port is deleted": (
        lambda left: left.near.delete_link("p1"),
        lambda left: ports_of(left) == {"p0": "up", "p2": "up"},
    ),
    "the primary is deleted": (
        lambda left: left.near.delete_link("p0"),
        lambda left: ports_of(left) == {"p1": "up", "p2": "up"},
    ),
    "a port is renamed": (
        lambda left: left.near.rename("p1", "x1"),
        lambda left: ports_of(left) == {"p0": "up", "x1": "up", "p2": "up"},
    ),
    "a port is set down": (
        lambda left: left.near.set_link("p1", state="down"),
        lambda left: ports_of(left) == UP | {"p1": "down"},
    ),
    "a port loses its carrier": (
        lambda left: left.far.set_link("q1", state="down"),
        lambda left: ports_of(left) == UP | {"p1": "down"},
    ),
    "a port gets another MTU": (
        lambda left: left.near.set_link("p1", mtu=1400),
        lambda left: mtus_of(left) == {1500},
    ),
    "a port gets another MAC": (
        lambda left: left.near.set_link("p1", address=MAC),
        lambda left: left.near.link("p1").mac == left.near.link(LAGG).mac != MAC,
    ),
    "the lagg gets another MTU": (
        lambda left: left.near.set_link(LAGG, mtu=1400),
        lambda left: mtus_of(left) == {1400} and left.record()["mtu"] == 1400,
    ),
    "the lagg gets another MAC": (
        lambda left: left.near.set_link(LAGG, address=MAC),
        lambda left: {left.near.link(port).mac for port in PORTS} == {MAC},
    ),
    "the lagg is set down": (
        lambda left: left.near.set_link(LAGG, state="down"),
        lambda left: not left.record()["up"],
    ),
}
"""What somebody does while nobody controls, and what is so once somebody does."""


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_happened_meanwhile_is_acted_upon(left: Left, what: str) -> None:
    act, is_right = MEANWHILE[what]
    left.create()
    left.kill()
    act(left)
    left.start()
    wait_until(lambda: is_right(left), DEADLINE_S, f"{what}: acted upon")
    assert left.laggd.stop() == 0
    assert left.remains() == []


def test_a_lagg_that_was_renamed_meanwhile_has_its_new_name(left: Left) -> None:
    left.create()
    left.kill()
    left.near.rename(LAGG, "uplink")
    left.laggd.start()
    wait_until(
        lambda: [each["name"] for each in left.laggd.records()] == ["uplink"],
        DEADLINE_S,
        "it is known by its new name",
    )
    left.laggd.ctl("detach", "uplink", "p1")
    assert left.laggd.stop() == 0
    left.untouched()


def test_a_lagg_that_was_deleted_meanwhile_is_destroyed(left: Left) -> None:
    left.create()
    left.kill()
    left.near.delete_link(LAGG)
    left.laggd.start()
    wait_until(lambda: left.laggd.records() == [], DEADLINE_S, "it is gone")
    assert left.laggd.stop() == 0
    left.untouched()


def test_a_bridge_that_holds_the_lagg_holds_it_still(left: Left) -> None:
    left.create()
    left.near.netlink("link", "add", ifname="br0", kind="bridge")
    left.near.set_link(LAGG, master=left.near.ifindex("br0"))
    held = left.near.ifindex(LAGG), left.near.run("bridge", "link").stdout
    assert LAGG in held[1]
    for follow in (Left.killed, Left.replaced, Left.forwarder_killed):
        follow(left)
        left.record()
        assert held == (
            left.near.ifindex(LAGG),
            left.near.run("bridge", "link").stdout,
        )


# ---- afterwards --------------------------------------------------------------------


def test_everything_can_be_changed_after_an_adoption(left: Left) -> None:
    left.create()
    left.kill()
    left.start()
    ctl = left.laggd.ctl
    ctl("detach", LAGG, "p1")
    ctl("attach", LAGG, "p1")
    for proto in ("lacp", "failover", "roundrobin", "lacp", "loadbalance"):
        ctl("set", LAGG, "--proto", proto)
        assert left.record()["proto"] == proto
    ctl("set", LAGG, "--mtu", "1400")
    left.kill()
    left.start()
    assert ports_of(left) == UP
    assert mtus_of(left) == {1400}
    ctl("destroy", LAGG)
    assert left.laggd.stop() == 0
    left.untouched()


# ---- files -------------------------------------------------------------------------


def test_wrong_files_keep_nobody_from_going_on_with_what_runs(left: Left) -> None:
    config = left.near.directory / "laggd.toml"
    config.write_text("nonsense = 1\n")
    left.create()
    before, forwarder = left.record(), left.laggd.forwarder()
    left.kill()
    left.laggd.configure(config)
    left.start()
    after = left.record()
    assert after["ports"] == before["ports"]
    assert after["ifindex"] == before["ifindex"]
    assert left.laggd.forwarder() == forwarder
    said = f"{config}: nonsense"
    assert said in left.laggd.log_tail()
    with pytest.raises(Refused, match="nonsense"):
        left.laggd.ctl("reload")
    assert left.record()["generation"] == after["generation"]
    assert left.laggd.stop() == 0
    left.untouched()
    assert left.laggd.refused() == BAD_CONFIG  # there is nothing left to go on with


def test_an_adoption_saves_a_lagg_once(left: Left) -> None:
    left.create()
    for end in left.kill, left.laggd.leave:
        end()
        with saved_state(left) as state:
            before = state._sequence
        left.start()
        left.laggd.ctl("set", LAGG, "--rr-limit", "2")  # once more, when all is quiet
        left.laggd.ctl("set", LAGG, "--rr-limit", "1")
        with saved_state(left) as state:
            assert state._sequence == before + 3


# ---- refused -----------------------------------------------------------------------


def damage(state: Slots, _: bytes) -> None:
    """In both slots, at the same place."""
    for offset in (0, SLOT_BYTES):
        os.pwrite(state.fileno(), b"?", offset + 100)


def forge(before: bytes, after: bytes) -> Callable[[Slots, bytes], None]:
    """As somebody writes it who knows how sums are made."""
    return lambda state, text: state.write(text.replace(before, after))


DAMAGE: dict[str, tuple[Callable[[Slots, bytes], None], str]] = {
    "damaged": (damage, "neither of its slots is whole"),
    "truncated": (
        lambda state, text: state.write(text[: len(text) // 2]),
        "cannot be read",
    ),
    "of another version": (forge(b"laggd-state 1", b"laggd-state 99"), "99"),
    "forged": (forge(b'"slot":0', b'"slot":1'), "slot"),
}
"""What is done to a lagg's saved state, and what the refusal says of it."""


@pytest.mark.parametrize("what", DAMAGE)
def test_a_state_that_is_not_sound_is_refused_and_the_lagg_goes_on(
    left: Left, what: str
) -> None:
    left.create()
    left.kill()
    harm, said = DAMAGE[what]
    with saved_state(left) as state:
        text = state.read()
        assert text is not None
        harm(state, text)
    held, forwarder = facts(left.near), left.laggd.forwarder()
    assert left.laggd.refused() == UNLIKE
    refusal = left.laggd.log_tail().splitlines()[-1]
    assert said in refusal
    assert f"kill -9 {forwarder} (lagg-forwarder) and start laggd anew" in refusal
    assert facts(left.near) == held
    assert left.laggd.forwarder() == forwarder
    left.laggd.kill_forwarder()  # the remedy
    left.laggd.start()
    assert left.laggd.records() == []
    assert left.laggd.stop() == 0
    left.untouched()


@contextmanager
def saved_state(left: Left) -> Iterator[Slots]:
    """The one lagg's, as the forwarder lists it to whoever asks."""
    path = left.laggd.state_dir / "forwarder.sock"
    with ForwarderClient(path) as client:
        kept = client.list()
    names = [name for name in kept if name.endswith("/state")]
    state = Slots(kept[names[0]], LAGG)
    try:
        yield state
    finally:
        for fd in kept.values():
            os.close(fd)
