# SPDX-License-Identifier: BSD-2-Clause
"""The systemd units, as systemd itself judges them; no systemd needs to run."""

import json
import os
import re
import shutil
import signal
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from lagg.daemon import process
from lagg.paths import forwarder_program
from tests.tree import ROOT

PACKAGING = ROOT / "packaging"
DEB = PACKAGING / "build-deb"
EXPOSURE_MAX = 2.0
EXPOSURE_WITH_METRICS_MAX = 2.3
EXPOSURE_OF_FORWARDER_MAX = 1.0
LAGGD = "laggd.service"
FORWARDER, DOOR = "lagg-forwarder.service", "lagg-forwarder.socket"
USER = "laggd"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here: tools/setup --dev installs it",
)


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    """laggd's unit's keys; of one that comes again, the last."""
    return keys_of(LAGGD)


def keys_of(name: str) -> dict[str, str]:
    lines = (PACKAGING / name).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {key: value for key, _, value in pairs}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """laggd's, beside those that it needs, with programs that are there."""
    for name in (LAGGD, FORWARDER, DOOR):
        text = (PACKAGING / name).read_text()
        text = text.replace("=/usr/bin/", f"={ROOT}/.venv/bin/")
        text = text.replace("=/usr/lib/laggd/", f"={ROOT}/")
        (tmp_path / name).write_text(text)
    return tmp_path / LAGGD


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return run("systemd-analyze", *words, check=False)


def run(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=check,
    )


def test_systemd_understands_every_line(unit: Path) -> None:
    every = (unit.with_name(name) for name in (LAGGD, FORWARDER, DOOR))
    done = analyze("verify", "--man=no", *every)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["metrics.conf", "web.conf"])
def test_a_drop_in_for_ip_changes_what_it_must_and_no_more(
    unit: Path, name: str
) -> None:
    before = judged(sandbox(unit))
    drop_in(unit, name)
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout) == (0, "")
    after = judged(unit)
    assert {row for row in after if after[row] != before[row]} == {
        "RestrictAddressFamilies_AF_INET_INET6",
        "IPAddressDeny",
    }
    threshold = f"--threshold={int(EXPOSURE_WITH_METRICS_MAX * 10)}"
    assert analyze("security", "--offline=true", threshold, unit).returncode == 0


def drop_in(unit: Path, name: str) -> None:
    """One of examples/, with a program that is there."""
    text = (ROOT / "examples/laggd.service.d" / name).read_text()
    path = unit.with_suffix(".service.d") / name
    path.parent.mkdir()
    path.write_text(text.replace("=/usr/bin/", f"={ROOT}/.venv/bin/"))


def sandbox(unit: Path) -> Path:
    """The unit as one of any time: of an early one systemd does not judge every row."""
    text = unit.read_text().replace("DefaultDependencies=no\n", "")
    unit.write_text(text)
    return unit


def judged(unit: Path) -> dict[str, bool | None]:
    """What systemd asks of a unit, and whether it is so."""
    said = analyze("security", "--offline=true", "--json=short", unit)
    return {row["json_field"]: row["set"] for row in json.loads(said.stdout)}


def test_a_line_that_systemd_does_not_understand_is_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSeconds="))
    assert "WatchdogSeconds" in analyze("verify", "--man=no", unit).stdout


def test_the_unit_is_little_exposed(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--json=short", sandbox(unit))
    assert said.returncode == 0, said.stdout
    rows = {row["name"]: row for row in json.loads(said.stdout)}
    assert rows["NoNewPrivileges="]["set"] is True
    threshold = f"--threshold={int(EXPOSURE_MAX * 10)}"
    judged = analyze("security", "--offline=true", threshold, unit)
    assert judged.returncode == 0, judged.stdout


def test_the_unit_of_the_forwarder_is_less_exposed_still(unit: Path) -> None:
    forwarder = sandbox(unit.with_name(FORWARDER))
    threshold = f"--threshold={int(EXPOSURE_OF_FORWARDER_MAX * 10)}"
    judged = analyze("security", "--offline=true", threshold, forwarder)
    assert judged.returncode == 0, judged.stdout
    assert EXPOSURE_OF_FORWARDER_MAX < EXPOSURE_MAX


def test_laggd_finds_the_forwarder_where_systemd_listens(
    service: dict[str, str],
) -> None:
    door = keys_of(DOOR)
    assert f"--forwarder {door['ListenSequentialPacket']}" in service["ExecStart"]
    assert (door["SocketUser"], door["SocketMode"]) == (USER, "0600")
    assert keys_of(FORWARDER)["User"] == USER
    program = keys_of(FORWARDER)["ExecStart"].removeprefix("/usr/lib/laggd/")
    assert ROOT / program == forwarder_program()


def test_a_restart_leaves_all_and_a_stop_puts_it_back(service: dict[str, str]) -> None:
    assert service["RestartKillSignal"] == process.LEAVE_SIGNAL.name
    assert signal.Signals[service["KillSignal"]] in process.STOP_SIGNALS


def test_a_laxer_unit_would_be_refused(unit: Path) -> None:
    lax = sandbox(unit).read_text().replace("CapabilityBoundingSet=", "#")
    unit.write_text(lax.replace("SystemCallFilter=", "#"))
    threshold = f"--threshold={int(EXPOSURE_MAX * 10)}"
    assert analyze("security", "--offline=true", threshold, unit).returncode != 0


# What else boots, in the words of its own unit that are about order: ifupdown of
# Debian 12, and cloud-init, which wants the network before sysinit.target.
BOOTING = {
    "networking.service": """
        DefaultDependencies=no
        Wants=network.target
        After=local-fs.target network-pre.target systemd-sysctl.service
        Before=network.target shutdown.target network-online.target
        """,
    "cloud-init.service": """
        DefaultDependencies=no
        After=networking.service systemd-networkd-wait-online.service
        Before=network-online.target sysinit.target
        """,
}


def test_ifupdown_finds_the_lagg_that_it_has_to_configure(
    unit: Path, service: dict[str, str]
) -> None:
    """`auto lagg0` gets its address at boot, and no job is dropped for a cycle."""
    assert "networking.service" in service["Before"].split()
    boot(unit)
    found = analyze("verify", "--man=no", unit, *unit.parent.glob("*-boots.target"))
    assert (found.returncode, found.stdout) == (0, "")


def test_default_dependencies_would_be_a_cycle(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("DefaultDependencies=no", ""))
    boot(unit)
    found = analyze("verify", "--man=no", unit, *unit.parent.glob("*-boots.target"))
    assert "ordering cycle" in found.stdout


def boot(unit: Path) -> None:
    """A target beside the unit that wants it and all of BOOTING together."""
    for name, order in BOOTING.items():
        text = f"[Unit]\n{order}\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
        unit.with_name(name).write_text("\n".join(map(str.strip, text.splitlines())))
    all_units = " ".join([unit.name, *BOOTING])
    target = f"[Unit]\nDescription=All of it\nWants=sysinit.target {all_units}\n"
    unit.with_name("all-boots.target").write_text(target)


def test_udev_leaves_a_lagg_its_mac() -> None:
    rules = ConfigParser(interpolation=None)
    rules.optionxform = str  # type: ignore[assignment, method-assign]
    rules.read(PACKAGING / "laggd.link")
    assert dict(rules["Match"]) == {"OriginalName": "lagg*", "Driver": "tun"}
    assert rules["Link"]["MACAddressPolicy"] == "none"
    (installed,) = re.findall(r"network/(\S+\.link)", DEB.read_text())
    assert installed < "99-default.link"  # the first that matches counts


def test_two_capabilities_and_a_user_of_its_own(service: dict[str, str]) -> None:
    both = "CAP_NET_ADMIN CAP_NET_RAW"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == both
    assert service["User"] == service["Group"] == USER
    assert f"--group {USER}" in service["ExecStart"]


def test_what_trying_again_would_not_help_is_not_tried(service: dict[str, str]) -> None:
    final = {process.UNLIKE, process.NO_PERMISSION, process.BAD_CONFIG}
    assert {*map(int, service["RestartPreventExitStatus"].split())} == final


@pytest.mark.parametrize("kind", ["sysusers", "tmpfiles"])
def test_user_and_directory_are_made_as_the_unit_wants_them(
    kind: str, tmp_path: Path
) -> None:
    if shutil.which(f"systemd-{kind}") is None:
        pytest.skip(f"no systemd-{kind} here")
    if kind == "tmpfiles" and os.geteuid() != 0:
        pytest.skip("only root gives a directory away")
    (tmp_path / "etc").mkdir()
    rules = PACKAGING / f"laggd.{kind}"
    run("systemd-sysusers", f"--root={tmp_path}", PACKAGING / "laggd.sysusers")
    if kind == "sysusers":
        rows = (tmp_path / "etc/passwd").read_text().splitlines()
        (row,) = (row for row in rows if row.startswith(f"{USER}:"))
        assert row.endswith(":/nonexistent:/usr/sbin/nologin")
        assert f"\n{USER}:" in "\n" + (tmp_path / "etc/group").read_text()
    else:
        run("systemd-tmpfiles", "--create", f"--root={tmp_path}", rules)
        assert (tmp_path / "run/laggd").is_dir()
