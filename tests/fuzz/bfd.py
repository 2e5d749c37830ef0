#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fuzz target: the decoder of BFD frames, and a watcher that gets them.

tools/fuzz --bfd runs it under atheris, which follows the branches of lagg.watchers;
without atheris one_input() is an ordinary function, which a test calls.
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

STEP_NS = 50_000_000
CONTROL_BYTES = 24


def one_input(octets: bytes) -> None:
    """Frames for a session; none may raise, and what is read is what is written."""
    # Imported here, so that main() can have it instrumented.
    packets = import_module("lagg.watchers.bfd_packet")
    watches = import_module("lagg.watches")
    ends = import_module("lagg.watchers.watcher").Ends("02:00:5e:00:53:0a", 0)
    watch = watches.LinkWatch(watches.WatchKind.BFD, interval_ms=100)
    state = watches.WatchState
    bfd = import_module("lagg.watchers.bfd").Bfd(watch, ends, state.DOWN)
    bfd.link(True, 0)
    (first,) = bfd.tick(0)
    ours = packets.Envelope.open_vswitch(bytes(6), 1)
    mine = ours.open(first).my_discriminator.to_bytes(4, "big")
    for n, frame in enumerate(frames(octets, first, mine), 1):
        said = ours.open(frame)
        if isinstance(said, packets.ControlPacket):
            assert ours.open(ours.seal(said)) == said
        now = n * STEP_NS
        for answer in bfd.heard(frame, now) + bfd.tick(now):
            assert isinstance(ours.open(answer), packets.ControlPacket)
        due_at = bfd.due_at()
        assert due_at is None or due_at > now
        assert bfd.state is not state.UP or bfd.reason


def frames(octets: bytes, good: bytes, mine: bytes) -> list[bytes]:
    """One for each 25 octets: the first says how much of the frame is made good."""
    size = 1 + CONTROL_BYTES
    chunks = [octets[at : at + size] for at in range(0, len(octets), size)]
    return [frame_of(chunk[0], chunk[1:], good, mine) for chunk in chunks]


def frame_of(kind: int, body: bytes, good: bytes, mine: bytes) -> bytes:
    """Bits: raw, the packet's head as it comes, for whom as it comes, cut short."""
    if kind & 1:
        return body
    packet = bytearray(body.ljust(CONTROL_BYTES, b"\0"))
    if not kind & 2:
        packet[0] = 0x20 | packet[0] & 0x1F
        packet[1] &= 0xF8
        packet[2] |= 1
        packet[3] = CONTROL_BYTES
    if not kind & 4:
        packet[8:12] = mine
    frame = good[:-CONTROL_BYTES] + packet
    return frame[: kind >> 1] if kind & 8 else frame


def main() -> None:
    """Under atheris, with libFuzzer's arguments."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["lagg.watchers"]):
        import_module("lagg.watchers.bfd")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
