# SPDX-License-Identifier: BSD-2-Clause
"""The Debian package on a clean Debian: purged without trace, and run by its systemd.

Needs a Debian mirror once; the base is kept in ~/.cache/laggd.
"""

import json
import re
import resource
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Host, Lab, wait_until
from lab.debian import MissingError
from lagg.daemon.journal import MESSAGE_IDS
from lagg.events import EventKind
from tests.debian_root import Machine, Root
from tests.netns.crossing import DEADLINE_S, Crossing, wait_for_status
from tests.netns.units import (
    FORWARDER,
    IN_UNIT,
    LAGGD,
    OPEN,
    SEND,
    SOCKET,
    pid_of,
    replaced,
)
from tests.tree import ROOT

CONFIG = """
[[lagg]]
name = "lagg0"
proto = "{proto}"
ports = ["p0", "p1"]
mac = "02:00:5e:00:53:01"
"""

# Where a skipped test is one letter among hundreds, this is a paragraph.
pytestmark = pytest.mark.filterwarnings("always:NOT TESTED:UserWarning")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("deb")
    subprocess.run([ROOT / "packaging" / "build-deb", out], check=True)
    (found,) = out.glob("laggd_*.deb")
    return found


def unpacked(directory: Path) -> Root:
    try:
        return Root.unpacked(directory)
    except MissingError as reason:
        warnings.warn(f"NOT TESTED: the Debian package: {reason}", stacklevel=1)
        pytest.skip(str(reason))


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[Root]:
    with unpacked(tmp_path / "root").layer(tmp_path / "layer") as layer:
        yield layer


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Root:
    """With the package; what each test does to it is done to a layer above."""
    root = unpacked(tmp_path_factory.mktemp("installed") / "root")
    install(root, package)
    return root


@pytest.fixture
def root(installed: Root, tmp_path: Path) -> Iterator[Root]:
    with installed.layer(tmp_path / "layer") as layer:
        yield layer


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        hosts = made.host("near"), made.host("far")
        for i in range(2):
            made.cable(hosts[0], f"p{i}", hosts[1], f"q{i}")
        yield made


@pytest.fixture
def near(lab: Lab) -> Host:
    return lab.hosts["near"]


def install(root: Root, package: Path) -> None:
    place = root.directory / "laggd.deb"
    place.write_bytes(package.read_bytes())
    root.chroot("dpkg", "--install", "/laggd.deb")
    place.unlink()


def test_it_is_installed_whole_and_purged_without_trace(
    clean: Root, package: Path
) -> None:
    before = clean.files()
    install(clean, package)
    assert clean.chroot("dpkg", "--verify", "laggd") == ""
    assert "laggd:" in clean.chroot("getent", "passwd", "laggd")
    assert "--seccomp" in clean.chroot("laggd", "--help")
    assert clean.chroot("laggctl", "check", "/etc/laggd/laggd.toml")
    assert clean.examples("usr/share/doc/laggd") == Root(ROOT).examples("")
    clean.chroot("dpkg", "--purge", "laggd")
    assert before.items() ^ clean.files().items() == set()


# ---- under systemd -----------------------------------------------------------------


@pytest.fixture
def machine(root: Root, near: Host) -> Iterator[Machine]:
    """Runs a lagg0 of p0 and p1."""
    configure(root, "failover")
    drop_in = root.directory / "etc/systemd/system/laggd.service.d/test.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=10s\n")
    with root.booted(near) as booted:
        try:
            booted.run("systemctl", "start", "laggd.service")
            yield booted
        finally:  # shown when a test fails
            print(booted.run("journalctl", "--no-pager", "--unit=lagg*"))


LOCKED_BYTES = 64 << 20
CAP_SYS_RESOURCE = 24


def test_the_unit_may_open_tun_and_lock_memory_and_nothing_else(
    machine: Machine, near: Host
) -> None:
    near.run("ip", "link", "set", "lo", "up")
    machine.run("mknod", "-m", "666", "/dev/other", "c", "1", "5")  # as /dev/zero
    machine.run("mknod", "-m", "666", "/dev/another", "c", "1", "11")  # as /dev/kmsg
    opening = ("python3", "-c", OPEN, "/dev/net/tun", "/dev/other", "/dev/another")
    sending = ("python3", "-c", SEND, "127.0.0.1")
    assert {line.split()[1] for line in machine.run(*opening).splitlines()} == {
        "opened"
    }
    assert machine.run(*sending) == "127.0.0.1 sent\n"
    in_unit = ("sh", "-c", IN_UNIT, "sh")
    assert machine.run(*in_unit, *opening) == (
        "/dev/net/tun opened\n/dev/other opened\n/dev/another Operation not permitted\n"
    )
    refused = "127.0.0.1 Operation not permitted\n"
    assert machine.run(*in_unit, *sending) == refused
    limits = machine.run("cat", f"/proc/{pid_of(machine)}/limits")
    assert re.search(rf"^Max locked memory\s+{lockable()} ", limits, re.MULTILINE)
    (lagg,) = json.loads(machine.run("laggctl", "--json", "show"))
    assert [port["tx"] for port in lagg["ports"]] == ["xdp+packet"] * 2


def lockable() -> int:
    """The unit's LimitMEMLOCK=, or as much of it as a systemd started here may give."""
    rows = dict(
        row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines()
    )
    if int(rows["CapEff"], 16) >> CAP_SYS_RESOURCE & 1:
        return LOCKED_BYTES
    return min(LOCKED_BYTES, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1])


def test_the_drop_in_for_metrics_serves_them_to_this_machine_alone(
    machine: Machine, root: Root, near: Host
) -> None:
    near.run("ip", "link", "set", "lo", "up")
    near.run("ip", "address", "add", "192.0.2.1/24", "dev", "lo")
    examples = root.directory / "usr/share/doc/laggd/examples/laggd.service.d"
    here = root.directory / "etc/systemd/system/laggd.service.d"
    shutil.copy(examples / "metrics.conf", here)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "laggd.service")
    wait_for_status(machine, "1 lagg, 2 ports, 1 carries")
    page = machine.run("python3", "-c", SCRAPE, "http://127.0.0.1:9750/metrics")
    assert 'laggd_port_carrier{lagg="lagg0",port="p0"} 1.0' in page
    sending = ("python3", "-c", SEND, "127.0.0.1", "192.0.2.1")
    assert machine.run("sh", "-c", IN_UNIT, "sh", *sending) == (
        "127.0.0.1 sent\n192.0.2.1 Operation not permitted\n"
    )


SCRAPE = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())
"""


# ---- an upgrade --------------------------------------------------------------------

NEXT = "0.1.0+next"
VERSION = """
import socket
with socket.socket(socket.AF_UNIX) as laggd:
    laggd.connect("/run/laggd/laggd.sock")
    laggd.sendall(b'{"method": "org.varlink.service.GetInfo"}\\0')
    print(laggd.recv(65536).rstrip(b"\\0").decode())
"""


@pytest.fixture(scope="module")
def later(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the next version, which ships another laggd.toml."""
    tree = tmp_path_factory.mktemp("next") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(
        re.sub(r"^Version: .*$", f"Version: {NEXT}", control.read_text(), flags=re.M)
    )
    code = tree / "usr/lib/laggd/lagg"
    (code / "__init__.py").write_text(f'__version__ = "{NEXT}"\n')
    for compiled in (code / "__pycache__").glob("__init__.*"):
        compiled.unlink()
    with (code / "lagg-forwarder").open("ab") as program:
        program.write(b"Of the next version.")
    with (tree / "etc/laggd/laggd.toml").open("a") as conffile:
        conffile.write("# Of the next version.\n")
    return built(tree, tree.parent / "next.deb")


def built(tree: Path, package: Path) -> Path:
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, package],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return package


def upgrade(machine: Machine, root: Root, package: Path) -> str:
    """Or the way back; what dpkg has said."""
    shutil.copy(package, root.directory / "next.deb")
    said = machine.run("dpkg", "--force-confdef,downgrade", "--install", "/next.deb")
    (root.directory / "next.deb").unlink()
    return said


def version(machine: Machine) -> str:
    found: str = json.loads(machine.run("python3", "-c", VERSION))["parameters"][
        "version"
    ]
    return found


def test_an_upgrade_goes_on_with_every_lagg_and_a_purge_leaves_none(
    machine: Machine, root: Root, near: Host, later: Path
) -> None:
    more = root.directory / "etc/laggd/laggd.d/mine.toml"
    more.write_text('[[lagg]]\nname = "lagg1"\n')
    machine.run("systemctl", "reload", "laggd.service")
    machine.run("laggctl", "create", "byhand0")
    wait_for_status(machine, "3 laggs, 2 ports, 1 carries")
    pid, before = pid_of(machine), version(machine)
    held = [near.ifindex(name) for name in ("lagg0", "lagg1", "byhand0")]
    upgrade(machine, root, later)
    assert pid_of(machine) != pid
    assert (version(machine), before) != (before, NEXT)
    wait_for_status(machine, "3 laggs, 2 ports, 1 carries")
    assert [near.ifindex(name) for name in ("lagg0", "lagg1", "byhand0")] == held
    assert macs(near) == ["02:00:5e:00:53:01"] * 2
    kept = (root.directory / "etc/laggd/laggd.toml").read_text()
    assert (kept, more.exists()) == (CONFIG.format(proto="failover"), True)
    assert machine.property_of("laggd", "NRestarts") == "0"

    machine.run("dpkg", "--purge", "laggd")
    assert len(set(macs(near))) == 2
    assert not {name for name in near.links() if "lagg" in name or "byhand" in name}
    ours = {path for path in root.files() if "lagg" in path}
    admins = "etc/systemd/system/laggd.service.d"
    assert ours == {admins, f"{admins}/test.conf"}
    assert "laggd" not in (root.directory / "etc/passwd").read_text()
    assert "lagg" not in machine.run("systemctl", "list-units", "--all", "--plain")


def test_an_upgrade_leaves_laggd_alone_where_policy_says_so(
    machine: Machine, root: Root, later: Path
) -> None:
    policy = root.directory / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    pid, before = pid_of(machine), version(machine)
    upgrade(machine, root, later)
    assert (pid_of(machine), version(machine)) == (pid, before)
    wait_for_status(machine, "1 lagg, 2 ports, 1 carries")


def configure(root: Root, proto: str) -> None:
    (root.directory / "etc/laggd/laggd.toml").write_text(CONFIG.format(proto=proto))


def macs(near: Host) -> list[str]:
    return [near.link(name).mac for name in ("p0", "p1")]


def entry_of(machine: Machine, *fields: str) -> dict[str, str]:
    """The one entry of the journal that has these."""
    words = ("journalctl", "--output=json", "--no-pager", *fields)
    (line,) = machine.run(*words).splitlines()
    found: dict[str, str] = json.loads(line)
    return found


def test_systemd_runs_it_as_laggd_and_puts_all_back_when_it_is_stopped(
    machine: Machine, root: Root, near: Host
) -> None:
    wait_for_status(machine, "1 lagg, 2 ports, 1 carries")
    rows = machine.run("cat", f"/proc/{pid_of(machine)}/status")
    uid = machine.run("id", "-u", "laggd").strip()
    assert re.search(rf"^Uid:\s{uid}\s", rows, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0000000000003000$", rows, re.MULTILINE)
    rows = machine.run("cat", f"/proc/{pid_of(machine, FORWARDER)}/status")
    assert re.search(rf"^Uid:\s{uid}\s", rows, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0000000000000000$", rows, re.MULTILINE)

    configure(root, "loadbalance")
    machine.run("systemctl", "reload", "laggd.service")
    wait_for_status(machine, "1 lagg, 2 ports, 2 carry")

    told = entry_of(machine, "LAGG=lagg0", "EVENT=proto")
    assert told["MESSAGE"].startswith("lagg0: proto: failover -> loadbalance, by ")
    assert told["MESSAGE_ID"] == MESSAGE_IDS[EventKind.PROTO]
    assert (told["PRIORITY"], told["BY_UID"]) == ("6", uid)  # ExecReload='s
    assert told["_SYSTEMD_UNIT"] == "laggd.service"

    assert macs(near) == ["02:00:5e:00:53:01"] * 2
    machine.run("laggctl", "stop")
    assert machine.property_of("laggd", "ActiveState") == "inactive"
    assert machine.property_of("laggd", "Result") == "success"
    assert len(set(macs(near))) == 2
    assert not near.has_link("lagg0")
    wait_until(
        lambda: machine.property_of(FORWARDER, "ActiveState") == "inactive",
        DEADLINE_S,
        "lagg-forwarder has ended",
    )
    assert machine.property_of(FORWARDER, "Result") == "success"


# ---- what frames outlive -----------------------------------------------------------

BURST = 32
"""Frames each way that the death of a forwarder may cost."""


def test_what_systemd_does_with_either_half_costs_no_frame(
    lab: Lab, machine: Machine, root: Root, package: Path, later: Path, long_run: bool
) -> None:
    configure(root, "loadbalance")
    machine.run("systemctl", "reload", "laggd.service")
    crossing = Crossing(lab, machine)
    with crossing.unbroken("laggctl restart"):
        said = machine.run("laggctl", "restart")
    assert re.fullmatch(r"adopted 1 lagg, 2 ports; away \d+ ms; forwarder kept\n", said)
    with crossing.unbroken("systemctl restart laggd"), replaced(machine, LAGGD):
        machine.run("systemctl", "restart", LAGGD)
    for signal in ("KILL", "STOP") if long_run else ("KILL",):  # STOP: the watchdog
        with crossing.unbroken(f"{signal} of laggd"), replaced(machine, LAGGD):
            machine.run("systemctl", "kill", f"--signal={signal}", LAGGD)
    with (
        crossing.unbroken("systemctl restart lagg-forwarder"),
        replaced(machine, FORWARDER),
    ):
        machine.run("systemctl", "restart", FORWARDER)
    with (
        crossing.unbroken("KILL of lagg-forwarder", lost_max=BURST),
        replaced(machine, FORWARDER),
    ):
        machine.run("systemctl", "kill", "--signal=KILL", FORWARDER)
    for deb in (later, package):
        with (
            crossing.unbroken(f"dpkg --install {deb.name}"),
            replaced(machine, LAGGD),
            replaced(machine, FORWARDER),
        ):
            assert "no frame flows" not in upgrade(machine, root, deb)


# ---- what no lagg ends by ----------------------------------------------------------

LAGGS = ("lagg0", "byhand0")


@pytest.fixture
def held(machine: Machine, near: Host) -> Iterator[list[int]]:
    """Two laggs, of which no file names one; they are the same at the end."""
    machine.run("laggctl", "create", "byhand0")
    wait_for_status(machine, BOTH)
    found = [near.ifindex(name) for name in LAGGS]
    yield found
    wait_for_status(machine, BOTH)
    assert [near.ifindex(name) for name in LAGGS] == found


BOTH = "2 laggs, 2 ports, 1 carries"


@pytest.mark.usefixtures("held")
def test_both_halves_are_restarted_at_once_and_no_lagg_ends(machine: Machine) -> None:
    for units in (LAGGD, FORWARDER), (FORWARDER, LAGGD), ("lagg*.service",):
        with replaced(machine, LAGGD), replaced(machine, FORWARDER):
            machine.run("systemctl", "restart", *units)
        wait_for_status(machine, BOTH)


@pytest.mark.usefixtures("held")
def test_where_systemd_listens_for_laggd_is_not_restarted_by_hand(
    machine: Machine,
) -> None:
    before = [pid_of(machine, unit) for unit in (LAGGD, FORWARDER)]
    for what in "restart", "stop":
        said = machine.run("sh", "-c", f"! systemctl {what} {SOCKET} 2>&1")
        assert "Operation refused" in said
    assert [pid_of(machine, unit) for unit in (LAGGD, FORWARDER)] == before
    assert machine.property_of(SOCKET, "ActiveState") == "active"


@pytest.mark.usefixtures("held")
def test_a_forwarder_that_cannot_be_started_is_tried_until_it_can(
    machine: Machine, root: Root
) -> None:
    program = root.directory / "usr/lib/laggd/lagg/lagg-forwarder"
    away = program.rename(program.with_name("away"))
    with replaced(machine, FORWARDER):
        machine.run("systemctl", "kill", "--signal=KILL", FORWARDER)
        wait_until(
            lambda: int(machine.property_of(FORWARDER, "NRestarts")) > 2,
            DEADLINE_S,
            "it was tried",
        )
        away.rename(program)


def test_wrong_files_end_no_lagg_and_a_start_with_them_is_not_tried_again(
    machine: Machine, root: Root, near: Host
) -> None:
    held = near.ifindex("lagg0")
    (root.directory / "etc/laggd/laggd.toml").write_text("[[lagg]]\nname = 1\n")
    with replaced(machine, LAGGD):
        machine.run("systemctl", "restart", LAGGD)
    assert near.ifindex("lagg0") == held
    assert "name: 1 is not an interface name" in machine.property_of(
        LAGGD, "StatusText"
    )
    machine.run("systemctl", "stop", LAGGD)
    assert not near.has_link("lagg0")
    machine.run("sh", "-c", "systemctl start laggd.service || true")
    wait_until(
        lambda: machine.property_of("laggd", "ActiveState") == "failed",
        DEADLINE_S,
        "laggd has failed",
    )
    assert machine.property_of("laggd", "ExecMainStatus") == "78"
    assert machine.property_of("laggd", "NRestarts") == "0"


# ---- another layout ----------------------------------------------------------------

ODD = """
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    return argc > 1 ? puts("lagg-forwarder 0.1.0 layout 00000000") < 0
                    : execv("/usr/lib/laggd/lagg/real", argv);
}
"""
"""lagg-forwarder, but for the layout that it says it has."""


@pytest.mark.long
def test_what_cannot_go_on_with_the_laggs_is_stopped_and_started(
    machine: Machine, root: Root, near: Host, package: Path, tmp_path: Path
) -> None:
    tree, out = tmp_path / "tree", tmp_path / "odd.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    program = tree / "usr/lib/laggd/lagg/lagg-forwarder"
    program.rename(program.with_name("real"))
    compile_it = ["gcc", "-static", "-x", "c", "-", "-o", str(program)]
    subprocess.run(compile_it, input=ODD, text=True, check=True)
    built(tree, out)
    held = near.ifindex("lagg0")
    said = upgrade(machine, root, out)
    assert said.count("no frame flows while it is stopped and started") == 1
    wait_for_status(machine, "1 lagg, 2 ports, 1 carries")
    assert near.ifindex("lagg0") != held
