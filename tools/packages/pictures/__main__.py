# SPDX-License-Identifier: BSD-2-Clause
"""tools/pictures: laggctl's pages as they look on a terminal, from a lab, as an SVG.

Owns the scene: an LACP lagg of three ports under traffic, one of its cables cut.
"""

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path

from lab.daemon import LAGGCTL
from lab.lab import Lab
from lab.pair import LAGG, End, Pair
from pictures.screen import last_page, svg

ROWS, COLUMNS = 50, 130
PAGES = 24
INTERVAL = "0.4"
CUT_S = 5.0
"""In the middle of the pages, so that the history shows it."""

FLOW = "src=10.77.0.1 dst=10.77.0.2 proto=tcp sport=5000 dport=443"
TITLE = "laggctl show, top and explain on a terminal"


def on_terminal(end: End, *words: str) -> str:
    """What laggctl writes to a terminal, with colours, inside the host."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {key: each for key, each in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm", "LAGGD_SOCKET": str(end.laggd.socket)}
    command = end.host.command(LAGGCTL, *words)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=its, env=environment
    ):
        os.close(its)
        return last_page(_all(ours).decode())


def _all(terminal: int) -> bytes:
    """Until its other end is closed, which reads as EIO."""
    found = b""
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        while True:
            try:
                piece = reader.read(65536)
            except OSError:
                return found
            found += piece


def take() -> str:
    """The picture."""
    with Lab() as lab:
        pair = Pair(lab, cables=3, proto="lacp", patched=True)
        pair.ctl("set", "--hash-seed", "7")
        pair.wait_until_links(3)
        with pair.streaming(rate=2000, flows=40):
            pages = [f"$ laggctl explain {LAGG} {FLOW}"]
            pages.append(on_terminal(pair.a, "explain", LAGG, *FLOW.split()))
            cutting = threading.Timer(CUT_S, pair.cables[1].cut)
            cutting.start()
            words = ("--count", str(PAGES), "--interval", INTERVAL)
            top = on_terminal(pair.a, "top", *words)
            cutting.join()
            pair.wait_until_links(2)
            shown = on_terminal(pair.a, "show")
    pages = ["$ laggctl show", shown, "", "$ laggctl top", top, "", *pages]
    return svg("\n".join(pages).split("\n"), TITLE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/pictures", description=__doc__)
    parser.add_argument(
        "file", nargs="?", type=Path, default=Path("docs/terminal.svg"), metavar="FILE"
    )
    file: Path = parser.parse_args().file
    file.write_text(take(), encoding="utf-8")
    print(file)


if __name__ == "__main__":
    main()
