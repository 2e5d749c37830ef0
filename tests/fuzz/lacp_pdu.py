#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fuzz target: the decoder of slow-protocol frames, and an engine that gets them.

tools/fuzz runs it under atheris, which follows the branches of lagg.lacp; without
atheris one_input() is an ordinary function, which a test calls.
"""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

STEP_NS = 100_000_000
PDU_BYTES = 124
HEAD = bytes.fromhex("0180c200000202005e00535a8809")
LENGTHS = (
    ((17, 20), (37, 20), (57, 16), (73, 0)),  # of a LACPDU's TLVs, by offset
    ((17, 16),),  # of a marker's
)


def one_input(octets: bytes) -> None:
    """Frames for an engine; none may raise, and what is read is what is written."""
    # Imported here, so that main() can have it instrumented.
    pdu = import_module("lagg.lacp.pdu")
    values = import_module("lagg.lacp.values")
    system = values.System(1, "02:00:5e:00:53:0a")
    settings = values.Settings(system, fast=True)
    engine = import_module("lagg.lacp.engine").Engine(settings, 0)
    engine.add_port(1, "02:00:5e:00:01:0a", 1, values.Medium(up=True), 0)
    for n, frame in enumerate(frames(octets)):
        said = pdu.decode(frame)
        if isinstance(said, pdu.Lacpdu):
            again = pdu.encode_lacpdu(said, pdu.source_of(frame))
            assert pdu.decode(again) == replace(said, retries=pdu.RETRIES)
        engine.receive(1, frame, n * STEP_NS)
        engine.take_outputs()
        engine.tick((n + 1) * STEP_NS)


def frames(octets: bytes) -> list[bytes]:
    """One for each 109 octets: the first says how much of it is made good."""
    chunks = [octets[at : at + 109] for at in range(0, len(octets), 109)]
    return [frame_of(chunk[0], chunk[1:]) for chunk in chunks]


def frame_of(kind: int, body: bytes) -> bytes:
    """Bits: marker, raw, lengths as they come, cut short."""
    if kind & 2:
        return body
    filled = bytearray(body.ljust(PDU_BYTES - 16, b"\0"))
    for at, length in () if kind & 4 else LENGTHS[kind & 1]:
        filled[at - 16] = length
    frame = HEAD + bytes([1 + (kind & 1), 1]) + filled
    return frame[: kind >> 1] if kind & 8 else frame


def main() -> None:
    """Under atheris, with libFuzzer's arguments."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["lagg.lacp"]):
        import_module("lagg.lacp.engine")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
