#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fuzz target: what a laggd that adopts is given by a process it trusts less.

A lagg's saved state, the memory it lies in, replies and lists of descriptors: each is
refused by the one error that is meant for it, or is one that laggd can go on with.
tools/fuzz --adopter runs it under atheris; without that one_input() is an ordinary
function, which a test calls.
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

NOW = 1 << 40
STEP_NS = 100_000_000
CHANGES_MAX = 4
SLOT_HEAD_BYTES = 48

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 31, 32, 255, 256, 65535, 65536, 1.5, 1e400),
    *(2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, NOW, NOW + 1),
    *("", "x", "lacp", "02:00:5e:00:53:01", "\udcff", "\0", "x" * 300, "é", "-1"),
    *([], {}, [[]], [None], {"": 0}, [0, 0]),
)
"""What the place of another value is given."""

Place = tuple[Any, Any]  # a list or mapping, and a key of it


def one_input(octets: bytes) -> None:
    """One of what there is, altered as the octets say; none may raise."""
    chance = random.Random(octets)
    chance.choice((_state, _state, _state, _text, _slots, _reply, _names))(chance)


# ---- a saved state -----------------------------------------------------------------


@cache
def _good() -> tuple[bytes, ...]:
    """A lagg under LACP, with flows on the move, and one of another protocol."""
    lagg = import_module("tests.handover.test_saved").with_lacp()
    proto = import_module("lagg.model").Proto.LOADBALANCE
    static = replace(lagg, lacp=None, moves=(), shape=replace(lagg.shape, proto=proto))
    return lagg.text(), static.text()


def _state(chance: random.Random) -> None:
    head, _, body = chance.choice(_good()).partition(b"\n")
    state = json.loads(body)
    for _ in range(chance.randint(1, CHANGES_MAX)):
        _alter(state, chance)
    _adopt(head + b"\n" + json.dumps(state).encode())


def _alter(state: Any, chance: random.Random) -> None:  # noqa: ANN401  JSON is anything
    places = [*_places(state)]
    if not places:
        return
    inside, key = chance.choice(places)
    other, another = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, list):
            inside.insert(key, json.loads(json.dumps(inside[key])))
        case 2:
            inside[key] = json.loads(json.dumps(other[another]))
        case 3 if isinstance(inside[key], int):
            inside[key] += chance.choice((-1, 1, 2**16, -(2**40), 2**40))
        case _:
            inside[key] = chance.choice(ODD)


def _places(state: Any) -> Iterator[Place]:  # noqa: ANN401  JSON is anything
    keys = range(len(state)) if isinstance(state, list) else state
    for key in keys if isinstance(state, (list, dict)) else ():
        yield state, key
        yield from _places(state[key])


def _text(chance: random.Random) -> None:
    good = bytearray(chance.choice(_good()))
    for _ in range(chance.randint(1, 8)):
        good[chance.randrange(len(good))] = chance.randrange(256)
    _adopt(bytes(good[: chance.choice((len(good), chance.randrange(len(good))))]))


def _adopt(text: bytes) -> None:
    """Goes on with what it says, if it is not refused."""
    try:
        saved = import_module("lagg.handover.saved").SavedLagg.of(text, NOW)
    except ValueError:
        return
    assert import_module("lagg.handover.saved").SavedLagg.of(saved.text(), NOW) == saved
    device = import_module("tests.running.world").NotedDevice()
    bundle = import_module("lagg.running.bundle").Bundle
    resumed = bundle.resumed(saved, device, emit=lambda _: None)
    resumed.publish_again()
    json.dumps(resumed.record())
    if saved.lacp is not None:
        _go_on(saved.lacp.engine)


def _go_on(saved: Any) -> None:  # noqa: ANN401  its class is imported later
    engine = import_module("lagg.lacp.engine").Engine.restored(
        saved.after_absence(NOW), NOW
    )
    for step in range(20):
        engine.tick(NOW + step * STEP_NS)
        engine.take_outputs()
    engine.view()


# ---- what it lies in, and how it comes -----------------------------------------------


def _slots(chance: random.Random) -> None:
    handover = import_module("lagg.handover.slots")
    slots = handover.Slots.create("fuzz")
    try:
        for number in range(chance.randint(0, 3)):
            slots.write(bytes([number]) * 100)
        for _ in range(chance.randint(1, 6)):
            at = chance.choice((0, handover.SLOT_BYTES))
            at += chance.randrange(SLOT_HEAD_BYTES + 100)
            octets = chance.randbytes(chance.randint(1, 8))
            os.pwrite(slots.fileno(), octets, at)
        with suppress(import_module("lagg.errors").LaggError):
            handover.Slots(slots.fileno(), "fuzz").read()
    finally:
        slots.close()


def _reply(chance: random.Random) -> None:
    wire = import_module("lagg.forwarder.wire")
    octets = bytearray(chance.choice((0, wire.REPLY_BYTES)))
    for _ in range(chance.randint(1, 40)):
        if octets:
            octets[chance.randrange(len(octets))] = chance.randrange(256)
    with suppress(ValueError):
        wire.unpack(bytes(octets))


PARTS = (
    *("", "0", "1", "2", "01", "-1", "9" * 20, "state", "plans", "work", "slow.0"),
    *("slow.x", "tx", "alert", "rx", "nft", "ring.0.0"),
)


def _names(chance: random.Random) -> None:
    """A list of descriptors whose names are strange, and whose files are, too."""
    names = {
        "/".join(chance.choices(PARTS, k=chance.randint(1, 3)))
        for _ in range(chance.randint(1, 8))
    }
    wire = import_module("lagg.forwarder.wire")
    with open(os.devnull, "rb") as null:
        found = {n: null.fileno() for n in sorted(names) if wire.name_is_sound(n)}
        with suppress(import_module("lagg.errors").LaggError):
            import_module("lagg.operations.adopt").Left.of(found)


def main() -> None:
    """Under atheris, with libFuzzer's arguments."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["lagg.handover", "lagg.codec"]):
        import_module("lagg.handover.saved")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
