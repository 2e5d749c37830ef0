# SPDX-License-Identifier: BSD-2-Clause
"""A stream of numbered frames from one host to another, and what became of it.

Owns the processes of stream.c.  Every loss is known from sequence numbers; what the
receiver's own socket had no room for is told apart (`overflows`).
"""

import json
import secrets
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from lab.host import CommandError
from lab.program import build
from lab.waiting import SLOWNESS

PORT = 5001
TAIL_SECONDS = 2.0 * SLOWNESS
"""How long after its sender a receiver may wait for the end of each flow."""


class Complaints(Protocol):
    """Standard error of a process."""

    def readline(self) -> str:
        """The next line; empty when the process has ended."""


class Process(Protocol):
    """What a stream needs of subprocess.Popen."""

    @property
    def stderr(self) -> Complaints | None:
        """What it complains of."""

    @property
    def returncode(self) -> int | Any:  # noqa: ANN401  typeshed has it so
        """Its exit code, once it has ended."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """SIGTERM."""

    def communicate(self) -> tuple[str, str]:
        """What it printed, and complained of, until its end."""


class Place(Protocol):
    """Where a half of a stream runs: a Host, or a virtual machine."""

    def popen(self, *words: str | Path) -> Process:
        """Starts a program there."""


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow, as sent and as received."""

    sent: int
    received: int  # distinct frames
    duplicated: int
    reordered: int  # came after one sent later
    corrupt: int
    longest_loss: int  # frames in a row
    gap_ms_max: float  # between two arrivals
    delay_ms_max: float

    @property
    def lost(self) -> int:
        """Sent and never seen."""
        return self.sent - self.received


@dataclass(frozen=True, slots=True)
class StreamResult:
    """A whole stream: its flows, and what qualifies the measurement."""

    flows: tuple[FlowResult, ...]
    seconds: float
    overflows: int  # lost in the receiver's own socket: no lagg's fault
    foreign: int
    late_ms_max: float  # how far the sender fell behind its schedule
    errors: int  # frames the sender's kernel refused; they count as sent

    @property
    def sent(self) -> int:
        """Frames of all flows."""
        return sum(flow.sent for flow in self.flows)

    @property
    def received(self) -> int:
        """Distinct frames of all flows."""
        return sum(flow.received for flow in self.flows)

    @property
    def lost(self) -> int:
        """Sent, and not lost by the receiver itself, and never seen."""
        return self.sent - self.received - self.overflows

    @property
    def duplicated(self) -> int:
        """Second and further arrivals."""
        return sum(flow.duplicated for flow in self.flows)

    @property
    def reordered(self) -> int:
        """Frames that came after one of their flow that was sent later."""
        return sum(flow.reordered for flow in self.flows)

    @property
    def corrupt(self) -> int:
        """Frames whose payload was not the one sent."""
        return sum(flow.corrupt for flow in self.flows)

    @property
    def gap_ms_max(self) -> float:
        """The longest silence of any flow, between two arrivals."""
        return max(flow.gap_ms_max for flow in self.flows)

    @property
    def delay_ms_max(self) -> float:
        """The longest way of any frame, from its sender's call to the socket."""
        return max(flow.delay_ms_max for flow in self.flows)

    @property
    def outage_ms_max(self) -> float:
        """The most frames of one flow lost in a row, as time by the rate sent."""
        return max(
            1000 * self.seconds * flow.longest_loss / flow.sent if flow.sent else 0.0
            for flow in self.flows
        )

    @property
    def silence_ms_max(self) -> float:
        """The longest time without a frame of some flow, also if it never came back."""
        return max(self.gap_ms_max, self.outage_ms_max)

    @property
    def rate(self) -> float:
        """Frames sent in a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """One line, for messages of assertions."""
        return (
            f"sent {self.sent} in {self.seconds:.2f} s, lost {self.lost}, duplicated"
            f" {self.duplicated}, reordered {self.reordered}, corrupt {self.corrupt},"
            f" longest gap {self.gap_ms_max:.1f} ms,"
            f" outage {self.outage_ms_max:.1f} ms, delay {self.delay_ms_max:.1f} ms,"
            f" receiver's own loss {self.overflows},"
            f" sender late {self.late_ms_max:.1f} ms, refused {self.errors}"
        )


class Receiver:
    """The receiving half, bound once it is made; `Stream` has both halves."""

    def __init__(self, sink: Place, *, port: int, flows: int, identity: int) -> None:
        """Counts frames of stream `identity` only."""
        options = _words(port=port, flows=flows, id=identity)
        self._process = sink.popen(build("stream"), "receive", *options)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if line != "ready\n":
            raise CommandError(("stream", "receive"), self._process.wait(), line)

    def counts(self) -> dict[str, Any]:
        """What it printed, once every flow has ended or could have."""
        try:
            self._process.wait(TAIL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # a flow's end was lost, too
        return _finish(self._process)

    def result(self) -> StreamResult:
        """As `Stream.result`, for frames that something else sent.

        What was sent is what the end of each flow said.
        """
        counts = self.counts()
        sent = [flow["total"] for flow in counts["flows"]]
        sender = {"sent": sent, "seconds": 0.0, "late_ms_max": 0.0, "errors": 0}
        return _joined(sender, counts)


class Stream:
    """A stream that runs: its receiver is bound and its sender sends."""

    def __init__(
        self,
        source: Place,
        sink: Place,
        to: str,
        *,
        rate: int,
        seconds: float = 0,
        flows: int = 1,
        payload_bytes: int = 64,
        port: int = PORT,
    ) -> None:
        """`rate` in frames a second, all flows together; 0 `seconds`: until `stop`.

        A machine that is said to be slow sends as much more slowly.
        """
        identity = secrets.randbits(32)
        self._receiver = Receiver(sink, port=port, flows=flows, identity=identity)
        common = _words(port=port, flows=flows, id=identity)
        paced = _words(
            to=to, rate=ceil(rate / SLOWNESS), seconds=seconds, bytes=payload_bytes
        )
        self._sender = source.popen(build("stream"), "send", *common, *paced)

    def stop(self) -> None:
        """Asks the sender to end, and returns at once."""
        if self._sender.poll() is None:
            self._sender.terminate()

    def result(self) -> StreamResult:
        """Waits for the end; CommandError when one of the two failed."""
        sent = _finish(self._sender)
        return _joined(sent, self._receiver.counts())


def _words(**options: object) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def _finish(process: Process) -> dict[str, Any]:
    printed, complaint = process.communicate()
    if process.returncode != 0:
        raise CommandError(("stream",), process.returncode, complaint)
    found: dict[str, Any] = json.loads(printed)
    return found


def _joined(sent: dict[str, Any], received: dict[str, Any]) -> StreamResult:
    pairs = zip(sent["sent"], received["flows"], strict=True)
    return StreamResult(
        flows=tuple(_flow(count, flow) for count, flow in pairs),
        seconds=sent["seconds"],
        overflows=received["overflows"],
        foreign=received["foreign"],
        late_ms_max=sent["late_ms_max"],
        errors=sent["errors"],
    )


def _flow(sent: int, flow: dict[str, Any]) -> FlowResult:
    # What was sent after the last arrival was lost in a row, if the end was lost, too.
    unseen = 0 if flow["ended"] else sent - flow["total"]
    return FlowResult(
        sent=sent,
        received=flow["received"],
        duplicated=flow["duplicated"],
        reordered=flow["reordered"],
        corrupt=flow["corrupt"],
        longest_loss=max(flow["longest_loss"], unseen),
        gap_ms_max=flow["gap_ms_max"],
        delay_ms_max=flow["delay_ms_max"],
    )
