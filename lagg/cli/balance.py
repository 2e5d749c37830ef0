# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl balance`: each port's load beside its share, and what would move for it.

Owns the page, and what samples and counters say of a flow together.  It only looks:
what moves, and when, is balance_interval_ms's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from lagg.cli.daemon import laggd_of
from lagg.cli.flow_samples import one_in, sample
from lagg.cli.fold import fold
from lagg.cli.output import DONE, paint, say, width
from lagg.cli.said import BOLD, byte_words, columns, speed_words

if TYPE_CHECKING:
    import argparse
    from typing import Literal

    from lagg.cli.flow_samples import Flow
    from lagg.cli.said import Paint
    from lagg.control.client import Client
    from lagg.control.messages import BalanceJson, ExplanationJson, PortLoadJson
    from lagg.records import LaggRecord

    TxCounter = Literal["tx_frames", "tx_bytes"]


class FlowJson(TypedDict):
    """A flow among the heaviest."""

    flow: str  # in the words that `explain` and `pin` take
    bytes_per_s: int
    error: int  # by which that may be wrong, 19 times of 20
    bucket: int | None
    ports: list[str]


class FlowsJson(TypedDict):
    """What was found by samples."""

    ms: int
    bytes_per_s: int  # of all flows
    samples: int  # frames
    one_of: int  # while the lagg was looked at, one of so many was sampled
    heaviest: list[FlowJson]


_FLOWS_HEAD = ("flow", "load", "bucket", "port")
_HEAD = ("port", "speed", "weight", "share", "load", "part", "buckets", "heaviest")


def balance(arguments: argparse.Namespace) -> int:
    """Looks for a second, with `--flows` for longer, and prints."""
    with laggd_of(arguments) as laggd:
        before = _record(laggd, arguments.name)
        found = cast(
            "BalanceJson", laggd.call("Balance", name=arguments.name)["balance"]
        )
        flows = None
        if arguments.flows is not None:
            frames = _sent(_record(laggd, before["name"]), before, "tx_frames")
            one_of = one_in(1000 * frames / found["ms"])
            flows = find_flows(laggd, before["name"], arguments.flows, one_of)
    if arguments.json:
        say(json.dumps(found if flows is None else {**found, "flows": flows}))
        return DONE
    page = balance_page(arguments.name, found, paint(), dry_run=arguments.dry_run)
    lines = [page, *([] if flows is None else flow_lines(flows, paint()))]
    say(fold("\n".join(lines), width()))
    return DONE


def _record(laggd: Client, name: str) -> LaggRecord:
    return cast("list[LaggRecord]", laggd.call("List", name=name)["laggs"])[0]


def _sent(now: LaggRecord, before: LaggRecord, what: TxCounter) -> int:
    """What left by all ports meanwhile."""
    return max(
        0, sum(p[what] for p in now["ports"]) - sum(p[what] for p in before["ports"])
    )


def find_flows(laggd: Client, name: str, seconds: float, one_of: int) -> FlowsJson:
    """Samples a lagg for so long; LaggError where that is refused."""
    before, since = _record(laggd, name), time.monotonic()
    samples = sample(name, seconds, one_of)
    took_s = time.monotonic() - since
    rate = _sent(_record(laggd, name), before, "tx_bytes") / took_s
    return {
        "ms": round(1000 * took_s),
        "bytes_per_s": round(rate),
        "samples": samples.count,
        "one_of": one_of,
        "heaviest": [_flow_json(laggd, name, each, rate) for each in samples.flows()],
    }


def _flow_json(laggd: Client, name: str, flow: Flow, rate: float) -> FlowJson:
    reply = laggd.call("Explain", name=name, frame=flow.frame.hex())
    way = cast("ExplanationJson", reply["explanation"])
    return {
        "flow": flow.words,
        "bytes_per_s": round(rate * flow.part),
        "error": round(rate * flow.error),
        "bucket": way["bucket"],
        "ports": way["choice"]["ports"],
    }


def flow_lines(found: FlowsJson, paint: Paint) -> list[str]:
    """The heaviest flows, each with the bounds of its load."""
    if not found["heaviest"]:
        return ["  no frame was sampled"]
    rows = [
        _FLOWS_HEAD,
        *(
            (
                each["flow"],
                f"{byte_words(each['bytes_per_s'])}/s ± {byte_words(each['error'])}/s",
                "-" if each["bucket"] is None else str(each["bucket"]),
                ", ".join(each["ports"]) or "none",
            )
            for each in found["heaviest"]
        ),
    ]
    seconds = found["ms"] / 1000
    title = (
        f"  heaviest flows, by {found['samples']} frames sampled in {seconds:.1f} s:"
    )
    return [title, *columns(rows, lambda _: None, paint)]


def balance_page(name: str, found: BalanceJson, paint: Paint, *, dry_run: bool) -> str:
    """The ports; with `dry_run` what would move, and the spread before and after."""
    total = sum(port["bytes"] for port in found["ports"])
    rows = [_HEAD, *(_port_row(port, total, found["ms"]) for port in found["ports"])]
    lines = [
        f"{paint(name, BOLD)}: {_rate(total, found['ms'])} by all ports",
        *columns(rows, lambda _: None, paint),
    ]
    if dry_run:
        lines += _move_lines(found)
    return "\n".join(lines)


def _port_row(port: PortLoadJson, total: int, ms: int) -> tuple[str, ...]:
    heaviest = (f"{b['bucket']} ({_part(b['bytes'], total)})" for b in port["heaviest"])
    return (
        port["port"],
        speed_words(port["speed_mbps"]),
        str(port["weight"] or "speed"),
        f"{port['share']:.1%}",
        _rate(port["bytes"], ms),
        _part(port["bytes"], total),
        str(port["buckets"]),
        ", ".join(heaviest),
    )


def _move_lines(found: BalanceJson) -> Sequence[str]:
    if not found["moves"]:
        return ["  nothing would move"]
    count = len(found["moves"])
    peaks = f"{found['peak_after']:.2f} times its share in place of {found['peak']:.2f}"
    moves = (
        f"    bucket {each['bucket']} to {each['port']},"
        f" {_rate(each['bytes'], found['ms'])}"
        for each in found["moves"]
    )
    return [
        f"  {count} bucket{'s' * (count > 1)} would move, and the busiest port carry",
        f"  {peaks}:",
        *moves,
    ]


def _rate(size: int, ms: int) -> str:
    return f"{byte_words(round(1000 * size / ms))}/s"


def _part(size: int, total: int) -> str:
    return f"{size / total if total else 0.0:.1%}"
