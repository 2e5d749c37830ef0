# SPDX-License-Identifier: BSD-2-Clause
"""What is told of a port, how often, and what is forgotten with it."""

from dataclasses import replace

from lagg.lacp.notices import INTERVAL_NS, Teller, describe
from lagg.lacp.port import NOBODY, Port
from lagg.lacp.values import Churn, Instant, Notice, NoticeKind, Party, PortId, State
from tests.lacp.world import LINK, SECOND, settings, system

WHY = "carrier down"
B = Party(system("B"), 7, PortId(0x8000, 3), State.SYNC)


def port(number: int = 1) -> Port:
    return Port(number, "02:00:5e:00:01:0a", 0x8000, LINK, settings("A"), key=1)


def told(teller: Teller, it: Port, why: str | None, now: Instant) -> list[Notice]:
    return list(teller.changes(it, why, now))


def known(it: Port, why: str | None = WHY) -> Teller:
    teller = Teller()
    assert told(teller, it, why, 0) == [], "what a port begins as is no news"
    assert teller.due_at() is None
    return teller


def test_each_fact_that_changes_is_told_in_its_words() -> None:
    it = port()
    teller = known(it)
    it.partner, it.defaulted = B, False
    it.counts.lacpdu_late += 1
    it.actor_churn = it.partner_churn = Churn.CHURN
    it.loop_while = it.held_until = 9
    it.duplicate_of = 2
    assert told(teller, it, "held: because", 1) == [
        Notice(1, NoticeKind.PARTNER, describe(B)),
        Notice(1, NoticeKind.LATE, "the partner was not heard in time"),
        Notice(1, NoticeKind.ACTOR_CHURN, "held: because"),
        Notice(1, NoticeKind.PARTNER_CHURN, "held: because"),
        Notice(1, NoticeKind.LOOP_BACK, "held: because"),
        Notice(1, NoticeKind.DUPLICATE, "held: because"),
        Notice(1, NoticeKind.HELD, "held: because"),
    ]
    assert told(teller, it, None, 2) == [Notice(1, NoticeKind.DISTRIBUTING, "started")]
    it.partner, it.defaulted = NOBODY, True
    assert told(teller, it, None, 1 + INTERVAL_NS) == [
        Notice(1, NoticeKind.PARTNER, "none")
    ]


def test_that_a_trouble_is_over_is_not_told() -> None:
    it = port()
    it.actor_churn = Churn.CHURN
    it.held_until = 9
    teller = known(it)
    it.actor_churn, it.held_until = Churn.NO_CHURN, None
    assert told(teller, it, WHY, 1) == []
    assert teller.due_at() is None


def test_what_comes_too_fast_is_told_once_an_interval_after_the_last() -> None:
    it = port()
    teller = known(it)
    assert told(teller, it, None, 10) == [Notice(1, NoticeKind.DISTRIBUTING, "started")]
    for at, why in ((20, WHY), (30, None), (40, WHY)):
        assert told(teller, it, why, at) == []
        assert teller.due_at() == 10 + INTERVAL_NS
    assert told(teller, it, WHY, 9 + INTERVAL_NS) == []
    late = f"stopped: {WHY} (3 changes since)"
    assert told(teller, it, WHY, 10 + INTERVAL_NS) == [
        Notice(1, NoticeKind.DISTRIBUTING, late)
    ]
    assert teller.due_at() is None


def test_one_change_that_had_to_wait_is_told_without_a_number() -> None:
    it = port()
    teller = known(it)
    assert told(teller, it, None, 10) == [Notice(1, NoticeKind.DISTRIBUTING, "started")]
    assert told(teller, it, WHY, 20) == []
    (notice,) = told(teller, it, WHY, 10 + INTERVAL_NS)
    assert notice == Notice(1, NoticeKind.DISTRIBUTING, f"stopped: {WHY}")


def test_a_trouble_that_was_over_before_it_could_be_told_is_not_told() -> None:
    it = port()
    teller = known(it)
    it.held_until = 9
    assert told(teller, it, WHY, 10) == [Notice(1, NoticeKind.HELD, WHY)]
    it.held_until = None
    assert told(teller, it, WHY, 20) == []
    it.held_until = 9
    assert told(teller, it, WHY, 30) == []
    it.held_until = None
    assert told(teller, it, WHY, 40) == []
    assert teller.due_at() is None
    assert told(teller, it, WHY, 10 + INTERVAL_NS) == []


def test_a_port_that_is_gone_is_forgotten_and_no_other() -> None:
    first, second = port(1), port(2)
    teller = known(first)
    told(teller, second, WHY, 0)
    for it in (first, second):
        assert told(teller, it, None, 10) == [
            Notice(it.number, NoticeKind.DISTRIBUTING, "started")
        ]
        assert told(teller, it, WHY, 20) == []
    teller.forget(1)
    teller.forget(3)  # nobody has heard of it
    assert teller.due_at() == 10 + INTERVAL_NS
    # Back in the same second: it is new, and its limit is, too.
    assert told(teller, first, None, 30) == []
    late = f"stopped: {WHY}"
    assert told(teller, first, WHY, 40) == [Notice(1, NoticeKind.DISTRIBUTING, late)]
    teller.forget(2)
    assert teller.due_at() is None


def test_only_who_the_partner_is_makes_it_another() -> None:
    it = port()
    it.partner, it.defaulted = B, False
    teller = known(it)
    it.partner = replace(B, state=State(0))
    assert told(teller, it, WHY, SECOND) == []
    for at, other in enumerate(
        (
            replace(B, key=8),
            replace(B, system=system("C")),
            replace(B, port=PortId(0x8000, 4)),
        ),
        2,
    ):
        it.partner = other
        assert told(teller, it, WHY, at * SECOND) == [
            Notice(1, NoticeKind.PARTNER, describe(other))
        ]
