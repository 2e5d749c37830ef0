# SPDX-License-Identifier: BSD-2-Clause
"""One lagg as a value: it comes back as it was, and what no lagg can be is refused."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.handover.saved import (
    SavedHold,
    SavedHostDrops,
    SavedLacp,
    SavedLacpPort,
    SavedLagg,
)
from lagg.handover.slots import VALUE_BYTES_MAX
from lagg.lacp.engine import Engine
from lagg.lacp.values import Medium
from lagg.link import AddrGenMode, Link, Modes, RxFilter
from lagg.model import (
    ALL_LAYERS,
    Agreement,
    Drop,
    HashKind,
    HashLayer,
    LaggConfig,
    MacPolicy,
    Options,
    PortOptions,
    Proto,
    Rounds,
    Wanted,
    WayIn,
)
from lagg.options import PORTS_MAX
from lagg.plan.flow_moves import Moves, moves
from lagg.plan.penalty import Penalty
from lagg.plan.plan import plan, standings
from lagg.plan.shape import LaggMac, Port, Shape
from tests.lacp.world import SECOND, World, port_mac, settings

MAC = "02:00:5e:00:53:01"
LAGG = Link(9, "lagg0", MAC, 9000, True, True, "UP", 1, kind="tun", altnames=("up",))


def port_of(
    slot: int, ifindex: int, *, active: bool = True, agreed: bool = True
) -> Port:
    state = "UP" if active else "DOWN"
    link = Link(
        *(ifindex, f"eth{ifindex}", MAC, 9000, True, active, state, 1),
        addr_gen_mode=AddrGenMode(7),  # of a later kernel
        alias="to the \udcff switch",
    )
    lacp = Agreement(agreed, agreed, agreed, None if agreed else "partner silent")
    return Port(
        *(slot, link, MAC, Modes(25_000), lacp, ("a bridge has it",)),
        penalty=Penalty(2300, 5, suppresses=not agreed),
    )


def lacp_of(numbers: list[int]) -> SavedLacp:
    """LACP that has run for a while on these ports."""
    world = World()
    medium = Medium(up=True, speed_mbps=25_000)
    for name in ("A", "B"):
        engine = world.add(name, 0, settings(name))
        for number in numbers:
            engine.add_port(number, port_mac(name, number), 1, medium, world.now)
    for number in numbers:
        world.join(("A", number), ("B", number))
    world.run(4 * SECOND)
    return SavedLacp(
        world.engines["A"].saved(),
        LaggMac(MAC),
        tuple(SavedLacpPort(number, carrying=True) for number in numbers),
        frozenset(numbers[:1]),
        ((0, 77),),
    )


SIX = lacp_of([1, 2, 3, 4, 5, 6])
NOW = SIX.engine.now


@st.composite
def wishes(draw: st.DrawFn, said: LaggConfig) -> Wanted:
    """What is wanted beside a shape."""
    rounds = [Rounds(draw(st.integers(0, 255)), due) for due in (NOW, 0)]
    said_or_not = draw(st.sampled_from([None, said]))
    way = WayIn(frozenset({3, 9}), MAC)
    return Wanted(said_or_not, ("eth9",), draw(st.booleans()), way, *rounds)


@st.composite
def laggs(draw: st.DrawFn) -> SavedLagg:
    """Laggs as they come about: ports that came and went, moved and were renamed."""
    shape = Shape(
        draw(st.sampled_from([p for p in Proto if p is not Proto.LACP])),
        Options(
            altname=draw(st.sampled_from([(), ("storage", "up")])),
            mac_policy=draw(st.sampled_from(MacPolicy)),
            lagghash=draw(st.sampled_from([ALL_LAYERS, ALL_LAYERS[1:]])),
            hash=draw(st.sampled_from(HashKind)),
            hash_seed=draw(st.integers(0, 2**32 - 1)),
            rr_limit=draw(st.integers(0, 2**32 - 1)),
            failover_rx_all=draw(st.booleans()),
            lacp_system=draw(st.sampled_from([None, MAC])),
            lacp_port_offset=draw(st.sampled_from([0, 65503])),
        ),
        port_options={"eth3": PortOptions(7)},
        mac=LaggMac(MAC, draw(st.booleans()), draw(st.sampled_from([None, "eth3"]))),
    ).in_order(draw(st.sampled_from([(), ("eth9", "eth3")])))
    for ifindex in draw(st.lists(st.integers(1, 40), unique=True, max_size=PORTS_MAX)):
        slot = shape.free_slot(f"eth{ifindex}")
        assert slot is not None
        active, agreed = draw(st.booleans()), draw(st.booleans())
        shape = shape.with_port(port_of(slot, ifindex, active=active, agreed=agreed))
    for port in shape.ports:
        if draw(st.integers(0, 4)) == 0:
            shape = replace(
                shape.without_port(port.slot), closing=frozenset({port.slot})
            )
    said = LaggConfig(
        "lagg0", mac=MAC, mtu=9000, ports=("eth3",), options=shape.options
    )
    return SavedLagg(
        link=LAGG,
        identity=draw(st.integers(0, 2047)),
        shape=shape,
        wanted=draw(wishes(said)),
        shares_mac=draw(st.booleans()),
        host_drops=SavedHostDrops(7, ((Drop.NO_PORT, 3),)),
        openings=tuple((port.link.ifindex, "its lagg is") for port in shape.ports[:1]),
        holds=tuple(
            SavedHold(
                port.link.ifindex,
                RxFilter(True, False, frozenset({MAC})),
                ("in3", "out3"),
            )
            for port in shape.ports
        ),
    )


@given(laggs())
def test_a_lagg_comes_back_as_it_was_with_the_same_plan(lagg: SavedLagg) -> None:
    again = SavedLagg.of(lagg.text(), NOW)
    assert again == lagg
    assert plan(again.shape) == plan(lagg.shape)
    assert standings(again.shape) == standings(lagg.shape)


def with_lacp() -> SavedLagg:
    """Six ports under LACP, of which two flows are on the move."""
    shape = Shape(Proto.LACP, Options(hash_seed=7), mac=LaggMac(MAC))
    for slot in range(6):
        shape = shape.with_port(port_of(slot, 10 + slot))
    fewer = shape.without_port(5)
    waiting = moves(Moves(), plan(fewer), plan(shape), range(6))
    assert waiting.origins
    return SavedLagg(
        LAGG,
        3,
        shape,
        tuple(waiting.origins.items()),
        holds=tuple(SavedHold(port.link.ifindex) for port in shape.ports),
        openings=((10, "its lagg is"),),
        host_drops=SavedHostDrops(1, ((Drop.NO_PORT, 1),)),
        lacp=SIX,
    )


def test_lacp_comes_back_with_its_engine_and_the_flows_that_wait() -> None:
    lagg = with_lacp()
    again = SavedLagg.of(lagg.text(), NOW)
    assert again == lagg
    assert again.flow_moves == Moves(dict(lagg.moves))
    assert again.lacp is not None
    assert Engine.restored(again.lacp.engine, NOW).view().aggregator == 1


def test_a_lagg_of_as_many_ports_as_there_can_be_has_room() -> None:
    shape = Shape(Proto.LACP, Options(hash_seed=7), mac=LaggMac(MAC))
    for slot in range(PORTS_MAX):
        shape = shape.with_port(port_of(slot, 10 + slot))
    groups = frozenset(f"33:33:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(500))
    holds = (
        SavedHold(port.link.ifindex, RxFilter(multicast=groups)) for port in shape.ports
    )
    lacp = lacp_of([*range(1, PORTS_MAX + 1)])
    lagg = SavedLagg(LAGG, 3, shape, holds=tuple(holds), lacp=lacp)
    text = lagg.text()
    print(len(text), len(replace(lagg, holds=()).text()))
    assert len(text) < VALUE_BYTES_MAX / 2
    assert SavedLagg.of(text, lacp.engine.now) == lagg


# ---- what is refused ---------------------------------------------------------------


def test_another_version_is_refused_with_its_name() -> None:
    text = with_lacp().text().replace(b"laggd-state 1", b"laggd-state 2", 1)
    with pytest.raises(ValueError, match="begins with 'laggd-state 2', not 'laggd-s"):
        SavedLagg.of(text, NOW)


Change = Callable[[SavedLagg], SavedLagg]


def of_shape(**changed: object) -> Change:
    return lambda lagg: replace(lagg, shape=replace(lagg.shape, **changed))  # type: ignore[arg-type]


def of_options(**changed: object) -> Change:
    def change(lagg: SavedLagg) -> SavedLagg:
        options = replace(lagg.shape.options, **changed)  # type: ignore[arg-type]
        return of_shape(options=options)(lagg)

    return change


def of_lacp(**changed: object) -> Change:
    return lambda lagg: replace(lagg, lacp=replace(SIX, **changed))  # type: ignore[arg-type]


def of_lagg(**changed: object) -> Change:
    return lambda lagg: replace(lagg, **changed)  # type: ignore[arg-type]


def lost_at(lagg: SavedLagg, instant: int) -> SavedLagg:
    first, *others = lagg.shape.ports
    first = replace(first, penalty=Penalty(1000, instant))
    return of_shape(ports=(first, *others))(lagg)


REFUSED: dict[str, Change] = {
    "shape.ports: not by": lambda lagg: of_shape(ports=lagg.shape.ports[::-1])(lagg),
    "shape.ports: a slot": of_shape(ports=(port_of(1, 10), port_of(1, 11))),
    "shape.ports: one is lost": lambda lagg: lost_at(lagg, NOW + 1),
    "shape.primary": of_shape(primary=9),
    "shape.primary: ": of_shape(primary=None),
    "shape.closing": of_shape(closing=frozenset({0})),
    "shape.homes: not 256": of_shape(homes=()),
    "shape.homes: not in": of_shape(homes=(9,) * 256),
    "shape.options.hash_seed": of_options(hash_seed=None),
    "shape.options.lagghash": of_options(lagghash=()),
    "shape.options.rr_limit": of_options(rr_limit=-1),
    "shape.options.lacp_max_ports": of_options(lacp_max_ports=33),
    "shape.port_options.eth10": of_shape(port_options={"eth10": PortOptions(1 << 20)}),
    "moves: an index": of_lagg(moves=((1, 0), (1, 0))),
    "moves: from": of_lagg(moves=((1, 9),)),
    "holds: a port twice": lambda lagg: replace(lagg, holds=lagg.holds * 2),
    "holds: a port is": of_lagg(holds=()),
    "openings": of_lagg(openings=((1, "a"), (1, "b"))),
    "host_drops": of_lagg(host_drops=SavedHostDrops(1, ((Drop.RUNT, 1),) * 2)),
    "wanted.announcements.due": of_lagg(
        wanted=Wanted(announcements=Rounds(1, NOW + 301 * SECOND))
    ),
    "wanted.rejoins.due": of_lagg(wanted=Wanted(rejoins=Rounds(0, 1 << 62))),
    "lacp: missing": of_lagg(lacp=None, moves=()),
    "lacp.engine.now": of_lacp(engine=replace(SIX.engine, now=NOW + 1)),
    "lacp.ports: not": of_lacp(ports=()),
    "lacp.ports: of no": lambda lagg: of_shape(
        ports=lagg.shape.ports[:5], homes=(0,) * 256
    )(replace(lagg, moves=())),
    "lacp.answering": of_lacp(answering=frozenset({7})),
    "lacp.asked": of_lacp(asked=((0, 1), (0, 2))),
}


@pytest.mark.parametrize("place", REFUSED)
def test_what_no_lagg_can_be_is_refused_with_its_place(place: str) -> None:
    text = REFUSED[place](with_lacp()).text()
    with pytest.raises(ValueError, match=f"^{place}"):
        SavedLagg.of(text, NOW)


def test_inner_alone_is_no_lagghash() -> None:
    inner = of_options(lagghash=(HashLayer.INNER,))
    with pytest.raises(ValueError, match=r"^shape\.options\.lagghash"):
        SavedLagg.of(inner(with_lacp()).text(), NOW)


@given(st.binary())
def test_any_bytes_are_a_value_error(octets: bytes) -> None:
    for text in (octets, b"laggd-state 1\n" + octets):
        with pytest.raises(ValueError, match=r"."):
            SavedLagg.of(text, NOW)


ODD: tuple[Any, ...] = (None, True, 0, 1, -1, 255, 256, 1 << 32, "", "lacp", [], {})


def places_of(row: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 # JSON
    """Each container in a JSON value, and each key in it."""
    for key in [*(row.keys() if isinstance(row, dict) else range(len(row)))]:
        yield row, key
        if isinstance(row[key], dict | list):
            yield from places_of(row[key])


def test_with_one_value_changed_it_is_refused_or_has_a_plan(rng: random.Random) -> None:
    head, _, body = with_lacp().text().partition(b"\n")
    taken = 0
    for _ in range(400):
        row = json.loads(body)
        places = [*places_of(row)]
        (holder, key), (other, its) = rng.choice(places), rng.choice(places)
        holder[key] = rng.choice((rng.choice(ODD), json.loads(json.dumps(other[its]))))
        text = head + b"\n" + json.dumps(row).encode()
        try:
            lagg = SavedLagg.of(text, NOW)
        except ValueError:
            continue
        taken += 1
        held = lagg.flow_moves.hold(plan(lagg.shape))
        assert max(held.held, default=0) < 256
        assert {*held.tx_slots} <= held.ports
        standings(lagg.shape)
        assert SavedLagg.of(lagg.text(), NOW) == lagg
    assert taken > 10
