# SPDX-License-Identifier: BSD-2-Clause
"""`laggctl picture`: an SVG that any reader takes, with what the records say."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from lagg import cli
from lagg.cli.picture_page import (
    PORT_X,
    WAY_MAX_PX,
    WAY_MIN_PX,
    WIDTH,
    picture_page,
)
from lagg.records import LaggRecord
from tests.control.world import World, a_record

SVG = "{http://www.w3.org/2000/svg}"


def words_of(picture: str) -> list[str]:
    return [
        text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")
    ]


def test_it_has_host_laggs_ports_with_shares_and_partners(
    laggs: list[LaggRecord],
) -> None:
    words = words_of(picture_page("tor", laggs))
    assert [(words[at], words[at + 1]) for at in range(0, len(words), 2)] == [
        ("eth0, 10 Gbit/s", "sends 50 %, receives 50 %"),
        ("eth1", "carrier down"),
        ("lagg0", "failover, up, 10 Gbit/s"),
        ("eth0, 10 Gbit/s", "sends 75 %, receives 0 %"),
        ("eth1", "sends 25 %, receives 100 %"),
        ("02:00:5e:00:53:99", "LACP partner, key 7"),
        ("lagg1", "lacp, up, 10 Gbit/s"),
        ("eth7", "waited for"),
        ("eth8", "waited for"),
        ("lagg20", "failover, no ports"),
        ("tor", "3 laggs"),
    ]


def test_a_way_is_as_thick_as_its_share_and_says_whether_it_carries() -> None:
    lagg = a_record()
    for port, frames in zip(lagg["ports"], (300, 100), strict=True):
        port["tx_frames"], port["rx_frames"] = frames, 0
    ways = ElementTree.fromstring(picture_page("tor", [lagg])).iter(f"{SVG}path")
    of_ports = [way for way in ways if f" {PORT_X} " in way.attrib["d"]]
    room = WAY_MAX_PX - WAY_MIN_PX
    assert [(way.attrib["class"], way.attrib["stroke-width"]) for way in of_ports] == [
        ("way up", f"{WAY_MIN_PX + 0.75 * room:.1f}"),
        ("way down", f"{WAY_MIN_PX:.1f}"),
    ]


def test_nothing_stands_outside_of_it_and_it_needs_nothing_from_outside(
    laggs: list[LaggRecord],
) -> None:
    drawn = picture_page("tor", laggs)
    height = float(ElementTree.fromstring(drawn).attrib["height"])
    boxes = ElementTree.fromstring(drawn).iter(f"{SVG}rect")
    for box in (each.attrib for each in boxes):
        assert float(box.get("x", "0")) + float(box["width"]) <= WIDTH
        assert float(box.get("y", "0")) + float(box["height"]) <= height
    assert re.findall(r"https?://[^\"]*|url\(|@import|href", drawn) == [
        "http://www.w3.org/2000/svg"
    ]


def test_a_strange_name_is_text_and_no_markup() -> None:
    lagg = a_record(name="<&>\x01\udcff'\"")
    assert "<&>??'\"" in words_of(picture_page("a<b", [lagg]))


def test_the_command_writes_a_file(
    world: World, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    world.call("Create", name="lagg0", ports=["eth0"])
    assert cli.main(["picture", "lagg0"]) == 0
    written = capfdbinary.readouterr().out.decode()
    assert "lagg0" in words_of(written)
    assert cli.main(["picture", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out) == {"svg": written.rstrip("\n")}
