#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""LACP without a network: two engines and a for loop, in virtual time.

Run it from the repository: `python examples/two_engines.py`.  It prints what each side
sends and notices; two ports aggregate, one falls silent, and comes back.
"""

from lagg.lacp.engine import Engine
from lagg.lacp.pdu import Lacpdu, decode
from lagg.lacp.values import Instant, Medium, Notice, Send, Settings, System

SECOND = 1_000_000_000
DELAY = SECOND // 1000  # of the wire
SILENT = range(10 * SECOND, 20 * SECOND)  # port 2's PDUs are lost
END = 25 * SECOND


def make(name: int, now: Instant) -> Engine:
    """An engine with two ports."""
    mac = f"02:00:5e:00:53:{name:02x}"
    engine = Engine(Settings(System(0x8000, mac), fast=True), now)
    for number in (1, 2):
        port_mac = f"02:00:5e:00:{number:02x}:{name:02x}"
        engine.add_port(number, port_mac, 0x8000, Medium(up=True), now)
    return engine


def show(now: Instant, name: str, output: Send | Notice) -> None:
    """One line for each PDU and notice."""
    if isinstance(output, Send):
        pdu = decode(output.frame)
        assert isinstance(pdu, Lacpdu)
        states = f"{pdu.actor.state:#04x} (partner {pdu.partner.state:#04x})"
        print(f"{now / SECOND:7.3f} {name} port {output.number} says {states}")
    else:
        port = f"port {output.number} " if output.number else ""
        print(
            f"{now / SECOND:7.3f} {name} {port}{output.event.value}: {output.details}"
        )


def main() -> None:
    """Let them talk."""
    now = 0
    engines = {"A": make(0xA, now), "B": make(0xB, now)}
    wire: list[tuple[Instant, str, int, bytes]] = []
    while now < END:
        for name, engine in engines.items():
            for output in engine.take_outputs():
                if isinstance(output, Send | Notice):
                    show(now, name, output)
                if isinstance(output, Send):
                    if output.number == 2 and now in SILENT:
                        continue
                    far = "B" if name == "A" else "A"
                    wire.append((now + DELAY, far, output.number, output.frame))
        deadlines = [e.deadline() for e in engines.values()]
        now = min([at for at in deadlines if at is not None] + [f[0] for f in wire])
        for at, name, number, frame in [f for f in wire if f[0] <= now]:
            engines[name].receive(number, frame, now)
            wire.remove((at, name, number, frame))
        for engine in engines.values():
            engine.tick(now)


if __name__ == "__main__":
    main()
