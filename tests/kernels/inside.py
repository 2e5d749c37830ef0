# SPDX-License-Identifier: BSD-2-Clause
"""Inside a machine: asks laggd for the tests, and looks when a carrier went.

    python -m tests.kernels.inside SOCKET         a request, its answer, by two pipes
    python -m tests.kernels.inside SOCKET PORT    a line a change: whose, up, ms

One process for all requests, for Python takes seconds to start where all is emulated.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lagg.control.client import Client
from lagg.errors import LaggError

ASK, ANSWER = "/run/ask", "/run/answer"
LOOK_S = 0.01


def serve(path: str) -> None:
    """One request after the other."""
    for pipe in (ASK, ANSWER):
        os.mkfifo(pipe)
    while True:
        request = json.loads(Path(ASK).read_text())
        Path(ANSWER).write_text(json.dumps(_answer(path, request)) + "\n")


def _answer(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """The reply of the laggd that is there now."""
    try:
        with Client(path) as client:
            return client.call(request.pop("method"), **request)
    except LaggError as error:
        return {"error": str(error)}


def watch(path: str, port: str) -> None:
    """A port's carrier, by its driver and by laggd's events, until it is killed.

    Asks nobody who would tell laggd: the driver's word is read from /sys.
    """
    threading.Thread(target=_follow, args=(path, port), daemon=True).start()
    for up in _driver(port):
        _say("driver", up=up, time_ns=time.monotonic_ns())


def _follow(path: str, port: str) -> None:
    with Client(path) as client:
        for reply in client.stream("Monitor"):
            event = reply.get("event")
            if event is None:
                _say("begins", up=True, time_ns=time.monotonic_ns())
            elif (event["port"], event["event"]) == (port, "port-link"):
                _say("laggd", up=event["details"] == "up", time_ns=event["time_ns"])


def _driver(port: str) -> Iterator[bool]:
    """Each change, from now on."""
    carrier = os.open(f"/sys/class/net/{port}/carrier", os.O_RDONLY)
    pause = threading.Event()
    last = os.pread(carrier, 1, 0)
    while True:
        pause.wait(LOOK_S)
        now = os.pread(carrier, 1, 0)
        if now != last:
            yield now == b"1"
        last = now


def _say(whose: str, *, up: bool, time_ns: int) -> None:
    print(whose, int(up), time_ns // 1_000_000, flush=True)


if __name__ == "__main__":
    (watch if len(sys.argv) > 2 else serve)(*sys.argv[1:])
