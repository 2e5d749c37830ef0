# SPDX-License-Identifier: BSD-2-Clause
"""What laggd loads for as long as it lives, on the real kernel."""

import pytest

from lab import Lab
from tests.kernel.test_library import UNUSED


def test_a_laggd_at_work_loads_nothing_more_of_pyroute2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each module that is loaded is a line of its log here."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with Lab() as lab:
        near, far = lab.host("near"), lab.host("far")
        for port in ("p0", "p1"):
            lab.cable(near, port, far, f"far-{port}")
        laggd = lab.daemon(near, log_level="info")
        laggd.ctl("create", "lagg0", "--port", "p0", "--proto", "lacp")
        laggd.ctl("attach", "lagg0", "p1")
        laggd.ctl("set", "lagg0", "--proto", "failover", "--mtu", "1400")
        laggd.ctl("show", "lagg0")
        laggd.ctl("detach", "lagg0", "p1")
        assert laggd.stop() == 0
        log = laggd.log.read_text().splitlines()
        loaded = {line.rpartition("|")[2].strip() for line in log}
    assert "pyroute2.netlink.rtnl.ifinfmsg" in loaded
    assert loaded.isdisjoint(UNUSED)
