# SPDX-License-Identifier: BSD-2-Clause
"""What there is to measure of laggd and its laggs: each metric, and its samples.

Owns the names that dashboards know.  A counter begins anew with its lagg or port.
Pure; metrics.py serves them.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from lagg.frozen import dataclass
from lagg.model import PortFlag
from lagg.records import DaemonRecord, LaggRecord, PortRecord, WatchRecord

Sample = tuple[tuple[str, ...], float]  # label values, value


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Family(Generic[R]):
    """A metric: its name, what its labels are called, and its samples of a record."""

    name: str  # of a counter without "_total"
    text: str
    counts: bool
    labels: tuple[str, ...]
    samples: Callable[[R], Iterable[Sample]]


def _of_lagg(
    name: str, text: str, value: Callable[[LaggRecord], float], *, counts: bool = False
) -> Family[LaggRecord]:
    def samples(each: LaggRecord) -> Iterable[Sample]:
        yield (each["name"],), value(each)

    return Family(f"laggd_lagg_{name}", text, counts, ("lagg",), samples)


def _of_ports(
    name: str, text: str, value: Callable[[PortRecord], float], *, counts: bool = False
) -> Family[LaggRecord]:
    def samples(each: LaggRecord) -> Iterable[Sample]:
        for port in each["ports"]:
            yield (each["name"], port["name"]), value(port)

    return Family(f"laggd_port_{name}", text, counts, ("lagg", "port"), samples)


def _lagg_words(each: LaggRecord) -> Iterable[Sample]:
    yield (each["name"], each["proto"], each["mac"]), 1


def _lagg_drops(each: LaggRecord) -> Iterable[Sample]:
    for reason, frames in each["counters"]["drops"].items():
        yield (each["name"], reason), frames


def _port_drops(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for reason, frames in port["drops"].items():
            yield (each["name"], port["name"], reason), frames


def _port_departures(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for cause, times in port["departures"].items():
            yield (each["name"], port["name"], cause), times


def _port_flags(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for flag in PortFlag:
            labels = (each["name"], port["name"], flag.value.lower())
            yield labels, flag.value in port["flags"]


def _lacp_events(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        counters = port["lacp"]["counters"] if port["lacp"] else None
        for event, count in (counters or {}).items():
            if isinstance(count, int):  # what is bad has names of its own
                yield (each["name"], port["name"], event), count


def _lacp_bad(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        if port["lacp"]:
            for reason, count in port["lacp"]["counters"]["bad"].items():
                yield (each["name"], port["name"], reason), count


def _watches(
    value: Callable[[WatchRecord], float],
) -> Callable[[LaggRecord], Iterable[Sample]]:
    """A value of each port's watches, by number: two may have one kind and target."""

    def samples(each: LaggRecord) -> Iterable[Sample]:
        for port in each["ports"]:
            for number, watch in enumerate(port["watch"], 1):
                words = (str(number), watch["kind"], watch["target"])
                yield (each["name"], port["name"], *words), value(watch)

    return samples


def _watch_bad(each: LaggRecord) -> Iterable[Sample]:
    for port in each["ports"]:
        for number, watch in enumerate(port["watch"], 1):
            words = (str(number), watch["kind"], watch["target"])
            for reason, frames in watch["bad"].items():
                yield (each["name"], port["name"], *words, reason), frames


_OF_WATCH = ("lagg", "port", "watch", "kind", "target")

FAMILIES = (
    Family(
        "laggd_lagg_info",
        "1; laggproto and MAC of lagg0 are labels",
        False,
        ("lagg", "proto", "mac"),
        _lagg_words,
    ),
    _of_lagg("up", "1 while administratively up", lambda a: a["up"]),
    _of_lagg("carrier", "1 while a port carries frames", lambda a: a["link"] == "up"),
    _of_lagg(
        "carrier_losses", "Times it went", lambda a: a["link_losses"], counts=True
    ),
    _of_lagg("mtu_bytes", "MTU", lambda a: a["mtu"]),
    _of_lagg(
        "speed_bits_per_second",
        "What the ports that carry have together; 0 when unknown",
        lambda a: a["speed_mbps"] * 1_000_000,
    ),
    _of_lagg(
        "failovers",
        "Times that another port or group of ports took over",
        lambda a: a["failovers"],
        counts=True,
    ),
    _of_lagg(
        "balance_moves",
        "Buckets that moved for their load",
        lambda a: a["balance_moves"],
        counts=True,
    ),
    _of_lagg("ports", "Attached ports", lambda a: len(a["ports"])),
    _of_lagg(
        "publications", "Snapshots published", lambda a: a["generation"], counts=True
    ),
    _of_lagg(
        "limbo_snapshots",
        "Replaced snapshots that a worker may still see",
        lambda a: a["limbo"]["snapshots"],
    ),
    _of_lagg(
        "limbo_oldest_seconds",
        "Since the oldest of them was replaced; grows when a worker is stuck",
        lambda a: a["limbo"]["oldest_ms"] / 1000,
    ),
    _of_lagg(
        "tx_in_frames",
        "Frames the host gave to the lagg",
        lambda a: a["counters"]["tx_in"],
        counts=True,
    ),
    _of_lagg(
        "tx_out_frames",
        "Frames the lagg gave to ports",
        lambda a: a["counters"]["tx_out"],
        counts=True,
    ),
    _of_lagg(
        "rx_in_frames",
        "Frames ports gave to the lagg",
        lambda a: a["counters"]["rx_in"],
        counts=True,
    ),
    _of_lagg(
        "rx_out_frames",
        "Frames the lagg gave to the host",
        lambda a: a["counters"]["rx_out"],
        counts=True,
    ),
    Family(
        "laggd_lagg_dropped_frames",
        "Frames not delivered, by reason",
        True,
        ("lagg", "reason"),
        _lagg_drops,
    ),
    _of_ports("carrier", "1 while it has its link", lambda p: p["link"] == "up"),
    _of_ports(
        "speed_bits_per_second",
        "What ethtool says; 0 when unknown",
        lambda p: p["speed_mbps"] * 1_000_000,
    ),
    _of_ports("held", "1 while nothing is given to it", lambda p: p["held"]),
    _of_ports(
        "suppressed",
        "1 while it is kept out, for it was lost too often",
        lambda p: p["damping"]["suppressed"],
    ),
    _of_ports(
        "penalty",
        "For losing its link: 1000 each time, halved every 5 s",
        lambda p: p["damping"]["penalty"],
    ),
    _of_ports(
        "looped",
        "1 while loop_guard keeps it out, for the lagg's own frames come back by it",
        lambda p: p["looped"],
    ),
    _of_ports(
        "failures",
        "Times that it was used, and left for want of its link or path",
        lambda p: p["failures"],
        counts=True,
    ),
    Family(
        "laggd_port_departures",
        "Times that it was left, by cause; hold, damping, loop and agreement included",
        True,
        ("lagg", "port", "cause"),
        _port_departures,
    ),
    _of_ports(
        "state_since_seconds",
        "Since when it is usable, or is not, in seconds since 1970",
        lambda p: datetime.fromisoformat(p["state_since"]).timestamp(),
    ),
    Family(
        "laggd_port_watch_alive",
        "1 unless a link watch has found the path of the port dead",
        False,
        _OF_WATCH,
        _watches(lambda w: w["state"] != "down"),
    ),
    Family(
        "laggd_port_watch_failures",
        "Times that a link watch lost the path while the carrier was there",
        True,
        _OF_WATCH,
        _watches(lambda w: w["failures"]),
    ),
    Family(
        "laggd_port_watch_bad_frames",
        "Frames for a link watch that are none, by reason, since it is watched",
        True,
        (*_OF_WATCH, "reason"),
        _watch_bad,
    ),
    Family(
        "laggd_port_flag",
        "1 while the port has this laggport flag",
        False,
        ("lagg", "port", "flag"),
        _port_flags,
    ),
    _of_ports("tx_frames", "Frames sent", lambda p: p["tx_frames"], counts=True),
    _of_ports("tx_bytes", "Bytes sent", lambda p: p["tx_bytes"], counts=True),
    _of_ports("rx_frames", "Frames received", lambda p: p["rx_frames"], counts=True),
    _of_ports("rx_bytes", "Bytes received", lambda p: p["rx_bytes"], counts=True),
    _of_ports(
        "rings_reopened",
        "Receive rings that could not move, opened anew",
        lambda p: p["rings_reopened"],
        counts=True,
    ),
    Family(
        "laggd_port_dropped_frames",
        "Frames not delivered, by port and reason",
        True,
        ("lagg", "port", "reason"),
        _port_drops,
    ),
    Family(
        "laggd_port_lacp_events",
        "LACPDUs, markers, flaps and churns, while laggproto is lacp",
        True,
        ("lagg", "port", "event"),
        _lacp_events,
    ),
    Family(
        "laggd_port_lacp_bad_frames",
        "Slow-protocol frames that are none, by reason",
        True,
        ("lagg", "port", "reason"),
        _lacp_bad,
    ),
)


def _started(daemon: DaemonRecord) -> Iterable[Sample]:
    at_s = datetime.fromisoformat(daemon["started_at"]).timestamp()
    yield ("laggd",), at_s
    if daemon["forwarder"] is not None:
        yield (FORWARDER,), at_s + daemon["uptime_s"] - daemon["forwarder"]["uptime_s"]


def _versions(daemon: DaemonRecord) -> Iterable[Sample]:
    yield ("laggd", daemon["version"]), 1
    if daemon["forwarder"] is not None:
        yield (FORWARDER, daemon["forwarder"]["version"]), 1


def _adoptions(daemon: DaemonRecord) -> Iterable[Sample]:
    yield (), daemon["adoptions"]


def _away(daemon: DaemonRecord) -> Iterable[Sample]:
    yield (), daemon["control_away_s"] or 0


def _deaths(daemon: DaemonRecord) -> Iterable[Sample]:
    if daemon["forwarder"] is not None:
        yield (), daemon["forwarder"]["deaths"]


def _answers(daemon: DaemonRecord) -> Iterable[Sample]:
    if daemon["forwarder"] is not None:
        yield (), daemon["forwarder"]["answers"]


FORWARDER = "lagg-forwarder"

OF_DAEMON = (
    Family("laggd_build_info", "1", False, ("process", "version"), _versions),
    Family(
        "laggd_start_time_seconds",
        "Since when a process is there, in seconds since 1970",
        False,
        ("process",),
        _started,
    ),
    Family(
        "laggd_adoptions",
        "laggds that went on with the laggs of another one, one after the other",
        True,
        (),
        _adoptions,
    ),
    Family(
        "laggd_control_away_seconds",
        "Since the end of the last laggd until this one acted; 0: there was none",
        False,
        (),
        _away,
    ),
    Family(
        "laggd_forwarder_deaths",
        "Processes carrying frames that ended while this laggd ran",
        True,
        (),
        _deaths,
    ),
    Family(
        "laggd_forwarder_answers",
        "1 while the process that carries frames does what it is told",
        False,
        (),
        _answers,
    ),
)
