# SPDX-License-Identifier: BSD-2-Clause
"""The sketch of the heaviest, held against exact counts, and flows in words."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.cli.flow import frame_of, parse_fields, words_of
from lagg.cli.heaviest import Heaviest, Heavy

STREAMS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9000)), max_size=400)


def counted(stream: list[tuple[int, int]], places: int) -> Heaviest[int]:
    found: Heaviest[int] = Heaviest(places)
    for key, weight in stream:
        found.add(key, weight)
    return found


@given(STREAMS, st.integers(1, 20))
def test_what_each_truly_has_is_within_its_error(
    stream: list[tuple[int, int]], places: int
) -> None:
    exact: Counter[int] = Counter()
    for key, weight in stream:
        exact[key] += weight
    found = counted(stream, places)
    rows = found.top(places + 1)
    assert found.total == exact.total()
    assert len(rows) == min(places, len(exact))
    for row in rows:
        assert row.weight - row.error <= exact[row.key] <= row.weight
        assert row.error * places <= found.total
    assert [row.weight for row in rows] == sorted(
        (row.weight for row in rows), reverse=True
    )
    # Who is heavier than any error can be is among them.
    there = {row.key for row in rows}
    assert all(key in there for key in exact if exact[key] * places > found.total)


@given(STREAMS)
def test_while_all_have_a_place_counts_are_exact(stream: list[tuple[int, int]]) -> None:
    rows = counted(stream, 31).top(31)
    assert all(row.error == 0 for row in rows)
    exact: Counter[int] = Counter()
    for key, weight in stream:
        exact[key] += weight
    assert {row.key: row.weight for row in rows} == exact


def test_who_is_new_takes_the_place_of_the_lightest() -> None:
    found = counted([(1, 10), (2, 5), (3, 1)], 2)
    assert found.top(2) == [Heavy(1, 10, 0), Heavy(3, 6, 5)]
    assert found.top(1) == [Heavy(1, 10, 0)]


@pytest.mark.parametrize(
    "words",
    [
        "src=192.0.2.1 dst=192.0.2.2 proto=tcp sport=4711 dport=443",
        "src=192.0.2.1 dst=192.0.2.2 proto=udp sport=1 dport=65535 vlan=7",
        "src=2001:db8::1 dst=2001:db8::2 proto=sctp sport=9 dport=8 vlan=100.4094",
        "src=2001:db8::1 dst=2001:db8::2 proto=icmp6",
        "src=192.0.2.1 dst=192.0.2.2 proto=89",
        "smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
    ],
)
def test_a_flow_in_words_is_the_one_of_its_frame(words: str) -> None:
    macs = {"smac": "02:00:00:00:00:01", "dmac": "02:00:00:00:00:02"}
    assert words_of(frame_of({**parse_fields(words.split()), **macs})) == words


@given(st.binary(max_size=80))
def test_whatever_a_frame_is_it_has_words(frame: bytes) -> None:
    assert "=" in words_of(frame)
    parse_fields(words_of(frame).split())


def test_a_fragment_has_no_ports() -> None:
    words = "src=192.0.2.1 dst=192.0.2.2 proto=udp sport=1 dport=2"
    macs = {"smac": "02:00:00:00:00:01", "dmac": "02:00:00:00:00:02"}
    frame = bytearray(frame_of({**parse_fields(words.split()), **macs}))
    frame[20] = 0x20  # more of them follow
    assert words_of(bytes(frame)) == "src=192.0.2.1 dst=192.0.2.2 proto=udp"
