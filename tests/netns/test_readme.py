# SPDX-License-Identifier: BSD-2-Clause
"""README's blocks are pasted whole, as a reader would, into hosts that are new."""

import stat
from pathlib import Path

import pytest

from lab import Lab
from tests.test_docs import README, blocks_of
from tests.tree import ROOT

SECONDS = 120

ELSEWHERE = ("tools/demo", "packaging/build-deb", "-m build")
"""What other tests run, for minutes: the demo, the package, the wheel."""

BLOCKS = [
    block
    for block in blocks_of(README, "sh")
    if not any(each in block for each in ELSEWHERE)
]


@pytest.fixture
def sudo(tmp_path: Path) -> Path:
    """Where a sudo is that does as it is told, but for what has been set up."""
    program = tmp_path / "sudo"
    program.write_text('#!/bin/sh\n[ "$1" = tools/setup ] || exec "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


INTERFACES = """\
auto bond0
iface bond0 inet manual
    bond-slaves eth1 eth2
    bond-mode 802.3ad
"""


def test_every_block_of_the_readme_is_pasted(sudo: Path) -> None:
    """On one host, in their order, each in a /run and /etc of its own."""
    (sudo / "interfaces").write_text(INTERFACES)
    network = f"mkdir /etc/network && cp {sudo}/interfaces /etc/network"
    private = f"mount -t tmpfs run /run && mount -t tmpfs etc /etc && {network}"
    said = []
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for number in (1, 2):
            lab.cable(near, f"eth{number}", far, f"far{number}")
        before = near.links()
        for number, block in enumerate(BLOCKS):
            script = sudo / f"block{number}"
            script.write_text(f"set -e\ncd {ROOT}\nPATH={sudo}:$PATH\n{block}wait\n")
            paste = f"{private} && bash {script}"
            said.append(near.run("sh", "-c", paste, timeout_s=SECONDS).stdout)
        assert near.links() == before
    using, importing = said
    assert "lagg0: failover: eth1" in using
    assert 'proto = "lacp"' in importing
