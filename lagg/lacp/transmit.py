# SPDX-License-Identifier: BSD-2-Clause
"""Transmit machine (802.1AX 6.4.16): which PDU may leave a port, and when.

Owns the limit: at most three LACPDUs in any second, for any reason whatever.  A PDU
that has to wait says what is true when it leaves.
"""

from lagg.lacp.pdu import Lacpdu, encode_lacpdu
from lagg.lacp.periodic import silent
from lagg.lacp.port import PDUS_PER_WINDOW, Port
from lagg.lacp.values import Instant, Send

ROUTINE_PER_WINDOW = PDUS_PER_WINDOW - 1
"""What is periodic, or asked for by the partner, leaves one place for our own news:
a port that comes into Sync, or goes, tells so at once whatever the partner does."""


def due_at(port: Port, now: Instant) -> Instant | None:
    """When the port's next PDU may leave; None: it has none to send."""
    if not (port.need_to_transmit or port.goodbye) or mute(port, now):
        return None
    limit = PDUS_PER_WINDOW if port.news or port.goodbye else ROUTINE_PER_WINDOW
    return port.sent.free_at(now, limit)


def mute(port: Port, now: Instant) -> bool:
    """Whether nothing may leave this port, whatever there is to send."""
    return port.settings.txtest or silent(port, now)


def sends(port: Port, now: Instant) -> bool:
    """Whether a PDU leaves now, which is counted then."""
    due = due_at(port, now)
    if due is None or due > now:
        return False
    said(port)
    taken = port.sent.take(now)
    assert taken, "due_at() says that there is a place"
    port.counts.lacpdu_tx += 1
    return True


def said(port: Port) -> None:
    """Clears what waited to be told: the PDU being written now says it all."""
    port.need_to_transmit = port.news = port.goodbye = False


def written(port: Port) -> Send:
    """The PDU that says what is true of the port now."""
    pdu = Lacpdu(port.actor(), port.partner)
    return Send(port.number, encode_lacpdu(pdu, port.mac))
