# SPDX-License-Identifier: BSD-2-Clause
"""The page of `laggd --web` in a browser, of a laggd that carries traffic."""

import http.client
from collections.abc import Iterator

import pytest

from lab import Lab, wait_until
from lab.pair import Pair
from pictures.browser import Browser, program

PORT = 9751
DEADLINE_S = 60
PAGE = f"http://127.0.0.1:{PORT}/"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Lab() as lab:
        options = ("--web", str(PORT), "--seccomp")
        yield Pair(lab, cables=2, proto="lacp", patched=True, laggd=options)


def status() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=DEADLINE_S)
    connection.request("GET", "/live.json")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def browser(pair: Pair) -> Iterator[Browser]:
    """One that looks at host a, while frames pass."""
    if program() is None:
        pytest.skip("tools/setup --dev could not install chromium-headless-shell")
    with pair.streaming(rate=200, flows=8), Browser(pair.a.host.command) as found:
        found.open(PAGE)
        yield found


def wait_says(browser: Browser, words: str, *, not_any_more: bool = False) -> None:
    def says() -> bool:
        text = browser.value("document.body?.innerText ?? ''")
        return (words in text) != not_any_more

    wait_until(says, DEADLINE_S, f"the page: {words}")


def test_it_is_served_under_the_filter_of_system_calls(pair: Pair) -> None:
    assert pair.a.host.inside(status) == 200


def test_a_browser_draws_what_happens_and_has_no_complaint(
    pair: Pair, browser: Browser
) -> None:
    wait_says(browser, "carries by p0, p1")
    wait_says(browser, "kbit/s")
    pair.cables[1].cut()
    wait_says(browser, "carries by p0, agreed")
    wait_says(browser, "carrier down since")
    wait_says(browser, "p1 distributing: stopped")
    kinds = "[...document.querySelectorAll('.port')].map(each => each.className)"
    assert browser.value(kinds) == ["port active", "port down"]
    outside = "performance.getEntriesByType('resource').map(each => each.name)"
    assert set(browser.value(outside)) == {f"{PAGE}live.json"}
    assert browser.complaints == []
    pair.a.laggd.kill()
    wait_says(browser, "laggd does not answer")
    pair.a.laggd.start()
    wait_says(browser, "laggd does not answer", not_any_more=True)
    wait_says(browser, "carries by p0, agreed")
