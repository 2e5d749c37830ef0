# SPDX-License-Identifier: BSD-2-Clause
"""A headless Chromium that shows a page: what it complains of, what stands on it.

Owns its process and the pipe by which it is told, the DevTools protocol's: JSON with a
zero byte behind each message, in by descriptor 3 and out by 4.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.waiting import wait_until

PROGRAMS = ("chromium-headless-shell", "chromium")
ANSWER_S = 60
_WORDS = (
    "--headless",
    "--no-sandbox",  # which root cannot have; it sees pages of ours alone
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def program() -> str | None:
    """Where there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of it; a context manager."""

    def __init__(
        self,
        command: Callable[..., Sequence[str]],
        *,
        size: tuple[int, int] = (1280, 800),
        dark: bool = False,
    ) -> None:
        """`command` makes of words those that run it where the page is reached."""
        self.complaints: list[str] = []  # of the console and of the security policy
        self._size = size
        self._dark = dark
        self._command = command
        self._number = 0
        self._unread = b""
        self._session: str | None = None

    def __enter__(self) -> Self:
        """Starts it."""
        self._start()
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        self._set_up()
        return self

    def _start(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="laggd-browser-"))
        to_it, self._to = os.pipe()
        self._from, from_it = os.pipe()
        words = [*_WORDS, f"--user-data-dir={self._home}"]
        found = program()
        assert found is not None, "to be looked for first"
        shell = f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}'
        self._process = subprocess.Popen(
            self._command("bash", "-c", shell, found, *words),
            pass_fds=(to_it, from_it),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._home)},
        )
        os.close(to_it)
        os.close(from_it)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it, and what it wrote."""
        self._process.terminate()
        self._process.wait(ANSWER_S)
        os.close(self._to)
        os.close(self._from)
        # Its helpers end a moment later, and write until then.
        wait_until(self._is_removed, ANSWER_S, "what the browser wrote is removed")

    def open(self, url: str) -> None:
        """Begins to load a page."""
        failed = self._ask("Page.navigate", url=url).get("errorText")
        assert failed is None, f"{url}: {failed}"

    def value(self, expression: str) -> Any:  # noqa: ANN401  what the page computes
        """What an expression is in the page, as JSON has it."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """What its window shows, as a PNG."""
        found = self._ask("Page.captureScreenshot")
        return base64.b64decode(found["data"])

    def resize(self, width: int, height: int) -> None:
        """Its window, in pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _is_removed(self) -> bool:
        shutil.rmtree(self._home, ignore_errors=True)
        return not self._home.exists()

    def _set_up(self) -> None:
        self.resize(*self._size)
        scheme = {"name": "prefers-color-scheme", "value": "light"}
        if self._dark:
            scheme["value"] = "dark"
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, object] = {"id": self._number, "method": method}
        asked["params"] = parameters
        if self._session is not None:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            said = self._message()
            if said.get("id") == self._number:
                assert "error" not in said, said
                found: dict[str, Any] = said["result"]
                return found
            self._hear(said)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def _hear(self, event: dict[str, Any]) -> None:
        match event["method"]:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                entry = event["params"]["entry"]
                self.complaints.append(f"{entry['source']}: {entry['text']}")
