# SPDX-License-Identifier: BSD-2-Clause
"""What a reload is to do, as values: nothing twice, nothing too much, and in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lagg.config.diff import Diff, diff, report_lines
from lagg.config.files import parse_toml, to_toml
from lagg.model import (
    ALL_LAYERS,
    HashKind,
    HashLayer,
    LaggChange,
    LaggConfig,
    Options,
    Proto,
)

MAC = "02:00:5e:00:53:01"
SEED = 7


def runs(name: str = "lagg0", **config: Any) -> LaggConfig:  # noqa: ANN401
    """As a lagg runs: its seed is drawn."""
    options = Options(**{"hash_seed": SEED} | config.pop("options", {}))
    return LaggConfig(name, options=options, **config)


def by_name(configs: Iterable[LaggConfig]) -> dict[str, LaggConfig]:
    return {config.name: config for config in configs}


def lines(
    running: Sequence[LaggConfig],
    said: Sequence[LaggConfig],
    wanted: Sequence[LaggConfig],
    waiting: Sequence[str] = (),
) -> list[str]:
    found = diff(by_name(running), by_name(said), wanted)
    return list(report_lines(found, waiting))


def test_what_is_as_it_should_be_is_not_touched() -> None:
    wanted = [LaggConfig("lagg0", ports=("a", "b")), LaggConfig("lagg1")]
    running = [runs("lagg0", ports=("a", "b")), runs("lagg1", mac=MAC, mtu=9000)]
    assert diff(by_name(running), by_name(wanted), wanted) == Diff()


def test_the_order_of_ports_is_the_files() -> None:
    running, wanted = [runs(ports=("b", "a", "x"))], [runs(ports=("a", "b"))]
    assert lines(running, wanted, wanted) == [
        "lagg0: port x: detached",
        "lagg0: ports: in the order a,b",
    ]
    assert lines([runs(ports=("b",))], wanted, wanted, waiting=["a"]) == [
        "lagg0: port a: not there yet, waited for"
    ]


def test_a_lagg_made_by_hand_takes_its_order_from_the_first_file_that_names_it() -> (
    None
):
    wanted = [LaggConfig("lagg0", ports=("a", "b"))]
    (only,) = diff(by_name([runs(ports=("a", "b"))]), {}, wanted).change
    assert (only.after.ports, only.change, only.reordered) == (("a", "b"), None, False)
    assert lines([runs(ports=("a", "b"))], [], wanted) == []


def test_a_lagg_that_no_file_ever_named_is_left_alone() -> None:
    assert lines([runs("hand0")], [], []) == []


def test_a_lagg_that_the_files_name_no_more_is_destroyed() -> None:
    said = [LaggConfig("lagg0")]
    assert lines([runs("lagg0"), runs("hand0")], said, []) == ["lagg0: destroyed"]


def test_a_lagg_that_was_destroyed_by_hand_is_made_again() -> None:
    wanted = [LaggConfig("lagg0", ports=("a",))]
    assert lines([], wanted, wanted) == [
        "lagg0: created, laggproto failover",
        "lagg0: port a: attached",
    ]


def test_each_change_is_told_with_what_was_and_what_is() -> None:
    wanted = LaggConfig(
        "lagg0",
        proto=Proto.LOADBALANCE,
        ports=("b", "c", "d"),
        mtu=9000,
        options=Options(lagghash=(HashLayer.L3,), use_flowid=True, hash=HashKind.FNV1),
    )
    running = runs(ports=("a", "b"), mac=MAC)
    said = LaggConfig("lagg0", ports=("a", "b"), mac=MAC)
    assert lines([running], [said], [wanted], ["d"]) == [
        "lagg0: port a: detached",
        "lagg0: proto: failover -> loadbalance",
        f"lagg0: mac: {MAC} -> the first port's",
        "lagg0: mtu: the first port's -> 9000",
        "lagg0: lagghash: l2,l3,l4 -> l3",
        "lagg0: hash: crc32c -> fnv1",
        "lagg0: use_flowid: false -> true",
        "lagg0: port c: attached",
        "lagg0: port d: not there yet, waited for",
    ]


def test_what_was_set_by_hand_is_what_the_file_says_again() -> None:
    running = [runs(options={"rr_limit": 9}, ports=("a", "extra"))]
    wanted = [LaggConfig("lagg0", ports=("a",))]
    assert lines(running, wanted, wanted) == [
        "lagg0: port extra: detached",
        "lagg0: rr_limit: 9 -> 1",
    ]


def test_a_mac_that_no_file_said_is_whoever_s_who_set_it() -> None:
    wanted = [LaggConfig("lagg0")]
    assert lines([runs(mac=MAC, mtu=9000)], wanted, wanted) == []


def test_a_seed_is_drawn_once_and_kept_until_a_file_says_another() -> None:
    wanted = [LaggConfig("lagg0")]
    assert lines([runs()], wanted, wanted) == []
    other = [LaggConfig("lagg0", options=Options(hash_seed=8))]
    assert lines([runs()], wanted, other) == ["lagg0: hash_seed: 7 -> 8"]


def test_a_port_that_changes_its_lagg_is_known_as_moving() -> None:
    running = by_name([runs("lagg0", ports=("a", "b")), runs("lagg1")])
    wanted = [LaggConfig("lagg1", ports=("a",)), LaggConfig("lagg2", ports=("b",))]
    assert diff(running, running, wanted).moving == {"a", "b"}


def test_a_change_names_only_what_it_changes() -> None:
    wanted = [LaggConfig("lagg0", options=Options(rr_limit=2))]
    (only,) = diff(by_name([runs()]), {}, wanted).change
    assert only.change == LaggChange(options=(("rr_limit", 2),))
    assert (only.released, only.coming, only.leaving) == ((), (), ())


def test_every_field_of_a_lagg_is_looked_at() -> None:
    others: dict[str, Any] = {
        "proto": Proto.NONE,
        "ports": ("a",),
        "mac": MAC,
        "mtu": 68,
    }
    for field in fields(LaggConfig):
        if field.name in others:
            wanted = replace(LaggConfig("lagg0"), **{field.name: others[field.name]})
            assert lines([runs()], [], [wanted]), field.name


# For all configurations

PORTS = "abcdef"
NAMES = ("lagg0", "lagg1", "lagg2", "lagg3")


@st.composite
def options(draw: st.DrawFn, seed: st.SearchStrategy[int | None]) -> Options:
    layers = draw(st.sets(st.sampled_from(ALL_LAYERS), min_size=1))
    layers |= draw(st.sets(st.just(HashLayer.INNER)))
    return Options(
        lagghash=tuple(layer for layer in HashLayer if layer in layers),
        hash=draw(st.sampled_from(list(HashKind))),
        hash_seed=draw(seed),
        use_flowid=draw(st.booleans()),
        rr_limit=draw(st.integers(0, 3)),
    )


@st.composite
def worlds(
    draw: st.DrawFn, seeds: Sequence[int | None] = (None, 7, 8)
) -> list[LaggConfig]:
    """Laggs that one configuration may ask for together: no name and port twice."""
    owner = {port: draw(st.sampled_from((None, *NAMES))) for port in PORTS}
    return [
        LaggConfig(
            name,
            proto=draw(st.sampled_from(list(Proto))),
            ports=tuple(port for port in PORTS if owner[port] == name),
            mac=draw(st.sampled_from((None, MAC, "02:00:5e:00:53:02"))),
            mtu=draw(st.sampled_from((None, 1500, 9000))),
            options=draw(options(st.sampled_from(seeds))),
        )
        for name in NAMES
        if draw(st.booleans())
    ]


def _seed(config: LaggConfig) -> int:
    seed = config.options.hash_seed
    return 1 if seed is None else seed


def after(running: Mapping[str, LaggConfig], found: Diff) -> dict[str, LaggConfig]:
    """What runs when a diff was applied; what is made draws a seed."""
    gone = {config.name for config in found.destroy}
    kept = {name: config for name, config in running.items() if name not in gone}
    changed = {each.name: each.after for each in found.change}
    made = {
        c.name: replace(c, options=replace(c.options, hash_seed=_seed(c)))
        for c in found.create
    }
    return kept | changed | made


running_worlds = worlds((0, 7, 9))


@given(running=running_worlds, said=worlds(), wanted=worlds())
def test_the_same_reload_again_changes_nothing(
    running: list[LaggConfig], said: list[LaggConfig], wanted: list[LaggConfig]
) -> None:
    first = diff(by_name(running), by_name(said), wanted)
    then = after(by_name(running), first)
    assert diff(then, by_name(wanted), wanted) == Diff()


@given(running=running_worlds, said=worlds(), wanted=worlds())
def test_a_reload_ends_with_what_the_files_say_and_what_is_not_theirs(
    running: list[LaggConfig], said: list[LaggConfig], wanted: list[LaggConfig]
) -> None:
    before = by_name(running)
    then = after(before, diff(before, by_name(said), wanted))
    theirs = {config.name for config in (*said, *wanted)}
    assert {n: c for n, c in before.items() if n not in theirs} == {
        n: c for n, c in then.items() if n not in theirs
    }
    for config in wanted:
        made = then[config.name]
        assert (made.proto, set(made.ports)) == (config.proto, set(config.ports))
        for key in ("mac", "mtu"):
            assert getattr(config, key) in (None, getattr(made, key))


@given(running=running_worlds)
def test_what_is_saved_is_a_configuration_that_changes_nothing(
    running: list[LaggConfig],
) -> None:
    saved = parse_toml(to_toml(running), "saved.toml")
    assert diff(by_name(running), by_name(saved), saved) == Diff()
    assert lines(running, [], saved) == []
    assert after({}, diff({}, {}, saved)) == by_name(
        replace(c, options=replace(c.options, hash_seed=_seed(c))) for c in running
    )
