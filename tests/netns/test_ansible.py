# SPDX-License-Identifier: BSD-2-Clause
"""The Ansible role that ships, with a laggd: checked, reloaded, idempotent.

ansible-core brings 45 MB and takes seconds a run: it is an extra (`ansible`), and the
test one of the long ones.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Daemon, Host, Lab
from lab.daemon import LAGGCTL
from tests.tree import ROOT

PLACE = ROOT / "examples" / "ansible"
PROGRAM = shutil.which(
    "ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="no ansible-core: the extra `ansible`"),
]


class Site:
    """A host with laggd, whose configuration is the role's."""

    def __init__(self, host: Host, laggd: Daemon) -> None:
        self.host, self.laggd = host, laggd
        self.file = host.directory / "laggd.toml"
        inventory = yaml.safe_load((PLACE / "hosts.yml").read_text())
        self.laggs: list[dict[str, Any]] = inventory["laggd"]["vars"]["laggd_laggs"]
        self._hosts = host.directory / "hosts"
        python = f"ansible_python_interpreter={sys.executable}"
        self._hosts.write_text(f"[laggd]\nhere {python}")

    def play(self, *words: str) -> dict[str, int]:
        """Runs the playbook; its recap of the host, by ok, changed, failed, ..."""
        given = {
            "laggd_laggs": self.laggs,
            "laggd_file": str(self.file),
            "laggd_laggctl": f"{LAGGCTL} --socket {self.laggd.socket}",
            "ansible_become": False,
        }
        done = self.host.run(
            *("env", "ANSIBLE_NOCOLOR=1", f"ANSIBLE_LOCAL_TEMP={self.host.directory}"),
            *(str(PROGRAM), "-i", str(self._hosts), "-c", "local"),
            *("-e", json.dumps(given), str(PLACE / "site.yml"), *words),
            check=False,
            timeout_s=300,
        )
        print(done.stdout, done.stderr)
        recap = re.search(r"^here\s+: (.*)$", done.stdout, re.MULTILINE)
        assert recap is not None
        pairs = (pair.split("=") for pair in recap[1].split())
        return {key: int(count) for key, count in pairs}


@pytest.fixture
def site() -> Iterator[Site]:
    with Lab() as lab:
        host, far = lab.host("near"), lab.host("far")
        for port in ("eth1", "eth2"):
            lab.cable(host, port, far, port)
        config = host.directory / "laggd.toml"
        config.write_text("")
        yield Site(host, lab.daemon(host, config=config))


def test_the_role_writes_checks_and_reloads_and_does_nothing_twice(site: Site) -> None:
    """--check changes nothing; what laggd would refuse is not written."""
    assert site.play("--check", "--diff")["changed"] > 0
    assert site.laggd.records() == []
    first = site.play()
    assert (first["failed"], first["changed"]) == (0, 2), "the file, and the reload"
    lagg = site.laggd.record()
    assert lagg["proto"] == "lacp"
    assert [port["name"] for port in lagg["ports"]] == ["eth1", "eth2"]
    assert lagg["ports"][1]["lacp_port_priority"] == 100
    assert lagg["options"]["watch"] != []
    assert site.play()["changed"] == 0
    written = site.file.read_text()
    site.laggs[0]["rr_limit"] = -1
    assert site.play()["failed"] == 1
    assert site.file.read_text() == written
    assert site.laggd.record()["generation"] == lagg["generation"]
