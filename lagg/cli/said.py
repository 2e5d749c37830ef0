# SPDX-License-Identifier: BSD-2-Clause
"""How what every page has is said: colours, columns, numbers, a lagg's carrier.

Owns those words alone.  Pure: knows no page, and no terminal but the choice of colours
it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # at run time they would cost a command a third of its start-up
    from lagg.records import LaggRecord, PortRecord

Paint = Callable[[str, str | None], str]
"""Gives a text an SGR colour, or not."""

# SGR colours.
LIGHT = {"up": "32", "down": "31"}
BOLD = "1"
WARNING = "33"


def coloured(text: str, code: str | None) -> str:
    """The Paint of a terminal: the text in the colour, if one is given."""
    return f"\033[{code}m{text}\033[0m" if code else text


def plain(text: str, code: str | None) -> str:
    """The Paint of everything else: the text alone."""
    return text


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


def listed(names: Sequence[str]) -> str:
    """As "eth0, eth1 and eth2"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def times(count: int) -> str:
    """1 -> "once"; 3 -> "3 times"."""
    return "once" if count == 1 else f"{count_words(count)} times"


def trial_words(lagg: LaggRecord) -> list[str]:
    """When its change reverts that nobody confirmed yet; mostly nothing."""
    trial = lagg["trial"]
    if trial is None:
        return []
    return [f"reverts in {trial['left_ms'] // 1000} s unless confirmed"]


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


def title_words(lagg: LaggRecord, paint: Paint, since: str = "") -> list[str]:
    """Its protocol, its link with the reason if it has none, its speed if known."""
    reason = carrier_reason(lagg)
    link = paint(f"link {lagg['link']}", LIGHT.get(lagg["link"]))
    link += f" ({reason})" if reason else ""
    link += f" since {since}" if since else ""
    speed = [speed_words(lagg["speed_mbps"])] if lagg["speed_mbps"] > 0 else []
    return [lagg["proto"], link, *speed]


def shares(port: PortRecord, lagg: LaggRecord) -> str:
    """Its part of all frames so far, each way."""
    sent = _share(port["tx_frames"], [each["tx_frames"] for each in lagg["ports"]])
    received = _share(port["rx_frames"], [each["rx_frames"] for each in lagg["ports"]])
    return f"sends {sent} %, receives {received} %"


def _share(own: int, of_all: Sequence[int]) -> int:
    return round(100 * own / (sum(of_all) or 1))


# ---- frames that were not delivered ------------------------------------------------

EXPECTED = {
    "not-accepted": "not for us (standby)",
    "duplicate": "copies of what had come",
    "own-source": "our own, come back",
    "link-local": "for the port itself",
}
"""Drop reasons that a healthy lagg has, each in words: nobody missed those frames."""


def lost_words(drops: Mapping[str, int]) -> str:
    """The reasons that counted anything and should not, as "no-port 3, tx-full 1"."""
    return ", ".join(
        f"{reason} {count_words(frames)}"
        for reason, frames in drops.items()
        if frames and reason not in EXPECTED
    )


def lost_of(drops: Mapping[str, int]) -> int:
    """Frames that were not delivered and should have been."""
    return sum(frames for reason, frames in drops.items() if reason not in EXPECTED)


def expected_words(drops: Mapping[str, int]) -> str:
    """The frames that nobody missed, as "14 not for us (standby)"; else empty."""
    return ", ".join(
        f"{count_words(drops[reason])} {words}"
        for reason, words in EXPECTED.items()
        if drops.get(reason)
    )
