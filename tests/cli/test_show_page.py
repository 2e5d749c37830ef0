# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl show` as a page: what it says beside the table."""

from lagg.cli.show_page import plain, show_page
from tests.control.world import a_record


def test_show_tells_who_holds_replaced_snapshots() -> None:
    held = a_record(limbo={"snapshots": 2, "oldest_ms": 350, "worker": 1})
    line = "  2 replaced snapshots in use by worker 1, the oldest for 350 ms\n"
    assert line in show_page([held], plain)
    assert "replaced" not in show_page([a_record()], plain)
    assert "no replaced snapshot in use" in show_page([a_record()], plain, verbose=True)


def test_show_says_why_a_port_is_promiscuous_when_asked_for_more() -> None:
    page = a_record()
    page["ports"][0]["promisc"] = "its lagg is"
    line = "  eth0 is promiscuous: its lagg is"
    assert line in show_page([page], plain, verbose=True).splitlines()
    assert "promiscuous" not in show_page([page], plain)
    assert "promiscuous" not in show_page([a_record()], plain, verbose=True)


def test_show_warns_of_what_somebody_uses_a_port_for() -> None:
    page = a_record()
    page["ports"][0]["warnings"] = ["has vlan eth0.7 on it"]
    assert "    warning: has vlan eth0.7 on it\n" in show_page([page], plain)
