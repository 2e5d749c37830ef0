# SPDX-License-Identifier: BSD-2-Clause
"""Laggs that pages are made of, and one whose ports send."""

from itertools import count
from typing import Any

import pytest

from lagg.cli.lacp_page import NOBODY
from lagg.records import LaggRecord
from tests.control.world import FakeCommands, World, a_record

PARTY: dict[str, Any] = {
    "system_priority": 32768,
    "system": "02:00:5e:00:53:99",
    "key": 7,
    "port_priority": 32768,
    "port": 3,
    "state": 0x3D,
    "state_bits": [],
}


@pytest.fixture
def laggs() -> list[LaggRecord]:
    lacp = a_record(name="lagg1", proto="lacp", lacp={"partner": PARTY})
    lacp["ports"] = [
        {**port, "lacp": {"partner": party}}  # type: ignore[typeddict-item]
        for party, port in zip(
            (PARTY | {"system": NOBODY, "port": 0}, PARTY | {"port": 1}),
            lacp["ports"],
            strict=True,
        )
    ]
    lacp["ports"][0] |= {"tx_frames": 30, "rx_frames": 0}
    lacp["ports"][1] |= {"tx_frames": 10, "rx_frames": 5, "reason": None}
    alone = a_record(name="lagg20", ports=[], link="down", waiting_for=["eth7", "eth8"])
    return [a_record(), lacp, alone]


@pytest.fixture
def busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports that have sent more each time they are asked."""
    sent = count(1)

    async def records(name: str | None) -> tuple[LaggRecord, ...]:
        (lagg,) = await FakeCommands.records(world.commands, name)
        octets = 1_000_000_000 * next(sent)
        for port in lagg["ports"]:
            port["tx_bytes"] = octets
        return (lagg,)

    monkeypatch.setattr(world.commands, "records", records)
