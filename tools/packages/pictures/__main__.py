# SPDX-License-Identifier: BSD-2-Clause
"""tools/pictures: laggctl's pages on a terminal, its SVG and laggd's page, from a lab.

Owns the scene: an LACP lagg of three ports under traffic, one of whose cables is cut,
and then seven laggs more.
"""

import argparse
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lab.lab import Lab
from lab.pair import LAGG, Pair
from pictures.browser import Browser, program
from pictures.screen import svg
from pictures.terminal import on_terminal, screen_after

WEB_PORT = "9751"
TOP_S, CUT_S = 11.0, 5.0
"""The cable is cut in the middle, so that the history shows it."""

WEB_S = 12.0
WEB_SIZE = (1280, 560)
TOP_SIZE = (32, 110)
WIDTHS = (60, 120)
FLOW = "src=10.77.0.1 dst=10.77.0.2 proto=tcp sport=5000 dport=443"
INTERVAL = ("--interval", "0.3")
MORE = (
    *("failover", "loadbalance", "roundrobin", "broadcast", "failover", "none"),
    "lacp",
)
"""Protocols of the laggs that come later."""

Pictures = Iterator[tuple[str, bytes]]


def taken(*, web: bool) -> Pictures:
    """Each picture, by the name of its file under docs/."""
    with Lab() as lab:
        options = ("--web", WEB_PORT)
        pair = Pair(lab, cables=3, proto="lacp", patched=True, laggd=options)
        pair.ctl("set", "--hash-seed", "7")
        pair.wait_until_links(3)
        with pair.streaming(rate=2000, flows=40):
            yield from _of_one(pair)
            if web:
                yield from _of_browsers(pair)
            _add_more(lab, pair)
            yield from _of_eight(pair)


def _of_one(pair: Pair) -> Pictures:
    explained = on_terminal(pair.a, "explain", LAGG, *FLOW.split())
    cutting = threading.Timer(CUT_S, pair.cables[1].cut)
    cutting.start()
    top = screen_after(pair.a, "top", *INTERVAL, seconds=TOP_S, size=(8, 130))
    cutting.join()
    pair.wait_until_links(2)
    pages = ["$ laggctl show", on_terminal(pair.a, "show"), "", "$ laggctl top", top]
    pages += ["", f"$ laggctl explain {LAGG} {FLOW}", explained]
    title = "laggctl show, top and explain on a terminal"
    yield "terminal.svg", _drawn(title, *pages)
    for width in WIDTHS:
        page = on_terminal(pair.a, "show", columns=width)
        yield f"pictures/show-1-{width}.svg", _drawn("laggctl show", page)
    tree = on_terminal(pair.a, "show", "--tree")
    yield "pictures/tree.svg", _drawn("laggctl show --tree", tree)
    yield "pictures/picture.svg", pair.a.laggd.ctl("picture", LAGG).encode()


def _of_browsers(pair: Pair) -> Pictures:
    for name, dark in (("web", False), ("web-dark", True)):
        pair.cables[1].mend()
        pair.wait_until_links(3)
        with Browser(pair.a.host.command, size=WEB_SIZE, dark=dark) as browser:
            browser.open(f"http://127.0.0.1:{WEB_PORT}/")
            time.sleep(WEB_S / 2)
            pair.cables[1].cut()
            time.sleep(WEB_S / 2)
            yield f"pictures/{name}.png", browser.picture()


def _of_eight(pair: Pair) -> Pictures:
    for width in WIDTHS:
        page = on_terminal(pair.a, "show", columns=width)
        yield (
            f"pictures/show-8-{width}.svg",
            _drawn("show of eight laggs", page),
        )
    top = screen_after(pair.a, "top", *INTERVAL, seconds=TOP_S / 2, size=TOP_SIZE)
    yield "pictures/top.svg", _drawn("laggctl top of eight laggs", top)


def _add_more(lab: Lab, pair: Pair) -> None:
    for number, proto in enumerate(MORE, 1):
        ports = [f"e{number}p{port}" for port in range(3)]
        cables = [
            lab.cable(pair.a.host, port, pair.b.host, f"f{port}") for port in ports
        ]
        pair.a.laggd.ctl("create", f"lagg{number}", *ports, "--proto", proto)
        if number % 3 == 0:
            cables[0].cut()


def _drawn(title: str, *pages: str) -> bytes:
    return svg("\n".join(pages).split("\n"), title).encode()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/pictures", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("docs"), metavar="DIR"
    )
    parser.add_argument(
        "--without-web", action="store_true", help="none of the page for a browser"
    )
    words = parser.parse_args()
    web = not words.without_web and program() is not None
    for name, picture in taken(web=web):
        file: Path = words.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        print(file)
    if not web:
        print("without the page for a browser: no Chromium is wanted, or there is none")


if __name__ == "__main__":
    main()
