# SPDX-License-Identifier: BSD-2-Clause
"""Flows on the move from one living port to another (802.1AX 6.5, Marker).

Owns which entries of a table must wait, and for whom: so that no frame of a flow
overtakes an earlier one that went by the port it came from.  Only those wait; lagg(4)
holds up all traffic.  Pure; knows no marker and no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import field, replace

from lagg.frozen import dataclass
from lagg.model import Spread
from lagg.plan.plan import Plan

Slot = int


@dataclass(frozen=True, slots=True)
class Moves:
    """Entries whose frames wait, and the port that carried each of them before."""

    origins: Mapping[int, Slot] = field(default_factory=dict)  # by index into tx_slots

    def without(self, slots: Collection[Slot]) -> "Moves":
        """The moves left once these ports' partners have answered their markers."""
        left = {
            index: slot for index, slot in self.origins.items() if slot not in slots
        }
        return Moves(left)

    def hold(self, plan: Plan) -> Plan:
        """`plan` with these entries held, so that their frames wait."""
        return replace(plan, held=frozenset(self.origins))


def moves(before: Moves, was: Plan, fresh: Plan, marked: Collection[Slot]) -> Moves:
    """The entries that wait when the plan `fresh` follows `was`; `before` wait already.

    `marked`: the ports whose partner answers markers now.  A flow of another port, and
    every flow when the hash changes, moves at once, as under lagg(4)'s lagghash.
    """
    if policy(was) != policy(fresh) or fresh.spread is not Spread.FLOW:
        return Moves()
    usable = fresh.ports & frozenset(marked)
    origins = {
        index: before.origins.get(index, slot)
        for index, slot in enumerate(was.tx_slots)
    }
    return Moves(
        {
            index: origin
            for index, origin in origins.items()
            if origin in usable and origin != fresh.tx_slots[index]
        }
    )


def policy(plan: Plan) -> tuple[object, ...]:
    """The fields that must be equal for an index to mean one flow in two plans."""
    fields = (plan.hash_layers, plan.hash_symmetric)
    hashing = (plan.hash_kind, plan.hash_seed, *fields)
    return plan.spread, len(plan.tx_slots), hashing
