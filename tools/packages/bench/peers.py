# SPDX-License-Identifier: BSD-2-Clause
"""Others that aggregate in user space, where they are installed.

Owns how each is started, made quiet while others are measured, and what it needs.
Installs nothing.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.cpu import CLIENT_CPU, OTHER_CPU
from bench.systems import FAR_ADDRESS, System, address, hosts
from lab import ovs
from lab.host import CommandError, Host
from lab.lab import Lab
from lab.ping import ping
from lab.waiting import wait_until

TESTPMD = "dpdk-testpmd"
TESTPMD_TAP = "tap0"
MEMORY_MB = 512
HUGEPAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
HUGEPAGE_MB = 2
READY_S = 20.0
MAC = "02:00:5e:00:53:01"

OVS, OVS_TSO, OVS_AFXDP, DPDK = (
    "Open vSwitch AF_PACKET",
    "Open vSwitch userspace-TSO",
    "Open vSwitch AF_XDP",
    "DPDK net_bonding",
)


class Failed(Exception):
    """A peer that is installed did not come up; says why."""


def absent() -> dict[str, str]:
    """Peers that are not here, and what installs them."""
    found = {}
    if lacking := ovs.missing():
        found = dict.fromkeys((OVS, OVS_TSO, OVS_AFXDP), lacking)
    if shutil.which(TESTPMD) is None:
        found[DPDK] = f"no {TESTPMD}: install dpdk-dev"
    return found


def _open_vswitch(lab: Lab, name: str, kind: str, *, tso: bool) -> System:
    """A bond of two ports, the first of which carries; by packet sockets, or as told.

    Without TSO what comes to it is as on a wire: it passes on what a veth left out.
    """
    near, far = hosts(lab, f"ovs-{kind}{'-tso' if tso else ''}", ports=2)
    for host, names in () if tso else ((near, ("p0", "p1")), (far, ("q0", "q1"))):
        for each in names:
            host.complete(each)
    settings = [f"pmd-cpu-mask={1 << OTHER_CPU:#x}"]
    settings += ["userspace-tso-enable=true"] if tso else []
    switch = ovs.OpenVswitch(near, ("p0", "p1"), MAC, kind=kind, settings=settings)
    switch.appctl("bond/set-active-member", ovs.BOND, "p0")
    return _ready(name, near, ovs.BRIDGE, far, polls=kind == "afxdp")


def _dpdk(lab: Lab) -> System:
    """Its forwarder between a TAP and a bond (active-backup) of two packet sockets."""
    near, far = hosts(lab, "dpdk", ports=2)
    for number in range(2):
        near.complete(f"p{number}")
        far.complete(f"q{number}")
    fifo = near.directory / "stdin"
    os.mkfifo(fifo)
    with (near.directory / "testpmd.log").open("w") as log:
        # It ends when its standard input does.
        words = ("sh", "-c", 'exec "$@" <>"$0"', str(fifo), TESTPMD)
        near.popen(*words, *_dpdk_words(), stdout=log, stderr=log)
    wait_until(lambda: near.has_link(TESTPMD_TAP), READY_S, "DPDK makes its TAP")
    return _ready(DPDK, near, TESTPMD_TAP, far, polls=True)


def _dpdk_words() -> list[str]:
    ports = [f"net_af_packet{n},iface=p{n},framecnt=2048,blocksz=4096" for n in (0, 1)]
    slaves = "slave=net_af_packet0,slave=net_af_packet1"
    devices = [*ports, f"net_tap0,iface={TESTPMD_TAP}", f"net_bonding0,mode=1,{slaves}"]
    return [
        *(["--in-memory"] if has_hugepages() else ["--no-huge", "--no-shconf"]),
        *("-m", str(MEMORY_MB), "--no-pci", "-l", f"{OTHER_CPU},{CLIENT_CPU}"),
        *("--main-lcore", str(CLIENT_CPU)),  # which sleeps; the other forwards
        *(f"--vdev={device}" for device in devices),
        *("--", "--nb-cores=1", "--total-num-mbufs=32768", "--portlist=2,3"),
        *("--port-topology=paired", "--forward-mode=io", "--rxd=1024", "--txd=1024"),
    ]


def has_hugepages() -> bool:
    """Whether DPDK finds its memory in huge pages."""
    return HUGEPAGES.exists() and int(HUGEPAGES.read_text()) * HUGEPAGE_MB >= MEMORY_MB


def _ready(name: str, near: Host, near_name: str, far: Host, *, polls: bool) -> System:
    """The system, once pings pass."""
    address(near, near_name, far, "q0")
    wait_until(lambda: _answers(near), READY_S, f"{name} carries")
    pids = tuple(near.pids())
    system = System(name, near, near_name, far, ("q0",), pids, polls)
    return quiet(system) if polls else system


def _answers(near: Host) -> bool:
    return ping(near, FAR_ADDRESS, count=1, wait_s=0.2).lost == 0


def quiet(system: System) -> System:
    """A system whose datapath is stopped but in use: or it would take others' CPU."""

    @contextmanager
    def use() -> Iterator[None]:
        _signal(system, signal.SIGCONT)
        try:
            wait_until(lambda: _answers(system.near), READY_S, f"{system.name} carries")
            yield
        finally:
            _signal(system, signal.SIGSTOP)

    _signal(system, signal.SIGSTOP)
    return replace(system, use=use)


def _signal(system: System, number: signal.Signals) -> None:
    for pid in system.pids:
        os.kill(pid, number)


def attempt(make: Callable[[Lab], System], lab: Lab) -> System:
    """The system; or Failed, and nothing runs of a peer that did not come up."""
    before = set(lab.hosts)
    try:
        return make(lab)
    except (TimeoutError, CommandError, subprocess.CalledProcessError) as error:
        for name in set(lab.hosts) - before:
            _end(lab.hosts[name])
        raise Failed(f"did not come up: {error}") from error


def _end(host: Host) -> None:
    host.end_started()
    for pid in host.pids():
        os.kill(pid, signal.SIGKILL)


PEERS: dict[str, Callable[[Lab], System]] = {
    OVS: lambda lab: _open_vswitch(lab, OVS, "system", tso=False),
    OVS_TSO: lambda lab: _open_vswitch(lab, OVS_TSO, "system", tso=True),
    OVS_AFXDP: lambda lab: _open_vswitch(lab, OVS_AFXDP, "afxdp", tso=False),
    DPDK: _dpdk,
}
"""How each is made, in the order of the tables."""
