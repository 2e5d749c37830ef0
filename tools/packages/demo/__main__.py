# SPDX-License-Identifier: BSD-2-Clause
"""tools/demo: what laggd is for, shown on two hosts inside this machine.

Owns the chapters and their claims.  Exit code 0 only if every claim held and nothing
was left behind.  Every frame counted here was numbered by its sender (stream.py).
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from demo.printer import Printer
from demo.traces import Surroundings, Traces
from lab.daemon import LAGGCTL, overload
from lab.host import CommandError
from lab.lab import Lab, abandoned, remove
from lab.pair import LAGG, Pair, Streaming
from lab.ping import ping
from lab.stream import StreamResult

LABEL = "demo"
CABLES = 3
RATES = (10_000, 5_000, 2_500, 1_000, 500)
"""Frames a second; the next when this machine cannot carry the one before."""

FLOWS = 8
BEFORE_S = 0.3
AFTER_S = 0.4
BACK_MS_MAX = 50.0
PULLS = 10
"""How often a cable may be pulled until it is clear that not the machine was late."""

PICTURE = """\
host a                                      host b
lagg0 10.77.0.1                    10.77.0.2 lagg0
  laggd ---- p0 =============== q0 ---- laggd
        ---- p1 =============== q1 ----
        ---- p2 =============== q2 ----"""

TOUR = ("roundrobin", "loadbalance", "broadcast", "failover")


@dataclass(frozen=True, slots=True)
class Demo:
    """The lab and its narrator."""

    printer: Printer
    pair: Pair

    def run(self) -> None:
        """Everything, in order."""
        self._pings()
        self._switches()
        self._ports()
        self._cables()
        self._lacp()
        self._page()

    def _pings(self) -> None:
        self.printer.heading("Is there a network?")
        for ipv6 in (False, True):
            to = self.pair.b.address6 if ipv6 else self.pair.b.address
            with self.printer.step(f"a pings {to}") as step:
                pings = self.pair.ping(count=5, ipv6=ipv6)
                answered = f"{pings.received} of {pings.sent} answered"
                step.show(
                    f"{answered}, at most {pings.rtt_ms_max:.2f} ms",
                    held=pings.lost == 0,
                )

    def _switches(self) -> None:
        printer = self.printer
        printer.heading("Another protocol, under load")
        printer.say(
            f"{words(RATES[0])} frames a second each way in {FLOWS} flows, while"
            " laggctl changes the protocol on a, then on b. Meanwhile the two disagree;"
            " so failover was told to receive on every port (failover_rx_all)."
            " Broadcast sends every frame by every cable, so copies arrive, too."
        )
        before = "failover"
        for proto in TOUR:
            there, back = partial(self._set, proto), partial(self._set, before)
            self._lossless(f"{before} to {proto}", there, back)
            before = proto
        self._none()

    def _set(self, proto: str) -> None:
        self.pair.ctl("set", "--proto", proto)

    def _none(self) -> None:
        """The fifth protocol, whose meaning is to lose everything."""
        with self.printer.step("failover to none") as step:
            self._set("none")
            lost = ping(self.pair.a.host, self.pair.b.address, count=2, wait_s=1).lost
            drops = self.pair.a.laggd.drops().get("proto-none", 0)
            counted = f"{drops} frames counted as proto-none"
            step.show(
                f"carries nothing, by definition; {counted}",
                held=lost == 2 and drops > 0,
            )
        with self.printer.step("none to failover") as step:
            self._set("failover")
            self.pair.wait_until_ready()
            step.show("pings are answered again", held=True)

    def _ports(self) -> None:
        printer = self.printer
        printer.heading("A port comes and goes, under load")
        printer.say(
            "Under failover the third cable is idle. (Under roundrobin or loadbalance"
            " it is not: a partner would go on sending into a cable that is no port"
            " any more. To agree on that takes LACP: see below.)"
        )
        detach, attach = partial(self._port, "detach"), partial(self._port, "attach")
        self._lossless("detach p2 and q2", detach, attach)
        self._lossless("attach p2 and q2", attach, detach)

    def _port(self, command: str) -> None:
        for end, port in zip(self.pair.ends, ("p2", "q2"), strict=True):
            end.laggd.ctl(command, LAGG, port)

    def _lossless(
        self, text: str, change: Callable[[], None], back: Callable[[], None]
    ) -> None:
        """Streams both ways while `change` happens; not one frame may be lost.

        Tried again after `back`, more slowly, if laggd says that the CPU was the cause.
        """
        for rate in RATES:
            before = self._overruns()
            with self.printer.step(text) as step:
                run = self._under_load(change, rate)
                own = sum(result.overflows for result in run.results)
                slow = self._overruns() + own > before and rate != RATES[-1]
                whole = all(is_whole(result) for result in run.results)
                lost = f"lost {losses(run)} of {words(total(run))} frames"
                step.show(lost, held=whole if whole or not slow else None)
            if whole:
                return
            self._explain(run)
            if not slow:
                return
            self.printer.remark(
                "Queues overran, for want of CPU. Once more, more slowly."
            )
            back()

    def _overruns(self) -> int:
        """Frames that both laggds lost to a busy machine, so far."""
        return sum(overload(end.laggd.drops()) for end in self.pair.ends)

    def _under_load(self, change: Callable[[], None], rate: int) -> Streaming:
        with self.pair.streaming(rate=rate, flows=FLOWS) as run:
            time.sleep(BEFORE_S)
            change()
            time.sleep(AFTER_S)
        return run

    def _explain(self, run: Streaming) -> None:
        for name, end, result in zip("ab", self.pair.ends, run.results, strict=True):
            self.printer.remark(f"from {name}: {result}")
            self.printer.remark(
                f"laggd in {name} has dropped so far: {end.laggd.drops()}"
            )

    def _cables(self) -> None:
        printer = self.printer
        printer.heading("A cable is pulled, under load")
        printer.say(
            "Both ends lose the carrier of the first cable. What was in it is lost; the"
            f" longest silence of any flow must be below {BACK_MS_MAX:.0f} ms."
        )
        for proto in ("failover", "loadbalance"):
            self._set(proto)
            self._pull(proto)

    def _pull(self, proto: str) -> None:
        for left in reversed(range(PULLS)):
            with self.printer.step(f"pulled, {proto}") as step:
                run = self._under_load(self.pair.cables[0].cut, RATES[0])
                silence = max(result.silence_ms_max for result in run.results)
                back = f"traffic back after {silence:.1f} ms, lost {losses(run)}"
                in_time = silence < BACK_MS_MAX
                step.show(back, held=in_time if in_time or left == 0 else None)
            self.pair.cables[0].mend()
            self._whole(proto)
            if in_time:
                return
            self._explain(run)
            if left:
                self.printer.remark(
                    "Too late. Was this machine itself late? Once more."
                )

    def _whole(self, proto: str) -> None:
        self.pair.wait_until_links(CABLES)
        if proto == "lacp":
            self.pair.wait_until_agreed(CABLES)

    def _lacp(self) -> None:
        printer = self.printer
        printer.heading("LACP, under load")
        printer.say(
            "Both ends agree on each cable, so one that carries can go, too: its"
            " partner is told, and flows that move wait for the answer to a marker."
        )
        with printer.step("laggproto lacp on a and b") as step:
            self.pair.ctl("set", "--proto", "lacp", "--lacp-fast-timeout")
            agreed = self.pair.wait_until_agreed(CABLES)
            step.show(f"{CABLES} cables agreed after {agreed:.1f} s", held=True)
        self._lossless("detach p2, which carries", self._leave, self._join)
        self._lossless("attach p2 until it carries", self._join, self._leave)
        self._pull("lacp")

    def _leave(self) -> None:
        self.pair.a.laggd.ctl("detach", LAGG, "p2")

    def _join(self) -> None:
        self.pair.a.laggd.ctl("attach", LAGG, "p2")
        self.pair.wait_until_agreed(CABLES)

    def _page(self) -> None:
        self.printer.heading("laggctl show, on host a")
        print()
        self.printer.block(self.pair.a.laggd.ctl("show").rstrip())
        print()
        with self.printer.step("every frame delivered or counted") as step:
            self.pair.conserved()
            step.show("in = out + drops, on both hosts", held=True)


def losses(run: Streaming) -> str:
    """Both directions in words."""
    there, back = run.there, run.back
    text = f"{words(there.lost)} a to b, {words(back.lost)} b to a"
    own = there.overflows + back.overflows
    return f"{text} (and {own} in the test's own sockets)" if own else text


def total(run: Streaming) -> int:
    """Frames sent in both directions."""
    return sum(result.sent for result in run.results)


def is_whole(result: StreamResult) -> bool:
    """Nothing lost, by whomever, and nothing falsified."""
    return result.sent == result.received and result.corrupt == 0


def words(count: int) -> str:
    """1234567 -> "1 234 567"."""
    return f"{count:,}".replace(",", " ")


def main() -> int:
    """Runs the demo; the exit code."""
    arguments = _parser().parse_args()
    if os.geteuid() != 0:
        print("tools/demo: it makes network namespaces; run sudo tools/demo")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _remove() if arguments.remove else _demonstrate(keep=arguments.keep)
    except KeyboardInterrupt:
        print("\ntools/demo: interrupted; everything was removed")
        return 130
    except (CommandError, TimeoutError, AssertionError) as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        return 1


def _demonstrate(*, keep: bool) -> int:
    printer = Printer()
    before = Surroundings.now()
    with Lab(LABEL) as lab:
        pair = _build(printer, lab)
        Demo(printer, pair).run()
        if keep:
            lab.keep()
            _tell_kept(printer, lab, pair)
            return _verdict(printer)
        printer.heading("Taking everything down")
        made = Traces.of(lab, before)
    with printer.step("look for what is left") as step:
        left = made.left()
        nothing = "no namespace, interface, nft table, process or file"
        step.show(", ".join(left) or nothing, held=not left)
    return _verdict(printer)


def _build(printer: Printer, lab: Lab) -> Pair:
    printer.heading("Two hosts, three cables, a laggd on each host")
    printer.block(PICTURE)
    with printer.step("set up") as step:
        pair = Pair(lab, cables=CABLES, options=("--failover-rx-all",), patched=True)
        step.show(f"{printer.seconds:.1f} s, in network namespaces of their own")
    return pair


def _verdict(printer: Printer) -> int:
    print()
    if printer.broken:
        print(f"   Not as it should be: {'; '.join(printer.broken)}.")
        return 1
    print(f"   Everything held, in {printer.seconds:.0f} s.")
    return 0


def _tell_kept(printer: Printer, lab: Lab, pair: Pair) -> None:
    printer.heading("The lab stays up")
    for name, end in zip("ab", pair.ends, strict=True):
        printer.block(
            f"ip netns exec {end.host.netns} bash         # be on host {name}"
        )
        printer.block(f"{LAGGCTL} --socket {end.laggd.socket} show")
    printer.block(f"tail -f {lab.directory}/a/laggd.log")
    printer.block("sudo tools/demo --remove                       # and it is gone")


def _remove() -> int:
    found = [name for name in abandoned(kept=True) if name.startswith(f"lagg-{LABEL}-")]
    for name in found:
        remove(name)
        print(f"{name} removed")
    if not found:
        print("no lab was kept")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/demo", description="Shows laggd at work"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--keep", action="store_true", help="leave the lab up")
    choice.add_argument("--remove", action="store_true", help="remove kept labs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
