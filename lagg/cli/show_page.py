# SPDX-License-Identifier: BSD-2-Clause
"""The pages of `laggctl show`, `stats` and `monitor` for a person.

Owns layout and wording.  Pure: records as they come from the socket go in, text comes
out.  Knows no terminal but the choice of colours it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lagg.option_row import Kind
from lagg.options import OPTIONS

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.control.messages import EventJson
    from lagg.records import (
        DaemonRecord,
        HalfRecord,
        LacpRecord,
        LaggRecord,
        Limbo,
        OptionsRecord,
        PartyRecord,
        PinRecord,
        PortLacpRecord,
        PortRecord,
        WatchRecord,
    )

Paint = Callable[[str, str | None], str]
"""Gives a text an SGR colour, or not."""

# SGR colours.
LIGHT = {"up": "32", "down": "31"}
BOLD = "1"
WARNING = "33"

_OPTIONS_IN_LINE = 5
"""The most options in a line, so that it is no longer than a terminal is wide."""


def coloured(text: str, code: str | None) -> str:
    """The Paint of a terminal: the text in the colour, if one is given."""
    return f"\033[{code}m{text}\033[0m" if code else text


def plain(text: str, code: str | None) -> str:
    """The Paint of everything else: the text alone."""
    return text


def show_page(
    laggs: Sequence[LaggRecord], paint: Paint, *, verbose: bool = False
) -> str:
    """What `show` prints: each lagg with its ports and its traffic.

    `verbose`: and how many replaced snapshots wait for a worker, if none does, too.
    """
    if not laggs:
        return "no laggs"
    return "\n\n".join("\n".join(_lagg_lines(each, paint, verbose)) for each in laggs)


def stats_page(laggs: Sequence[LaggRecord], paint: Paint) -> str:
    """What `stats` prints: only the counters, each with its name."""
    if not laggs:
        return "no laggs"
    return "\n\n".join("\n".join(_stats_lines(each, paint)) for each in laggs)


def status_line(status: DaemonRecord) -> str:
    """As "laggd 0.1.0, pid 4711, for 3 d 4 h", and its other half where it has one.

    Behind each what happened to it: "adopted 2 times, away 0.31 s", "died once".
    """
    words = [f"laggd {_half(status)}"]
    if status["adoptions"]:
        words.append(f"adopted {_times(status['adoptions'])}")
    if status["control_away_s"] is not None:
        words.append(f"away {status['control_away_s']:.2f} s")
    forwarder = status["forwarder"]
    if forwarder is None:
        return ", ".join(words)
    others = [f"lagg-forwarder {_half(forwarder)}"]
    if forwarder["deaths"]:
        others.append(f"died {_times(forwarder['deaths'])}")
    if not forwarder["answers"]:
        others.append("does not answer")
    return f"{', '.join(words)}; {', '.join(others)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _half(half: DaemonRecord | HalfRecord) -> str:
    return f"{half['version']}, pid {half['pid']}, for {_lasted(half['uptime_s'])}"


def _lasted(seconds: int) -> str:
    """The two largest units, as "3 d 4 h", or "42 s"."""
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((n for n, (_, size) in enumerate(units) if seconds >= size), 3)
    words = []
    for unit, size in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        words.append(f"{count} {unit}")
    return " ".join(words)


def event_line(event: EventJson, clock: str, paint: Paint) -> str:
    """A line of `monitor`; `clock` the time of day."""
    from lagg.events import Asker  # here: no other page is to wait for it

    place = event["lagg"] or "laggd"
    if event["port"] is not None:
        place += f" port {event['port']}"
    details = f": {event['details']}" if event["details"] else ""
    why = f" ({event['cause']})" if event["cause"] else ""
    who = f", by {Asker(**event['by'])}" if event["by"] else ""
    return f"{clock} {paint(place, BOLD)} {event['event']}{details}{why}{who}"


def counter_part(lagg: LaggRecord) -> dict[str, object]:
    """What `stats --json` prints of a record."""
    names = ("name", "tx_frames", "tx_bytes", "rx_frames", "rx_bytes", "drops")
    ports = [{key: port[key] for key in names} for port in _loose(lagg["ports"])]
    return {"name": lagg["name"], "counters": lagg["counters"], "ports": ports}


def carrier_reason(lagg: LaggRecord) -> str | None:
    """Why the lagg has no carrier, in words; None when it has."""
    if lagg["link"] == "up":
        return None
    if not lagg["ports"]:
        return "no ports"
    if lagg["proto"] == "none":
        return "protocol none carries nothing"
    if not lagg["up"]:
        return "administratively down"
    reasons = {port["reason"] for port in lagg["ports"] if port["reason"]}
    return (
        f"no active port: {', '.join(sorted(reasons))}" if reasons else "no active port"
    )


def speed_words(mbps: int) -> str:
    """10000 -> "10 Gbit/s"; a dash when unknown."""
    if mbps <= 0:
        return "-"
    return f"{mbps / 1000:g} Gbit/s" if mbps >= 1000 else f"{mbps} Mbit/s"


def count_words(count: int) -> str:
    """1234567 -> "1 234 567"."""
    return f"{count:,}".replace(",", " ")


def byte_words(size: int) -> str:
    """1500000 -> "1.5 MB"; decimal units, as line speeds have."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} PB"


def _lagg_lines(lagg: LaggRecord, paint: Paint, verbose: bool) -> list[str]:
    title = title_words(lagg, paint)
    if not lagg["up"]:
        title.append(paint("administratively down", WARNING))
    return [
        f"{paint(lagg['name'], BOLD)}: {', '.join(title)}",
        f"  mac {lagg['mac']}  mtu {lagg['mtu']}  ifindex {lagg['ifindex']}"
        f"  generation {lagg['generation']}",
        *_limbo_lines(lagg["limbo"], verbose),
        *_option_lines(lagg["proto"], lagg["options"]),
        *(f"  watch {each}" for each in lagg["options"]["watch"]),
        *(f"  altname {name}" for name in lagg["options"]["altname"]),
        *_weight_lines(lagg["ports"]),
        *_pin_lines(lagg["pins"], verbose),
        *_carriage_lines(lagg),
        *_lacp_lines(lagg["lacp"]),
        *_port_lines(lagg["ports"], paint, verbose),
        *(
            f"  waiting for {', '.join(names)}"
            for names in (lagg["waiting_for"],)
            if names
        ),
        *(_way_lines(lagg["ports"]) if verbose else []),
        *_traffic_lines(lagg, paint),
    ]


def title_words(lagg: LaggRecord, paint: Paint) -> list[str]:
    """Its protocol, its link with the reason if it has none, its speed if known."""
    reason = carrier_reason(lagg)
    link = paint(f"link {lagg['link']}", LIGHT.get(lagg["link"]))
    speed = [speed_words(lagg["speed_mbps"])] if lagg["speed_mbps"] > 0 else []
    return [lagg["proto"], link + (f" ({reason})" if reason else ""), *speed]


def _limbo_lines(limbo: Limbo, verbose: bool) -> list[str]:
    if limbo["snapshots"] == 0:
        return ["  no replaced snapshot in use"] if verbose else []
    return [
        f"  {limbo['snapshots']} replaced snapshots in use by worker {limbo['worker']},"
        f" the oldest for {limbo['oldest_ms']} ms"
    ]


def _option_lines(proto: str, options: OptionsRecord) -> list[str]:
    """The options that count while this protocol runs; all others wait for theirs."""
    words = [
        f"{row.key} {_option_words(options[row.key])}"
        for row in OPTIONS
        if proto in row.protos
        and row.value not in (Kind.WATCHES, Kind.PINS)
        and options.get(row.key) not in (None, row.usual)
    ]
    return [
        f"  {'  '.join(words[at : at + _OPTIONS_IN_LINE])}"
        for at in range(0, len(words), _OPTIONS_IN_LINE)
    ]


def _weight_lines(ports: Sequence[PortRecord]) -> list[str]:
    """Nothing while all ports count alike, as they do by default."""
    if all(port["weight"] == 1 for port in ports):
        return []
    words = (f"{port['name']} {port['weight'] or 'speed'}" for port in ports)
    return [f"  weight {', '.join(words)}"]


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


def _carriage_lines(lagg: LaggRecord) -> list[str]:
    """Who carries and why, where it is one port; and the last to take over."""
    lines = []
    if lagg["active"] is not None:
        lines.append(f"  active {lagg['active']}: {lagg['active_reason']}")
    last = lagg["last_failover"]
    if last is not None:
        why = f" ({last['cause']})" if last["cause"] else ""
        lines.append(
            f"  failovers {lagg['failovers']}, the last from {last['from']}"
            f" to {last['to']} at {last['at']}{why}"
        )
    return lines


def _option_words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, list) else str(value)


def _lacp_lines(lacp: LacpRecord | None) -> list[str]:
    """The active aggregator, as ifconfig(8) -v prints the lag id."""
    if lacp is None:
        return []
    actor, partner = lacp["actor"], lacp["partner"]
    if actor is None or partner is None:
        return [f"  no active aggregator  flapping {lacp['flapping']}"]
    return [
        f"  lag id [{_party_words(actor)},",
        f"          {_party_words(partner)}]  flapping {lacp['flapping']}",
    ]


def _party_words(party: PartyRecord) -> str:
    return (
        f"({party['system_priority']:04X},{party['system'].upper().replace(':', '-')},"
        f"{party['key']:04X},{party['port_priority']:04X},{party['port']:04X})"
    )


def _state_words(party: PartyRecord) -> str:
    """As ifconfig(8) prints a state: 3d<ACTIVITY,AGGREGATION,...>."""
    return f"{party['state']:02x}<{','.join(party['state_bits'])}>"


def _port_lacp_lines(lacp: PortLacpRecord, verbose: bool) -> list[str]:
    """Below the line of a port: each end's state; `verbose`: its machines."""
    lines = [
        f"    state {_state_words(lacp['actor'])}"
        f" partner {_state_words(lacp['partner'])}"
    ]
    if not verbose:
        return lines
    machines = ("selected", "receive", "periodic", "mux", "actor_churn")
    values: dict[str, object] = {**lacp}
    words = [f"{machine} {values[machine]}" for machine in machines]
    counters: dict[str, object] = {**lacp["counters"]}
    bad = lacp["counters"]["bad"]
    counted = [f"{key} {n}" for key, n in {**counters, **bad}.items() if _counts(n)]
    return [
        *lines,
        f"    [{_party_words(lacp['actor'])},",
        f"     {_party_words(lacp['partner'])}]",
        f"    {', '.join(words)}, partner_churn {lacp['partner_churn']}",
        f"    {', '.join(counted) or 'no LACPDU'}",
    ]


def _counts(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _port_lines(ports: Sequence[PortRecord], paint: Paint, verbose: bool) -> list[str]:
    if not ports:
        return ["  no ports"]
    head = ("port", "link", "speed", "flags", "sent", "received", "")
    rows = [head, *(_port_row(port) for port in ports)]
    colours = [None, *(LIGHT.get(port["link"]) for port in ports)]
    lines = columns(rows, lambda row: colours[row], paint)
    return ["", lines[0], *_with_details(lines[1:], ports, paint, verbose)]


def _port_row(port: PortRecord) -> tuple[str, ...]:
    return (
        port["name"],
        port["link"],
        speed_words(port["speed_mbps"]),
        ",".join(port["flags"]) or "-",
        f"{count_words(port['tx_frames'])} ({byte_words(port['tx_bytes'])})",
        f"{count_words(port['rx_frames'])} ({byte_words(port['rx_bytes'])})",
        port["reason"] or "",
    )


def columns(
    rows: Sequence[tuple[str, ...]], colour: Callable[[int], str | None], paint: Paint
) -> list[str]:
    """Rows as wide as their widest cells; the second column is coloured by row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = paint(cells[1], colour(number))
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def _with_details(
    lines: Sequence[str], ports: Sequence[PortRecord], paint: Paint, verbose: bool
) -> list[str]:
    """Each port's line; below it its LACP, watches, warnings, and drops if any."""
    found = []
    for line, port in zip(lines, ports, strict=True):
        found.append(line)
        if port["lacp"] is not None:
            found += _port_lacp_lines(port["lacp"], verbose)
        found += _watch_lines(port, paint, verbose)
        found += [paint(f"    warning: {each}", WARNING) for each in port["warnings"]]
        drops = drop_words(port["drops"])
        if port["rings_reopened"]:
            times = f"{port['rings_reopened']} times"
            found.append(paint(f"    receive ring opened anew: {times}", WARNING))
        if drops:
            found.append(paint(f"    dropped: {drops}", WARNING))
    return found


def _watch_lines(port: PortRecord, paint: Paint, verbose: bool) -> list[str]:
    """What its watches say, if one says that it is dead; `verbose`: all."""
    told = [
        each
        for each in port["watch"]
        if verbose or (port["link"] == "up" and each["state"] != "up")
    ]
    return [f"    {watch_words(each, paint)}" for each in told]


def watch_words(watch: WatchRecord, paint: Paint) -> str:
    """As "watch arp 192.0.2.1 down since ...: no reply for 3 x 100 ms, lost once"."""
    who = " ".join(filter(None, (watch["kind"], watch["target"])))
    state = paint(watch["state"], LIGHT.get(watch["state"]))
    found = f"{watch['reason']}, lost {_times(watch['failures'])}"
    found += _bad_words(watch["bad"])
    return f"watch {who} {state} since {watch['since']}: {found}"


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
    times = _times(sum(counted.values()))
    return f", left {times}: {words}; the last for {last['cause']} at {last['at']}"


def _traffic_lines(lagg: LaggRecord, paint: Paint) -> list[str]:
    counters = lagg["counters"]
    lines = [
        "",
        f"  sent      {count_words(counters['tx_in'])} frames from {lagg['name']},"
        f" {count_words(counters['tx_out'])} to ports",
        f"  received  {count_words(counters['rx_in'])} frames from ports,"
        f" {count_words(counters['rx_out'])} to {lagg['name']}",
    ]
    drops = drop_words(counters["drops"])
    return [*lines, paint(f"  dropped   {drops}", WARNING)] if drops else lines


def drop_words(drops: dict[str, int]) -> str:
    """The reasons that count anything, "no-port 3, tx-full 1"."""
    counted = (f"{name} {count_words(n)}" for name, n in drops.items() if n)
    return ", ".join(counted)


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
