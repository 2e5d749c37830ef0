# SPDX-License-Identifier: BSD-2-Clause
"""Option altname on the real kernel: a lagg's other names, as ip(8) shows them."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from lagg.errors import LaggError
from lagg.model import LaggConfig, Options
from tests.netns.commands_world import World

LONG = "uplink" + "-of-a-long-name" * 8
"""126 bytes: far more than the name of an interface may have."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        yield made


def called(*names: str) -> Options:
    return Options(altname=names)


def altnames(world: World, name: str = "lagg0") -> list[str]:
    """What the kernel has."""
    return list(world.link(name).get("altnames", []))


def rename(world: World, *names: str, lagg: str = "lagg0") -> None:
    world.change(lagg, options=(("altname", names),))


def test_altnames_come_change_and_go_with_the_lagg(world: World) -> None:
    world.create("lagg0", options=called("core", LONG))
    assert altnames(world) == ["core", LONG]
    rename(world, LONG, "uplink")
    assert altnames(world) == [LONG, "uplink"]
    assert world.record()["options"]["altname"] == [LONG, "uplink"]
    rename(world)
    assert altnames(world) == []
    rename(world, "core")
    world.destroy()
    world.create("lagg1", options=called("core"))
    assert altnames(world, "lagg1") == ["core"]


def test_a_name_that_somebody_gave_it_stays(world: World) -> None:
    world.create("lagg0", options=called("core"))
    world.ip("link property add dev lagg0 altname rack7")
    rename(world, "uplink")
    assert altnames(world) == ["rack7", "uplink"]
    rename(world, "uplink", "rack7")  # it is there already, and ours from now on
    rename(world)
    assert altnames(world) == []


def test_a_name_that_somebody_took_away_may_go_and_come_back(world: World) -> None:
    world.create("lagg0", options=called("core"))
    world.ip("link property del dev lagg0 altname core")
    world.change(options=(("rr_limit", 2),))
    assert altnames(world) == []
    rename(world, "core")
    assert altnames(world) == ["core"]
    world.ip("link property del dev lagg0 altname core")
    rename(world)
    assert world.record()["options"]["altname"] == []


def test_a_lagg_answers_to_any_of_its_names(world: World) -> None:
    (p0,) = world.plug(0)
    world.create("lagg0", options=called("core"))
    world.attach(p0, lagg="core")
    rename(world, "core", "uplink", lagg="core")
    assert world.record("uplink")["name"] == "lagg0"
    assert [port["name"] for port in world.record("core")["ports"]] == [p0]
    world.ip("link property add dev lagg0 altname rack7")
    bundle = world.commands._laggs.bundles["lagg0"]
    world.wait(lambda: "rack7" in bundle.link.altnames, "laggd is told")
    refused = world.refused(lambda: world.create("rack7"))
    assert (refused.thing, refused.code) == ("rack7", errno.EEXIST)
    world.destroy("rack7")
    assert world.refused(lambda: world.destroy("core")).code == errno.ENOENT


@pytest.mark.parametrize("taken", ["p0", "spare"])
def test_a_name_that_is_taken_is_refused_and_nothing_changes(
    world: World, taken: str
) -> None:
    world.plug(0)
    world.ip("link property add dev p0 altname spare")
    world.create("lagg0", options=called("core", "old"))
    before = world.calm()
    options = (("altname", ("core", "new", taken)), ("rr_limit", 5))
    refused = world.refused(lambda: world.change(mtu=1400, options=options))
    cause = f"add altname {taken}: File exists (EEXIST)"
    assert str(refused) == f"lagg0: {cause}"
    world.unchanged(before)
    refused = world.refused(lambda: world.create("lagg1", options=called(taken)))
    assert str(refused) == f"lagg1: {cause}"
    world.unchanged(before)


def reload(world: World, *wanted: LaggConfig) -> tuple[str, ...]:
    return world.do(world.commands.reload(wanted)).lines


def test_a_reload_changes_the_names_that_changed(world: World) -> None:
    reload(
        world,
        LaggConfig("lagg0", options=called("a", "b")),
        LaggConfig("lagg1", options=called("c")),
        LaggConfig("lagg2", options=called("d")),
    )
    wanted = (
        LaggConfig("lagg0", options=called("b", "c", "d")),
        LaggConfig("lagg1", options=called("a")),
    )
    assert reload(world, *wanted) == (
        "lagg2: destroyed",
        "lagg0: altname: a,b -> b,c,d",
        "lagg1: altname: c -> a",
    )
    assert altnames(world) == ["b", "c", "d"]
    assert altnames(world, "lagg1") == ["a"]
    assert reload(world, *wanted) == ()
    assert reload(world, *world.do(world.commands.running())) == ()


def test_a_reload_that_is_refused_leaves_every_name(world: World) -> None:
    world.plug(0)
    reload(
        world,
        LaggConfig("lagg0", options=called("a", "b")),
        LaggConfig("lagg1", options=called("c")),
    )
    names = {name: altnames(world, name) for name in ("lagg0", "lagg1")}
    inside = world.do(world.commands.running())
    wanted = LaggConfig("lagg2", options=called("a", "c", "p0"))
    with pytest.raises(LaggError) as refused:
        reload(world, LaggConfig("lagg0"), wanted)
    assert str(refused.value) == "lagg2: add altname p0: File exists (EEXIST)"
    assert {name: sorted(altnames(world, name)) for name in names} == names
    assert world.do(world.commands.running()) == inside


def test_a_set_that_is_refused_later_gives_the_names_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("lagg0", options=called("a"))
    before = world.calm()
    bundle = world.commands._laggs.bundles["lagg0"]
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "adopt", lambda _: _refuse())
        refused = world.refused(lambda: rename(world, "b"))
    assert refused.code == errno.EAGAIN
    world.unchanged(before)


def _refuse() -> None:
    raise LaggError("lagg0", "publish a snapshot", errno.EAGAIN)
