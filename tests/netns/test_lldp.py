# SPDX-License-Identifier: BSD-2-Clause
"""lldpd beside laggd, with the file that ships: one neighbour a cable, by its name."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab import Host, Lab, wait_until
from tests.tree import ROOT

FRAGMENT = ROOT / "examples" / "lldpd.d" / "laggd.conf"
CABLES = {"p0": "q0", "p1": "q1"}
HEARD_S = 60.0
"""Far longer than the second that it takes; reached only by what never happens."""

pytestmark = pytest.mark.skipif(
    shutil.which("lldpd") is None, reason="no lldpd: tools/setup --dev installs it"
)

Neighbours = dict[str, set[tuple[str, str]]]


class Lldpd:
    """lldpd in a host, which ends it; it speaks every second.

    Its programs are another user's: they reach nothing in the host's own directory.
    """

    def __init__(self, host: Host, place: Path, commands: str) -> None:
        self._host, self._socket = host, place / f"{host.name}.sock"
        file = place / f"{host.name}.conf"
        file.write_text(f"{commands}\nconfigure lldp tx-interval 1\n")
        with (host.directory / "lldpd.log").open("w") as log:
            words = ("lldpd", "-d", "-u", self._socket, "-O", file)
            host.popen(*words, stdout=log, stderr=log)
        wait_until(self._socket.exists, HEARD_S, "lldpd listens")

    def neighbours(self) -> Neighbours:
        """By each interface, how the ports at the other end are called, and by what."""
        words = ("lldpcli", "-u", str(self._socket), "-f", "json0", "show", "neighbors")
        done = self._host.run(*words, check=False)
        said = json.loads(done.stdout) if done.returncode == 0 else {}
        found: Neighbours = {}
        for lldp in said.get("lldp", []):
            for each in lldp.get("interface", []):
                found.setdefault(each["name"], set()).add(port_id(each))
        return found


def port_id(interface: Mapping[str, Any]) -> tuple[str, str]:
    (port,) = interface["port"]
    (told,) = port["id"]
    return told["type"], told["value"]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where everybody may look."""
    with tempfile.TemporaryDirectory() as name:
        found = Path(name)
        found.chmod(0o755)
        yield found


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A lagg of two ports, whose cables lead to two interfaces of another host."""
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for name, end in CABLES.items():
            lab.cable(near, name, far, end)
        lab.daemon(near).ctl("create", "lagg0", *CABLES)
        yield near, far


def test_a_switch_has_one_neighbour_a_cable_by_the_ports_name(
    hosts: tuple[Host, Host], place: Path
) -> None:
    near, far = hosts
    ours = Lldpd(near, place, FRAGMENT.read_text())
    theirs = Lldpd(far, place, "configure lldp portidsubtype ifname")
    heard: Neighbours = {end: {("ifname", name)} for name, end in CABLES.items()}
    wait_until(lambda: theirs.neighbours() == heard, HEARD_S, "the switch has heard")
    hears: Neighbours = {name: {("ifname", end)} for name, end in CABLES.items()}
    wait_until(lambda: ours.neighbours() == hears, HEARD_S, "we have, too")
    assert theirs.neighbours() == heard
