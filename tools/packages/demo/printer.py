# SPDX-License-Identifier: BSD-2-Clause
"""What a person reads while a demonstration runs: a line for each step, as it happens.

Owns the layout, and whether every claim held.  Knows nothing of what is shown.
"""

import os
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

WIDTH = 88
STEP_WIDTH = 34

_BOLD, _GREEN, _RED, _GREY = "1", "32", "31", "90"


class Step:
    """One line: what is done, and then what came of it."""

    def __init__(self) -> None:
        self.outcome = ""
        self.held: bool | None = None

    def show(self, outcome: str, *, held: bool | None = None) -> None:
        """What is to be seen; `held` says whether a claim about it did."""
        self.outcome = outcome
        self.held = held


class Printer:
    """Prints to stdout; colours for a terminal only."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._start = time.monotonic()
        self._heading = 0
        self.broken: list[str] = []

    @property
    def seconds(self) -> float:
        """Since the printer began."""
        return time.monotonic() - self._start

    def heading(self, text: str) -> None:
        """The next chapter."""
        self._heading += 1
        print()
        self._print(f"{self._heading}. {text}", _BOLD)

    def say(self, text: str) -> None:
        """A paragraph."""
        print(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   "))

    def block(self, text: str) -> None:
        """What is printed as it is: a picture, a page, a command."""
        print(textwrap.indent(text, "     "), flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """A step that begins now; its line ends with what `Step.show` says."""
        print(f"   {text} {'.' * (STEP_WIDTH - len(text))} ", end="", flush=True)
        step = Step()
        try:
            yield step
        except BaseException:
            print("broken off")
            raise
        verdict = {None: "", True: "  ok", False: "  FAILED"}[step.held]
        print(step.outcome, end="")
        self._print(verdict, _GREEN if step.held else _RED)
        if step.held is False:
            self.broken.append(text)

    def remark(self, text: str) -> None:
        """A line in small print."""
        self._print(f"     {text}", _GREY)

    def _print(self, text: str, colour: str) -> None:
        print(f"\033[{colour}m{text}\033[0m" if self._coloured else text, flush=True)
