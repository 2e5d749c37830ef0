# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl stats NAME --buckets`: how evenly flows are spread over the ports.

Owns the page: each port's share of the flow table beside its share of the frames, and
the buckets that sent most.  Pure: what the socket says in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lagg.cli.said import BOLD, count_words

if TYPE_CHECKING:
    from lagg.cli.said import Paint
    from lagg.control.messages import BucketJson

BUSIEST_MAX = 8
"""More rows than flows that fill a port by themselves."""


def buckets_page(name: str, buckets: Sequence[BucketJson], paint: Paint) -> str:
    """The ports in the order of the table, then the busiest buckets."""
    frames = sum(each["frames"] for each in buckets)
    size = sum(each["port"] is not None for each in buckets)
    return "\n".join(
        [
            f"{paint(name, BOLD)}: {count_words(frames)} frames by {size} buckets",
            *_port_lines(buckets, size, frames),
            *_busiest_lines(buckets, frames),
        ]
    )


def _port_lines(buckets: Sequence[BucketJson], size: int, frames: int) -> list[str]:
    lines = [f"  {'port':<15}  {'buckets':>12}  {'frames':>24}"]
    for port in dict.fromkeys(each["port"] for each in buckets):
        of_port = [each["frames"] for each in buckets if each["port"] == port]
        part = _part(0 if port is None else len(of_port), size)
        sent = _part(sum(of_port), frames)
        lines.append(f"  {port or '-':<15}  {part:>12}  {sent:>24}")
    return lines


def _busiest_lines(buckets: Sequence[BucketJson], frames: int) -> list[str]:
    sent = [each for each in buckets if each["frames"]]
    busiest = sorted(sent, key=lambda each: -each["frames"])[:BUSIEST_MAX]
    return [
        f"  bucket {each['bucket']:>3}  {each['port'] or '-':<15}"
        f"  {_part(each['frames'], frames):>26}"
        for each in busiest
    ]


def _part(count: int, whole: int) -> str:
    """1234, 5000 -> "1 234 (24.7%)"."""
    share = count / whole if whole else 0.0
    return f"{count_words(count)} ({share:.1%})"
