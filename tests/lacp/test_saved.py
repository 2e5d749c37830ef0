# SPDX-License-Identifier: BSD-2-Clause
"""An engine as a value: what is in it, what is refused, and what an absence changes.

That it goes on exactly is shown in tests/sim/test_saved.py.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.codec import dumps, loads
from lagg.lacp.engine import Engine
from lagg.lacp.marker import SavedMarkers
from lagg.lacp.notices import SavedNotices
from lagg.lacp.pdu import encode_lacpdu
from lagg.lacp.port import Port
from lagg.lacp.saved import ABSENCE_NS, SavedEngine, SavedPort
from lagg.lacp.values import (
    Bad,
    Medium,
    Mux,
    NoticeKind,
    Receive,
    Selected,
)
from tests.lacp.world import MILLISECOND, SECOND, World, port_mac, settings

DERIVED = {"settings": "the engine's", "key": "of settings, speed and identity"}
BESIDE = {"sent": "of the engine, for it outlives the port"}


def joined(ports: int = 2, **words: object) -> World:
    """A and B, in step, and a marker of A's on its way."""
    world = World.pair(ports, settings("A", **words), settings("B"))
    world.run(5 * SECOND)
    world.engines["A"].send_marker(1, world.now)
    world.carry()
    return world


def successor(world: World, saved: SavedEngine) -> Engine:
    """What another process makes of it."""
    return Engine.restored(loads(SavedEngine, dumps(saved)), world.now)


# ---- what is in it -----------------------------------------------------------------


def test_every_variable_of_a_port_is_saved_or_follows_from_what_is() -> None:
    saved = {each.name for each in fields(SavedPort)} - {"markers", "notices"}
    assert {each.name for each in fields(Port)} == {*saved, *DERIVED, *BESIDE}


def test_every_variable_of_an_engine_is_saved() -> None:
    saved = {f"_{each.name}" for each in fields(SavedEngine)}
    elsewhere = {"_markers", "_teller"}  # of each port
    empty = {"_outputs"}
    assert {*vars(Engine(settings("A"), 0))} == {*saved, *elsewhere, *empty}


def test_who_is_restored_is_saved_as_he_was() -> None:
    world = joined()
    saved = world.engines["A"].saved()
    assert successor(world, saved).saved() == saved


def test_what_is_saved_does_not_change_with_the_engine() -> None:
    world = joined()
    saved = world.engines["A"].saved()
    text = dumps(saved)
    world.carrier(1, up=False)
    world.run(SECOND)
    assert dumps(saved) == text


def test_a_value_of_a_version_that_knew_less_is_taken() -> None:
    """A reason to refuse a frame, or a kind of notice, that it did not have."""
    world = joined()
    saved = world.engines["A"].saved()
    port = saved.ports[0]
    older = replace(
        port,
        counts=replace(port.counts, bad=port.counts.bad[1:]),
        notices=replace(port.notices, told=port.notices.told[1:]),
    )
    engine = successor(world, replace(saved, ports=(older, *saved.ports[1:])))
    world.engines["A"] = engine
    world.carrier(1, up=False)
    assert [*dict(engine.view().ports[0].counts.bad)] == [*Bad]


# ---- after an absence --------------------------------------------------------------


def last_frames(world: World, name: str) -> dict[int, bytes]:
    return {
        number: frames[-1][1]
        for (who, number), frames in world.sent.items()
        if who == name
    }


@pytest.mark.parametrize("absence_ns", [0, 300 * MILLISECOND, 2 * SECOND, 60 * SECOND])
def test_the_first_pdu_after_an_absence_is_the_last_before_it(absence_ns: int) -> None:
    world = World.pair(2, settings("A"), settings("B"))
    world.run(5 * SECOND)
    before = last_frames(world, "A")
    saved = world.engines["A"].saved()
    world.now += absence_ns
    world.engines["A"] = successor(world, saved.after_absence(world.now))
    world.sent.clear()
    world.engines["A"].tick(world.now)
    world.carry()
    for _ in range(3 if absence_ns == 0 else 0):  # the limit may hold it up
        world.run(SECOND // 2)
    first = {
        end[1]: frames[0][1] for end, frames in world.sent.items() if end[0] == "A"
    }
    assert first == before
    assert world.distributing()["A"] == [1, 2]


def test_an_absence_is_not_the_partners_silence() -> None:
    world = World.pair(2, settings("A"), settings("B"))
    world.run(5 * SECOND)
    saved = world.engines["A"].saved()
    world.now += 60 * SECOND
    engine = successor(world, saved.after_absence(world.now))
    engine.tick(world.now + ABSENCE_NS - 1)
    assert [port.receive for port in engine.view().ports] == [Receive.CURRENT] * 2
    engine.tick(world.now + ABSENCE_NS)
    assert [port.receive for port in engine.view().ports] == [Receive.EXPIRED] * 2
    assert [port.counts.lacpdu_late for port in engine.view().ports] == [1, 1]


def test_who_was_about_to_be_late_long_after_is_not_so_sooner() -> None:
    world = World.pair(1, settings("A", fast=False), settings("B"))
    world.run(5 * SECOND)
    saved = world.engines["A"].saved()
    until = saved.ports[0].current_while
    assert saved.after_absence(world.now).ports[0].current_while == until


def test_who_waits_for_nobody_does_not_after_an_absence_either() -> None:
    world = World.pair(1)
    world.carrier(1, up=False)
    saved = world.engines["A"].saved()
    assert saved.after_absence(world.now).ports[0].current_while is None


def test_an_answer_to_what_was_asked_after_the_saving_is_none_to_the_successor() -> (
    None
):
    world = joined(1)
    saved = world.engines["A"].saved()
    asked = [
        world.engines["A"].send_marker(1, world.now + n * SECOND) for n in range(1, 5)
    ]
    heir = successor(world, saved.after_absence(world.now))
    again = [heir.send_marker(1, world.now + n * SECOND) for n in range(1, 5)]
    assert None not in asked + again
    assert not set(asked) & set(again)


# ---- what is refused ---------------------------------------------------------------

Change = Callable[[SavedEngine], SavedEngine]


def of_port(**changed: object) -> Change:
    """The first port with other variables."""

    def change(saved: SavedEngine) -> SavedEngine:
        first, *rest = saved.ports
        return replace(saved, ports=(replace(first, **changed), *rest))  # type: ignore[arg-type]

    return change


def of_engine(**changed: object) -> Change:
    return lambda saved: replace(saved, **changed)  # type: ignore[arg-type]


def markers(**changed: object) -> Change:
    plain = SavedMarkers((), (), ())
    return of_port(markers=replace(plain, **changed))  # type: ignore[arg-type]


def notices(**changed: object) -> Change:
    plain = SavedNotices((), (), ())
    return of_port(notices=replace(plain, **changed))  # type: ignore[arg-type]


LATER = 3600 * SECOND

REFUSED: dict[str, Change] = {
    "now": of_engine(now=LATER),
    "alone_since": of_engine(alone_since=LATER),
    "ports: ": lambda saved: replace(saved, ports=saved.ports[::-1]),
    "sent: a port is missing": of_engine(sent=()),
    "sent: a port twice": lambda saved: replace(saved, sent=saved.sent * 2),
    "sent: of port 1": of_engine(sent=((1, (5, 4)), (2, ()))),
    "ports[0].aggregator": of_port(aggregator=None, selected=Selected.SELECTED),
    "ports[0].duplicate_of": of_port(duplicate_of=1),
    "ports[0].mux": of_port(mux=Mux.COLLECTING_DISTRIBUTING),
    "ports[0].pdu_at": of_port(pdu_at=LATER),
    "ports[0].partner_since": of_port(partner_since=LATER),
    "ports[0].struck_at": of_port(struck_at=LATER),
    "ports[0].current_while": of_port(current_while=LATER),
    "ports[0].held_until": of_port(held_until=LATER),
    "ports[0].inbox": of_port(inbox=(LATER,)),
    "ports[0].markers.outstanding: one": markers(outstanding=((1, 2), (1, 2))),
    "ports[0].markers.outstanding: too": markers(outstanding=((1, LATER),)),
    "ports[0].markers.responses": markers(responses=(2, 1)),
    "ports[0].markers.markers": markers(markers=(LATER,)),
    "ports[0].notices.unsaid": notices(unsaid=((NoticeKind.HELD, 1),)),
    "ports[0].notices.last": notices(last=((NoticeKind.HELD, LATER),)),
    "ports[0].counts, notices": notices(last=((NoticeKind.HELD, 1),) * 2),
}


@pytest.mark.parametrize("place", REFUSED)
def test_what_no_engine_can_be_is_refused_with_its_place(place: str) -> None:
    world = joined()
    saved = REFUSED[place](world.engines["A"].saved())
    with pytest.raises(ValueError, match=f"^{re.escape(place)}"):
        successor(world, saved)


ANY = re.compile("")

BAD_TYPES: dict[str, Callable[[Any], None]] = {
    "ports[1].priority": lambda row: row["ports"][1].update(priority=65536),
    "ports[1].number": lambda row: row["ports"][1].update(number=0),
    "ports[0].mac": lambda row: row["ports"][0].update(mac="02:00:5E:00:53:01"),
    "ports[0].mux": lambda row: row["ports"][0].update(mux="happy"),
    "ports[0].sync": lambda row: row["ports"][0].update(sync=1),
    "ports[0].partner.state": lambda row: row["ports"][0]["partner"].update(state=256),
    "ports[0].inbox": lambda row: row["ports"][0].update(inbox=[1, 2, 3, 4]),
    "ports[0].inbox[1]": lambda row: row["ports"][0].update(inbox=[1, "2"]),
    "ports[0]: 'new'": lambda row: row["ports"][0].update(new=1),
    "ports[0]: 'strikes'": lambda row: row["ports"][0].pop("strikes"),
    "ports: ": lambda row: row.update(ports=row["ports"] * 17),
    "settings.max_ports": lambda row: row["settings"].update(max_ports=33),
    "the value: 'now'": lambda row: row.pop("now"),
}


@pytest.mark.parametrize("place", BAD_TYPES)
def test_what_does_not_fit_the_types_is_refused_with_its_place(place: str) -> None:
    row = json.loads(dumps(joined().engines["A"].saved()))
    BAD_TYPES[place](row)
    with pytest.raises(ValueError, match=f"^{re.escape(place)}"):
        loads(SavedEngine, json.dumps(row))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_json_is_an_engine_or_a_value_error(found: object) -> None:
    with pytest.raises(ValueError, match=ANY):
        loads(SavedEngine, json.dumps(found))


@given(st.binary())
def test_any_bytes_are_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match=ANY):
        loads(SavedEngine, octets)


# ---- one value of a sound state changed --------------------------------------------

Json = Any

STATES, STATES_LONG = 150, 20_000
STEPS = 1000
ODD: tuple[Json, ...] = (
    None,
    True,
    False,
    0,
    1,
    2,
    -1,
    255,
    65535,
    1 << 31,
    1 << 63,
    "",
    "current",
    [],
    {},
)


def places_of(row: Json) -> Iterator[tuple[Json, Json]]:
    """Each container in a JSON value, and each key in it."""
    keys = row.keys() if isinstance(row, dict) else range(len(row))
    for key in [*keys]:
        yield row, key
        if isinstance(row[key], dict | list):
            yield from places_of(row[key])


def spoil(row: Json, rng: random.Random) -> None:
    """Changes one value: to an odd one, its neighbour, or that of another place."""
    places = [*places_of(row)]
    holder, key = rng.choice(places)
    other, its = rng.choice(places)
    near = holder[key] + rng.choice((-1, 1, SECOND)) if type(holder[key]) is int else 0
    holder[key] = rng.choice(
        (rng.choice(ODD), near, json.loads(json.dumps(other[its])))
    )


def exercise(engine: Engine, now: int, rng: random.Random) -> None:
    """Random steps; none may raise."""
    numbers = [port.number for port in engine.view().ports]
    heard = [encode_lacpdu(pdu, port_mac("B", 1)) for pdu in some_pdus()]
    for step in range(STEPS):
        now += rng.randrange(SECOND // 2)
        number = rng.choice(numbers)
        match rng.randrange(6):
            case 0 | 1:
                engine.tick(now)
            case 2:
                engine.receive(number, rng.choice(heard), now)
            case 3:
                medium = Medium(up=rng.random() < 0.7, speed_mbps=10_000)
                engine.set_medium(number, medium, now)
            case 4:
                engine.send_marker(number, now)
            case 5:
                its = replace(engine.settings, coupled=rng.random() < 0.5)
                engine.set(its, now)
        assert all(output is not None for output in engine.take_outputs())
        engine.deadline()
        if step % 100 == 0:
            Engine.restored(engine.saved(), now)


def some_pdus() -> Iterator[Any]:
    world = joined(3)
    for number in (1, 2, 3):
        yield world.pdus("B", number)[-1]


def sound_states() -> list[tuple[int, str]]:
    """States of several kinds: with what `now` they were saved, and as text."""
    found = []
    for words in ({}, {"coupled": True}, {"min_links": 2}, {"fast": False}):
        world = joined(3, **words)
        found.append((world.now, dumps(world.engines["A"].saved())))
        world.silence(2, "B")
        world.engines["A"].leave([3], world.now)
        world.run(4 * SECOND)
        found.append((world.now, dumps(world.engines["A"].saved())))
    return found


@pytest.mark.slow
def test_a_state_with_one_value_changed_is_refused_or_the_engine_is_sound(
    rng: random.Random, long_run: bool
) -> None:
    taken = refused = 0
    states = sound_states()
    for _ in range(STATES_LONG if long_run else STATES):
        now, text = rng.choice(states)
        row = json.loads(text)
        spoil(row, rng)
        spoilt = json.dumps(row)
        try:
            engine = Engine.restored(loads(SavedEngine, spoilt), now)
        except ValueError:
            refused += 1
            continue
        taken += 1
        try:
            exercise(engine, now, random.Random(spoilt))
        except Exception as error:
            error.add_note(f"now {now}, restored from {spoilt}")
            raise
    print(f"{taken} taken, {refused} refused")
    assert taken > 20
    assert refused > 30
