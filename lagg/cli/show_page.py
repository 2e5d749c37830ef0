# SPDX-License-Identifier: BSD-2-Clause
"""The pages of `laggctl show` of a lagg, and of `stats`, for a person.

Owns layout and wording: first what a person asks (does it carry, by which ports, why
not by the others, since when), then what is not as it would be by default.  Pure:
records as they come from the socket go in, text comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lagg.cli.fold import fold
from lagg.cli.lacp_page import lacp_lines, port_lacp_lines
from lagg.cli.options import option_words
from lagg.cli.said import (
    BOLD,
    LIGHT,
    WARNING,
    Paint,
    byte_words,
    columns,
    count_words,
    expected_words,
    listed,
    lost_words,
    speed_words,
    times,
    title_words,
)
from lagg.option_row import Kind, Option
from lagg.options import OPTIONS

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.records import (
        LaggRecord,
        Limbo,
        OptionsRecord,
        PinRecord,
        PortRecord,
        WatchRecord,
    )

Clock = Callable[[str], str]
"""Says an RFC 3339 time as a person here reads it."""

_TOLD_ELSEWHERE = (Kind.WATCHES, Kind.PINS, Kind.NAMES)
_DRAWN = frozenset({"hash_seed"})
"""Options whose default is drawn, so that each lagg's is another."""


class _Look(NamedTuple):
    """How a page is wanted."""

    paint: Paint
    verbose: bool
    clock: Clock


def show_page(
    laggs: Sequence[LaggRecord],
    paint: Paint,
    *,
    verbose: bool = False,
    width: int | None = None,
    clock: Clock = str,
) -> str:
    """What `show` prints: each lagg with its ports and its traffic.

    `verbose`: all that is known.  `width`: characters in a line; None: no bound.
    """
    if not laggs:
        return "no laggs"
    look = _Look(paint, verbose, clock)
    pages = ("\n".join(_lagg_lines(each, look)) for each in laggs)
    return fold("\n\n".join(pages), width)


def stats_page(laggs: Sequence[LaggRecord], paint: Paint) -> str:
    """What `stats` prints: only the counters, each with its name."""
    if not laggs:
        return "no laggs"
    return "\n\n".join("\n".join(_stats_lines(each, paint)) for each in laggs)


def counter_part(lagg: LaggRecord) -> dict[str, object]:
    """What `stats --json` prints of a record."""
    names = ("name", "tx_frames", "tx_bytes", "rx_frames", "rx_bytes", "drops")
    ports = [{key: port[key] for key in names} for port in _loose(lagg["ports"])]
    return {"name": lagg["name"], "counters": lagg["counters"], "ports": ports}


# ---- a lagg ------------------------------------------------------------------------


def _lagg_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    title = title_words(lagg, look.paint, look.clock(lagg["link_since"]))
    if not lagg["up"]:
        title.append(look.paint("administratively down", WARNING))
    return [
        f"{look.paint(lagg['name'], BOLD)}: {', '.join(title)}",
        *_trial_lines(lagg, look),
        *_carriage_lines(lagg, look),
        *lacp_lines(lagg, verbose=look.verbose),
        *_failover_lines(lagg, look),
        *_identity_lines(lagg, look.verbose),
        *_option_lines(lagg["proto"], lagg["options"], look.verbose),
        *(f"  watch {each}" for each in lagg["options"]["watch"]),
        *(f"  altname {name}" for name in lagg["options"]["altname"]),
        *_weight_lines(lagg["ports"]),
        *_priority_lines(lagg["ports"]),
        *_pin_lines(lagg["pins"], look.verbose),
        *_port_lines(lagg, look),
        *(
            f"  waiting for {', '.join(names)}"
            for names in (lagg["waiting_for"],)
            if names
        ),
        *(_way_lines(lagg["ports"]) if look.verbose else []),
        *_traffic_lines(lagg, look),
    ]


def _trial_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    trial = lagg["trial"]
    if trial is None:
        return []
    at, name = look.clock(trial["until"]), lagg["name"]
    said = f"on trial: reverts at {at} unless: laggctl confirm {name}"
    return [f"  {look.paint(said, WARNING)}"]


def _carriage_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    """Who carries, and why where it is one port."""
    if lagg["active"] is not None:
        return [f"  carries by {lagg['active']}: {lagg['active_reason']}"]
    carrying = [port["name"] for port in lagg["ports"] if port["reason"] is None]
    if lagg["link"] != "up" or not carrying:
        return []  # the title says why
    return [f"  carries by {listed(carrying)}"]


def _failover_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    """The last to take over, and how many did."""
    last = lagg["last_failover"]
    if last is None:
        return []
    why = f" ({last['cause']})" if last["cause"] else ""
    return [
        f"  last failover {look.clock(last['at'])}:"
        f" {last['from']} -> {last['to']}{why}, {times(lagg['failovers'])} so far"
    ]


def _identity_lines(lagg: LaggRecord, verbose: bool) -> list[str]:
    line = f"  mac {lagg['mac']}  mtu {lagg['mtu']}"
    if not verbose:
        return [line]
    more = f"  ifindex {lagg['ifindex']}  snapshot {count_words(lagg['generation'])}"
    return [line + more, *_limbo_lines(lagg["limbo"])]


def _limbo_lines(limbo: Limbo) -> list[str]:
    if limbo["snapshots"] == 0:
        return ["  every worker uses the newest snapshot"]
    older = "an older one" if limbo["snapshots"] == 1 else "older ones"
    return [
        f"  worker {limbo['worker']} may still use {older}, replaced"
        f" {limbo['oldest_ms']} ms ago"
    ]


def _option_lines(
    proto: str, options: OptionsRecord, verbose: bool = False
) -> list[str]:
    """What counts while this protocol runs and is not as it would be by default.

    `verbose`: all that count.
    """
    words = [
        f"{row.key} {option_words(options[row.key])}"
        for row in OPTIONS
        if (proto in row.protos or not row.protos)
        and row.value not in _TOLD_ELSEWHERE
        and options.get(row.key) is not None
        and (verbose or not _is_usual(row, options[row.key]))
    ]
    return [f"  {'  '.join(words)}"] if words else []


def _is_usual(row: Option, value: object) -> bool:
    told_as = tuple(value) if isinstance(value, list) else value
    return row.key in _DRAWN or told_as == row.usual


def _weight_lines(ports: Sequence[PortRecord]) -> list[str]:
    """Nothing while all ports count alike, as they do by default."""
    if all(port["weight"] == 1 for port in ports):
        return []
    words = (f"{port['name']} {port['weight'] or 'speed'}" for port in ports)
    return [f"  weight {', '.join(words)}"]


def _priority_lines(ports: Sequence[PortRecord]) -> list[str]:
    """Nothing while no port is preferred, as by default."""
    if all(port["priority"] == 0 for port in ports):
        return []
    words = (f"{port['name']} {port['priority']}" for port in ports)
    return [f"  priority {', '.join(words)}"]


def _pin_lines(pins: Sequence[PinRecord], verbose: bool) -> list[str]:
    """How many; `verbose`: each of them."""
    if not pins:
        return []
    buckets = "1 bucket" if len(pins) == 1 else f"{len(pins)} buckets"
    lines = (f"    {pin_line(each)}" for each in pins if verbose)
    return [f"  {buckets} pinned", *lines]


def pin_line(pin: PinRecord) -> str:
    """As "bucket 17 on eth1, for 4.2 s more, which does not carry it now"."""
    left = pin["left_ms"]
    words = [f"bucket {pin['bucket']} on {pin['port']}"]
    words += [] if left is None else [f"for {left / 1000:.1f} s more"]
    words += [] if pin["carries"] else ["which does not carry it now"]
    return ", ".join(words)


# ---- its ports ---------------------------------------------------------------------


def _port_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    ports = lagg["ports"]
    if not ports:
        return ["  no ports"]
    head = ("port", "link", "speed", "sent", "received", "")
    rows = [head, *(_port_row(port, look) for port in ports)]
    colours = [None, *(LIGHT.get(port["link"]) for port in ports)]
    lines = columns(rows, lambda row: colours[row], look.paint)
    found = ["", lines[0]]
    for line, port in zip(lines[1:], ports, strict=True):
        found += [line, *_port_details(port, lagg, look)]
    return found


def _port_row(port: PortRecord, look: _Look) -> tuple[str, ...]:
    return (
        port["name"],
        port["link"],
        speed_words(port["speed_mbps"]) if port["link"] == "up" else "-",
        byte_words(port["tx_bytes"]),
        byte_words(port["rx_bytes"]),
        _state_words(port, look),
    )


def _state_words(port: PortRecord, look: _Look) -> str:
    """As "primary, active", or why it carries nothing, and since when without link."""
    words = ["primary"] if "MASTER" in port["flags"] else []
    if port["reason"] is None:
        return ", ".join([*words, "active"])
    gone = port["link"] == "down"
    since = f" since {look.clock(port['state_since'])}" if gone else ""
    return ", ".join([*words, f"{port['reason']}{since}"])


def _port_details(port: PortRecord, lagg: LaggRecord, look: _Look) -> list[str]:
    """Below its line: its LACP, watches, warnings, and what was lost there."""
    found = port_lacp_lines(port, lagg, verbose=look.verbose)
    found += _watch_lines(port, look)
    bad = [f"warning: {each}" for each in port["warnings"]]
    if port["rings_reopened"]:
        bad.append(f"receive ring opened anew: {times(port['rings_reopened'])}")
    if lost := lost_words(port["drops"]):
        bad.append(f"lost: {lost}")
    found += [look.paint(f"    {each}", WARNING) for each in bad]
    expected = expected_words(port["drops"]) if look.verbose else ""
    return [*found, f"    {expected}"] if expected else found


def _watch_lines(port: PortRecord, look: _Look) -> list[str]:
    """What its watches say, if one says that it is dead; `verbose`: all."""
    told = [
        each
        for each in port["watch"]
        if look.verbose or (port["link"] == "up" and each["state"] != "up")
    ]
    return [f"    {watch_words(each, look.paint, look.clock)}" for each in told]


def watch_words(watch: WatchRecord, paint: Paint, clock: Clock = str) -> str:
    """As "watch arp 192.0.2.1 down since ...: no reply for 3 x 100 ms, lost once"."""
    who = " ".join(filter(None, (watch["kind"], watch["target"])))
    state = paint(watch["state"], LIGHT.get(watch["state"]))
    found = f"{watch['reason']}, lost {times(watch['failures'])}"
    found += _bad_words(watch["bad"])
    return f"watch {who} {state} since {clock(watch['since'])}: {found}"


def _bad_words(bad: Mapping[str, int]) -> str:
    words = ", ".join(f"{reason} {frames}" for reason, frames in bad.items())
    return f", bad: {words}" if words else ""


def _way_lines(ports: Sequence[PortRecord]) -> list[str]:
    """How frames leave by each port, and why it takes more than is for it."""
    found = [f"  {port['name']} transmits by {port['tx']}" for port in ports]
    for port in ports:
        found.append(f"  {port['name']} is so since {port['state_since']}{_left(port)}")
    opened = (port for port in ports if port["promisc"] is not None)
    return found + [f"  {p['name']} is promiscuous: {p['promisc']}" for p in opened]


def _left(port: PortRecord) -> str:
    """How often it was left for what, as ", left 3 times: carrier 2, hold 1"."""
    counted = {cause: n for cause, n in port["departures"].items() if n}
    last = port["last_departure"]
    if last is None:
        return ", never left"
    words = ", ".join(f"{cause} {count_words(n)}" for cause, n in counted.items())
    left = times(sum(counted.values()))
    return f", left {left}: {words}; the last for {last['cause']} at {last['at']}"


# ---- what passed -------------------------------------------------------------------


def _traffic_lines(lagg: LaggRecord, look: _Look) -> list[str]:
    counters = lagg["counters"]
    lines = [
        "",
        f"  sent      {count_words(counters['tx_in'])} frames from {lagg['name']},"
        f" {count_words(counters['tx_out'])} to ports",
        f"  received  {count_words(counters['rx_in'])} frames from ports,"
        f" {count_words(counters['rx_out'])} to {lagg['name']}",
    ]
    if expected := expected_words(counters["drops"]):
        lines.append(f"  besides   {expected}")
    if lost := lost_words(counters["drops"]):
        lines.append(look.paint(f"  lost      {lost}", WARNING))
    return lines


def _stats_lines(lagg: LaggRecord, paint: Paint) -> list[str]:
    lines = [paint(lagg["name"], BOLD), *_counter_lines({**lagg["counters"]})]
    for port in _loose(lagg["ports"]):
        lines.append(f"  {paint('port ' + str(port['name']), BOLD)}")
        numbers = {key: port[key] for key in port if key.startswith(("tx_", "rx_"))}
        numbers["drops"] = port["drops"]
        lines += [f"  {line}" for line in _counter_lines(numbers)]
    return lines


def _counter_lines(counters: dict[str, object]) -> list[str]:
    """One line for each number; a drop reason only when it counted something."""
    drops = counters.pop("drops")
    assert isinstance(drops, dict)
    dropped = {f"drops {name}": count for name, count in drops.items() if count}
    return [f"  {name:<20} {n:>20}" for name, n in (counters | dropped).items()]


def _loose(ports: Sequence[PortRecord]) -> list[dict[str, object]]:
    return [{**port} for port in ports]
