# SPDX-License-Identifier: BSD-2-Clause
"""What a dry run says is what the change then does, and it does nothing itself.

Both play on interfaces that are values: the laggs that run here stand on one picture of
the kernel, and what is rehearsed on a copy of it, as it does on the kernel itself.
"""

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lagg.errors import LaggError
from lagg.kernel.native import Device
from lagg.kernel.netlink import Netlink
from lagg.model import (
    HashKind,
    LaggChange,
    LaggConfig,
    MacPolicy,
    Options,
    Pin,
    PortOptions,
    Proto,
)
from lagg.operations.changes import Changes
from lagg.operations.rehearsal import (
    Moment,
    Order,
    outcome,
    played,
    rehearse,
    seen,
)
from lagg.operations.rehearsed_kernel import (
    RehearsedDevice,
    RehearsedNetlink,
    RehearsedTakeover,
)
from lagg.plan.outcome import Outcome
from lagg.plan.shift import Move, PortShift, Shift
from lagg.ports.takeover import Takeover
from tests.operations.pictured import PORTS, STRANGERS, Kernel, Pictured, pictured
from tests.tree import ROOT

PROPERTY = settings(
    max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate]
)
"""To shrink what is found takes minutes, and tells little more."""


async def agrees(world: Pictured, order: Order) -> Outcome | LaggError:
    """The dry run changes nothing, and tells what the change then does."""
    before, was = await world.whole(), seen(world.laggs)
    said, would_be = await rehearsed(world, order)
    assert await world.whole() == before
    refused = await refusal(world, order)
    if refused is not None:
        assert isinstance(said, LaggError)
        assert (str(said), said.code) == (str(refused), refused.code)
    else:
        assert said == outcome(was, seen(world.laggs))
        assert would_be == seen(world.laggs)
    return said


async def rehearsed(
    world: Pictured, order: Order
) -> tuple[Outcome | LaggError, dict[str, Moment] | None]:
    try:
        return await rehearse(world.laggs, order), await played(world.laggs, order)
    except LaggError as error:
        return error, None


async def refusal(world: Pictured, order: Order) -> LaggError | None:
    try:
        await order(world.changes)
    except LaggError as error:
        return error
    return None


def in_world(*orders: Order) -> list[Outcome | LaggError]:
    """What is said of each, one after the other."""

    async def work() -> list[Outcome | LaggError]:
        async with pictured() as world:
            return [await agrees(world, order) for order in orders]

    return asyncio.run(work())


# ---- changes, as values that say what they are ---------------------------------------


@dataclass(frozen=True)
class Ask:
    """A change of any kind."""

    method: str
    arguments: tuple[Any, ...] = field(default=())

    def __call__(self, changes: Changes) -> Any:  # noqa: ANN401
        return getattr(changes, self.method)(*self.arguments)


def some(names: Sequence[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), max_size=most, unique=True).map(tuple)


protos = st.sampled_from(Proto)
seeds = st.integers(0, 9)
own_options = st.fixed_dictionaries(
    {"hash_seed": seeds},
    optional={
        "rr_limit": st.integers(0, 3),
        "hash": st.sampled_from(HashKind),
        "mac_policy": st.sampled_from(MacPolicy),
        "min_links": st.integers(1, 3),
        "failover_rx_all": st.booleans(),
        "hash_symmetric": st.booleans(),
        "altname": some(("other0", "p1"), 1),
    },
)
of_ports = st.dictionaries(
    st.sampled_from(PORTS),
    st.fixed_dictionaries(
        {},
        optional={
            "weight": st.integers(0, 3),
            "priority": st.integers(0, 2),
            "hold": st.booleans(),
        },
    ),
    max_size=2,
)
macs = st.none() | st.just("02:00:5e:00:53:77")
mtus = st.none() | st.sampled_from([1400, 1500, 9000, 9001])
# Most are what can be done: a refusal says little of the rest.
names = st.sampled_from(["lagg0"] * 9 + ["lagg1", "p0", "nothing0"])
ports = some(PORTS, 2) | some(PORTS, 2) | some((*PORTS, *STRANGERS), 3)
members = st.sampled_from(["p0"] * 5 + ["p1"] * 5 + ["p2"])
leaving = st.lists(members, max_size=2, unique=True).map(tuple)
configs = st.builds(
    LaggConfig,
    st.sampled_from(["lagg0", "lagg1", "lagg1", "lagg1", "p0"]),
    proto=protos,
    ports=ports,
    mac=macs,
    mtu=mtus,
    options=own_options.map(lambda found: Options(**cast(Any, found))),
    port_options=of_ports.map(
        lambda found: {p: PortOptions(**cast(Any, each)) for p, each in found.items()}
    ),
)
primaries = st.none() | members
pins = leaving.map(lambda found: tuple(Pin(n, p) for n, p in enumerate(found)))
changes = st.builds(
    LaggChange,
    proto=st.none() | protos,
    mac=macs,
    mtu=mtus,
    active=st.none() | st.none() | st.just("") | members,
    options=st.tuples(own_options, primaries, pins).map(
        lambda found: tuple({**found[0], "primary": found[1], "pin": found[2]}.items())
    ),
    port_options=of_ports.map(
        lambda found: {port: tuple(each.items()) for port, each in found.items()}
    ),
)


def is_sound(found: list[LaggConfig]) -> bool:
    """As files are that are taken: no port is in two laggs."""
    named = [port for config in found for port in config.ports]
    return len({*named}) == len(named)


asks = st.one_of(
    configs.map(lambda config: Ask("create", (config,))),
    st.builds(lambda *found: Ask("set", found), names, changes),
    st.builds(lambda *found: Ask("attach", found), names, ports),
    st.builds(lambda *found: Ask("detach", found), names, leaving),
    st.lists(configs, max_size=2, unique_by=lambda config: config.name)
    .filter(is_sound)
    .map(lambda found: Ask("reload", (found,))),
)
first = configs.map(
    lambda config: Ask(
        "create", (replace(config, name="lagg0", ports=PORTS[:2], mtu=None),)
    )
)


@given(first, st.lists(asks, min_size=1, max_size=6))
@PROPERTY
def test_what_a_dry_run_says_is_what_the_change_then_does(
    made: Ask, orders: list[Ask]
) -> None:
    in_world(made, *orders)


# ---- what it says --------------------------------------------------------------------

MADE = LaggConfig(
    "lagg0", Proto.LOADBALANCE, ("p0", "p1"), options=Options(hash_seed=1)
)
CREATE = Ask("create", (MADE,))


def test_of_a_port_that_comes_it_counts_the_flows_that_move_to_it() -> None:
    _, said = in_world(CREATE, Ask("attach", ("lagg0", ("p2",))))
    assert said == Outcome(
        ("lagg0: port p2: attached",),
        shifts=(
            Shift(
                "lagg0",
                ports=(
                    PortShift("p0", 0.5, 86 / 256, 128, 86),
                    PortShift("p1", 0.5, 85 / 256, 128, 85),
                    PortShift("p2", 0.0, 85 / 256, 0, 85),
                ),
                moves=(
                    Move("p0", "p2", 42, 42 / 256),
                    Move("p1", "p2", 43, 43 / 256),
                ),
            ),
        ),
    )


def test_of_another_hash_it_says_that_all_flows_are_spread_anew() -> None:
    change = LaggChange(options=(("hash_seed", 2),))
    _, said = in_world(CREATE, Ask("set", ("lagg0", change)))
    assert isinstance(said, Outcome)
    assert said.lines == ("lagg0: hash_seed: 1 -> 2",)
    assert [(each.anew, each.moves) for each in said.shifts] == [(True, ())]


def test_of_lacp_it_says_who_waits_for_a_partner() -> None:
    _, said = in_world(CREATE, Ask("set", ("lagg0", LaggChange(proto=Proto.LACP))))
    assert isinstance(said, Outcome)
    assert [each.unagreed for each in said.shifts] == [("p0", "p1")]
    assert [port.share_after for port in said.shifts[0].ports] == [0.0, 0.0]


def test_of_a_choice_it_says_who_carries_then() -> None:
    failover = replace(MADE, proto=Proto.FAILOVER)
    chosen = LaggChange(active="p1")
    _, said = in_world(Ask("create", (failover,)), Ask("set", ("lagg0", chosen)))
    assert isinstance(said, Outcome)
    assert said.lines == ("lagg0: active: p1",)
    assert said.shifts[0].moves == (Move("p0", "p1", 0, 1.0),)


@pytest.mark.parametrize(
    ("order", "refusal"),
    [
        (Ask("attach", ("lagg0", ("p2", "lo"))), "lagg0: port lo: "),
        (Ask("attach", ("lagg0", ("theirs0",))), "is a port of another laggd (EBUSY)"),
        (Ask("attach", ("lagg0", ("absent0",))), "no such interface (ENODEV)"),
        (Ask("detach", ("lagg0", ("p2",))), "not a port of this lagg (ENOENT)"),
        (
            Ask("set", ("lagg0", LaggChange(mtu=9001))),
            "set MTU 9001: Invalid argument: mtu greater than device maximum (EINVAL)",
        ),
        (CREATE, "already exists (EEXIST)"),
        (
            Ask("create", (LaggConfig("p2"),)),
            "which is no lagg of this laggd; choose another name or take that away",
        ),
    ],
)
def test_it_refuses_what_the_change_would(order: Ask, refusal: str) -> None:
    _, said = in_world(CREATE, order)
    assert isinstance(said, LaggError)
    assert refusal in str(said)


def test_it_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Events and lines of the log tell of what was done, and of nothing else."""

    async def work() -> None:
        async with pictured() as world:
            await rehearse(world.laggs, CREATE)
            assert world.events == []

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    assert caplog.messages == []


STEPS = ("altname", "apply", "attach", "changes", "lifetime", "propagate")
OF_A_CHANGE = (*STEPS, "protocol_change", "rx_wanted")


@pytest.mark.parametrize(
    ("called", "stand_in", "real"),
    [
        ("netlink", RehearsedNetlink(cast(Netlink, Kernel()), {}), Netlink),
        ("takeover", RehearsedTakeover, Takeover),
        ("device", RehearsedDevice, Device),
    ],
)
def test_what_a_change_may_ask_of_the_kernel_a_rehearsal_has_and_takes_alike(
    called: str, stand_in: object, real: type
) -> None:
    for room in OF_A_CHANGE:
        text = (ROOT / f"lagg/operations/{room}.py").read_text(encoding="utf-8")
        for method in re.findall(rf"\b_?{called}\.([a-z]\w*)\(", text):
            assert hasattr(stand_in, method), f"{room}: {called}.{method}"
    for method in {*dir(stand_in)} & {name for name in dir(real) if name[0] != "_"}:
        mine, theirs = getattr(stand_in, method), getattr(real, method)
        if callable(theirs):
            assert _taken(mine) == _taken(theirs), f"{called}.{method}"


def _taken(method: Callable[..., object]) -> list[object]:
    """How many arguments by place, and which by name."""
    parameters = inspect.signature(method).parameters.values()
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    places = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    own = [p for p in places if p.name != "self"]
    return ["any" if open_ended else len(own), named]


def test_nothing_that_an_operation_may_ask_of_the_kernel_is_done_by_a_rehearsal() -> (
    None
):
    """What is not in the picture only looks."""
    looks = {"addresses", "wireless", "modes", "filters_vlans", "reception"}
    mine = vars(RehearsedNetlink(cast(Netlink, Kernel()), {})).keys() - {"_links"}
    assert mine == looks
    assert not issubclass(RehearsedNetlink, Netlink)
    assert not issubclass(RehearsedTakeover, Takeover)
    assert not issubclass(RehearsedDevice, Device)
