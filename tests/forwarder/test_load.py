# SPDX-License-Identifier: BSD-2-Clause
"""What a forwarder is given first: frames wait for that, and for nothing else."""

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from lagg.forwarder.client import Enclosing, ForwarderClient
from lagg.forwarder.load import SPARED, Load
from lagg.forwarder.wire import Word

LOAD = Load(
    lent={"lock": 3, "2/plans": 4, "2/5/tx": 5, "7/plans": 6, "9/plans": 7},
    at_work={2: 50, 7: 0},
    mapped={2: frozenset({5}), 7: frozenset()},
    leases={},
)

CARRIED = {
    2: ["PUT 2/plans", "PUT 2/5/tx", "STOP lagg 2", "CLOSE lagg 2", "OPEN lagg 2"],
    7: ["PUT 7/plans", "STOP lagg 7", "CLOSE lagg 7", "OPEN lagg 7", "RUN lagg 7"],
}
CARRIED[2] += ["MAP lagg 2 slot 5", "RUN lagg 2"]


class Told:
    """In a client's place: what it is asked, turn by turn."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []

    def ask_each(
        self,
        requests: Sequence[Enclosing],
        spared: Mapping[Word, Collection[int]] = SPARED,
    ) -> None:
        self.turns.append([str(request) for request, _ in requests])

    def list(self) -> dict[str, int]:
        self.turns.append(["LIST"])
        return {}

    def lease(self, orders: object) -> None:
        self.turns.append([])


def client(told: Told) -> ForwarderClient:
    return cast("ForwarderClient", told)


def test_a_lagg_runs_before_anything_but_its_own_is_said() -> None:
    told = Told()
    LOAD.give(client(told))
    assert told.turns[:3] == [CARRIED[2], CARRIED[7], ["LIST"]]
    rest = [word for turn in told.turns[3:] for word in turn]
    assert sorted(rest) == ["PUT 9/plans", "PUT lock"]
