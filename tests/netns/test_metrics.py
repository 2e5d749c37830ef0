# SPDX-License-Identifier: BSD-2-Clause
"""Scrapes of a laggd that carries traffic: as the record says, and never less."""

import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab import Daemon, Lab, wait_until

PORT = 9750
FRAMES = 500

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def laggd() -> Iterator[Daemon]:
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for i in range(2):
            lab.cable(near, f"p{i}", far, f"q{i}")
        daemon = lab.daemon(near, options=("--metrics", f"[::1]:{PORT}", "--seccomp"))
        daemon.ctl("create", "lagg0", "--port", "p0", "--port", "p1")
        yield daemon


def scrape(laggd: Daemon) -> Samples:
    """Every sample but information, by name and label values."""
    text = laggd.host.inside(page)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not family.name.endswith("_info")
    }


def page() -> str:
    connection = http.client.HTTPConnection("::1", PORT, timeout=60)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return text


def send(laggd: Daemon, frames: int) -> None:
    with laggd.host.packet_socket("lagg0") as into:
        for number in range(frames):
            into.send(
                bytes.fromhex("ffffffffffff02005e005301 88b5")
                + bytes([number % 256]) * 50
            )


def expected(record: dict[str, Any]) -> Samples:
    counters = record["counters"]
    found: Samples = {
        (f"laggd_lagg_{way}_frames_total", "lagg0"): counters[way]
        for way in ("tx_in", "tx_out", "rx_in", "rx_out")
    }
    for reason, frames in counters["drops"].items():
        found["laggd_lagg_dropped_frames_total", "lagg0", reason] = frames
    for port in record["ports"]:
        for count in ("tx_frames", "tx_bytes", "rx_frames", "rx_bytes"):
            found[f"laggd_port_{count}_total", "lagg0", port["name"]] = port[count]
    found["laggd_lagg_publications_total", "lagg0"] = record["generation"]
    return found


def test_a_scrape_says_what_the_record_says_and_no_counter_goes_back(
    laggd: Daemon,
) -> None:
    before = scrape(laggd)
    send(laggd, FRAMES)
    sent = ("laggd_lagg_tx_in_frames_total", "lagg0")

    def settled() -> bool:
        after.update(scrape(laggd))
        rest = expected(laggd.record())
        return after[sent] - before[sent] >= FRAMES and rest.items() <= after.items()

    after: Samples = {}
    wait_until(settled, 60, "the record stands still and the scrape agrees with it")
    counters = [each for each in before if each[0].endswith("_total")]
    assert len(counters) > 40
    assert [each for each in counters if after[each] < before[each]] == []


def test_a_scrape_follows_ports_and_links(laggd: Daemon) -> None:
    assert scrape(laggd)["laggd_lagg_ports", "lagg0"] == 2
    laggd.ctl("detach", "lagg0", "p1")
    seen = scrape(laggd)
    assert seen["laggd_lagg_ports", "lagg0"] == 1
    assert ("laggd_port_carrier", "lagg0", "p1") not in seen
    laggd.host.set_link("p0", state="down")
    wait_until(
        lambda: scrape(laggd)["laggd_lagg_carrier", "lagg0"] == 0, 60, "no carrier"
    )
