# SPDX-License-Identifier: BSD-2-Clause
"""LACP in `laggctl show`: with whom a lagg agrees, and what each end of a port says.

Owns the words for partners, and ifconfig(8)'s form of identities and states.  Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagg.cli.said import times

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.records import LaggRecord, PartyRecord, PortLacpRecord, PortRecord


NOBODY = "00:00:00:00:00:00"
"""The system of a partner that has not been heard."""


def partner_words(lagg: LaggRecord) -> str | None:
    """As "02:00:5e:00:53:99, key 7"; None without one that agrees."""
    partner = lagg["lacp"] and lagg["lacp"]["partner"]
    return _who(partner) if partner else None


def lacp_lines(lagg: LaggRecord, *, verbose: bool) -> list[str]:
    """With whom it agrees; `verbose`: the lag id, too, as ifconfig(8) -v has it."""
    lacp = lagg["lacp"]
    if lacp is None:
        return []
    lines = [f"  agreed with {partner_words(lagg) or 'no partner'}"]
    actor, partner = lacp["actor"], lacp["partner"]
    if verbose and actor and partner:
        lines.append(f"  lag id [{_party_words(actor)},")
        lines.append(f"          {_party_words(partner)}]")
    if verbose:
        lines.append(f"  ports ended to distribute {times(lacp['flapping'])}")
    return lines


def port_lacp_lines(port: PortRecord, lagg: LaggRecord, *, verbose: bool) -> list[str]:
    """Below the line of a port: a partner of its own; `verbose`: all of its LACP."""
    lacp = port["lacp"]
    if lacp is None:
        return []
    if verbose:
        return _machine_lines(lacp)
    partner = _who(lacp["partner"])
    if partner is None or partner == partner_words(lagg):
        return []
    return [f"    hears {partner}"]


def _who(party: PartyRecord) -> str | None:
    return (
        None if party["system"] == NOBODY else f"{party['system']}, key {party['key']}"
    )


def _party_words(party: PartyRecord) -> str:
    return (
        f"({party['system_priority']:04X},{party['system'].upper().replace(':', '-')},"
        f"{party['key']:04X},{party['port_priority']:04X},{party['port']:04X})"
    )


def _state_words(party: PartyRecord) -> str:
    """As ifconfig(8) prints a state: 3d<ACTIVITY,AGGREGATION,...>."""
    return f"{party['state']:02x}<{','.join(party['state_bits'])}>"


def _machine_lines(lacp: PortLacpRecord) -> list[str]:
    """What each end says, the machines, and what was counted."""
    machines = ("selected", "receive", "periodic", "mux", "actor_churn")
    values: dict[str, object] = {**lacp}
    words = [f"{machine} {values[machine]}" for machine in machines]
    counters: dict[str, object] = {**lacp["counters"]}
    bad = lacp["counters"]["bad"]
    counted = [f"{key} {n}" for key, n in {**counters, **bad}.items() if _counts(n)]
    return [
        f"    state {_state_words(lacp['actor'])}"
        f" partner {_state_words(lacp['partner'])}",
        f"    [{_party_words(lacp['actor'])},",
        f"     {_party_words(lacp['partner'])}]",
        f"    {', '.join(words)}, partner_churn {lacp['partner_churn']}",
        f"    {', '.join(counted) or 'no LACPDU'}",
    ]


def _counts(value: object) -> bool:
    return isinstance(value, int) and value > 0
