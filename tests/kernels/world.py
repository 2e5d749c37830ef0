# SPDX-License-Identifier: BSD-2-Clause
"""A machine with another kernel, on which the tree under test is: laggd, and a peer.

    lagg0 = n0 n1 ...  ------------  w0 w1 ... :peer's bond or bridge, a namespace there

Owns the machine, the laggd inside, and what each of its tests is to find there.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab import CommandError, Lab
from lab.program import build
from lab.vm import disk, nic
from lab.vm.machine import Vm
from lab.vm.system import ARGUMENTS, system
from tests.kernels.inside import ANSWER, ASK
from tests.tree import ROOT

KINDS = ("virtio", "virtio", "e1000", "e1000")
"""Two NICs of a kind each; those that --long adds come after them."""

LONG_KINDS = ("e1000e", "e1000e", "vmxnet3", "vmxnet3", "rtl8139", "rtl8139")

ADDRESS, PEER = "10.9.0.1", "10.9.0.2"
PEER6 = "fd09::2"

DEADLINE_S = 120
START_S = 600  # a Python that is emulated, beside other tests
LOOK_S = 0.1
LATE_S = 20
"""An answer that comes at all may be as late: the machine is emulated."""
MEMORY_MB = 1536
PROCESSORS = 2
LOG_LINES = 40

SOCKET, LOG, PID = "/run/laggd.sock", "/run/laggd.log", "/run/laggd.pid"
LAGGD = f"{ROOT}/.venv/bin/laggd --socket {SOCKET} --state-dir /run/laggd"
START = f"{LAGGD} >>{LOG} 2>&1 & echo $! >{PID}"
INSIDE = f"cd {ROOT}; .venv/bin/python -m tests.kernels.inside {SOCKET}"

MOUNT = f"mkdir -p {ROOT} && mount -o noatime /dev/vdb {ROOT}"

PREPARE = f"""
set -e
modprobe bonding max_bonds=0
modprobe -a tun 8021q {" ".join(driver for _, driver in nic.KINDS.values())}
udevadm settle
sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
ip netns add peer
ip -n peer link set lo up
{START}
( until [ -S {SOCKET} ]; do sleep 0.1; done; {INSIDE} ) >>{LOG} 2>&1 &
"""


def booted(lab: Lab, version: str, nics: Sequence[str] = ()) -> Vm:
    """A machine with a kernel of KERNELS, and the tree.  MissingError."""
    host = lab.host("vm")
    image = system(version)
    tree = host.directory / "tree"
    disk.tree(ROOT, tree)
    vm = Vm(
        host,
        replace(image, disks=(*image.disks, tree)),
        nics,
        arguments=ARGUMENTS,
        memory_mb=MEMORY_MB,
        processors=PROCESSORS,
    )
    vm.run(MOUNT, DEADLINE_S)
    return vm


class Machine:
    """One that has booted, with a laggd that serves its NICs."""

    def __init__(self, lab: Lab, version: str, kinds: tuple[str, ...] = KINDS) -> None:
        """With a kernel of KERNELS.  MissingError when there can be none."""
        self.version = version
        self.kinds = kinds
        build("stream")  # of those that tests run: there is no compiler inside
        nics = [w for n, kind in enumerate(kinds) for w in nic.on_itself(n, kind)]
        self._vm = booted(lab, version, nics)
        self.run(PREPARE)
        try:
            self.until(f"[ -p {ANSWER} ]", START_S)
        except CommandError as error:
            raise TimeoutError(f"laggd does not answer: {self.log()}") from error

    def close(self) -> None:
        """Hangs up; the lab ends it."""
        self._vm.close()

    def put_back(self) -> None:
        """No lagg; the peer has no NIC; every NIC is down, with its cable whole."""
        for lagg in self.call("List")["laggs"]:
            self.call("Destroy", name=lagg["name"])
        self.run("""
            for name in $(ip netns list | cut -d' ' -f1); do ip netns del $name; done
            ip netns add peer
            ip -n peer link set lo up
            cd /sys/class/net
            for link in d[0-9]*; do ip link del $link 2>/dev/null; done
            true
        """)
        # A namespace that goes gives its NICs back, some time later.
        self.until(f"[ $(ls -d /sys/class/net/w* | wc -l) = {len(self.kinds)} ]")
        for number in range(len(self.kinds)):
            self.pull(number, out=False)

    def nics(self, kind: str) -> tuple[int, int]:
        """The numbers of the two of a kind."""
        first = self.kinds.index(kind)
        return first, first + 1

    # ---- commands --------------------------------------------------------------------

    def run(self, script: str, timeout_s: float = DEADLINE_S) -> str:
        """What a script printed inside.  CommandError when it failed."""
        return self._vm.run(script, timeout_s)

    def until(
        self, succeeds: str, deadline_s: int = DEADLINE_S, *, after: str = "true"
    ) -> float:
        """Waits, inside, until a script does; CommandError when it never did.

        The seconds since `after`, a script that is run before, was begun.
        """
        took_ns = self.run(
            f"""
            begun=$(date +%s%N)
            {after}
            end=$(( $(date +%s) + {deadline_s} ))
            until ( {succeeds} ) >/dev/null 2>&1; do
                [ $(date +%s) -lt $end ] || exit 1
                sleep {LOOK_S}
            done
            echo $(( $(date +%s%N) - begun ))
            """,
            2 * deadline_s,
        )
        return int(took_ns) / 1e9

    def call(self, method: str, **parameters: object) -> Any:  # noqa: ANN401
        """A method of the laggd inside; its answer has no type."""
        request = shlex.quote(json.dumps({"method": method, **parameters}))
        script = shlex.quote(f"echo {request} >{ASK}; cat {ANSWER}")
        said = self.run(f"timeout {DEADLINE_S} sh -c {script}", 2 * DEADLINE_S)
        answer = json.loads(said)
        assert "error" not in answer, answer["error"]
        return answer

    def crash(self, meanwhile: str) -> None:
        """Kills laggd, runs a script, and starts the next one, which takes over."""
        self.run(f"""
            set -e
            pid=$(cat {PID})
            kill -9 $pid
            while kill -0 $pid 2>/dev/null; do sleep {LOOK_S}; done
            rm {SOCKET}
            {meanwhile}
            {START}
        """)
        self.until(f"[ -S {SOCKET} ]", START_S)

    def log(self) -> str:
        """The last lines of laggd's."""
        return self.run(f"tail -n {LOG_LINES} {LOG}")

    def pull(self, number: int, *, out: bool = True) -> None:
        """A NIC's cable, out or in again: both ends lose their carrier, or have it."""
        self._vm.set_carrier(f"nic{number}", up=not out)
        self._vm.set_carrier(f"far{number}", up=not out)

    # ---- what tests begin with -------------------------------------------------------

    def lagg(self, numbers: tuple[int, ...], *, proto: str = "loadbalance") -> None:
        """lagg0 of these NICs, and a peer that answers to it."""
        self.peer(numbers, "bridge" if proto == "failover" else "balance-xor")
        ports = [f"n{n}" for n in numbers]
        self.call("Create", name="lagg0", proto=proto, ports=ports, options={})
        self.run(
            f"ip addr add {ADDRESS}/24 dev lagg0; ip addr add fd09::1/64 dev lagg0"
        )
        self.until(f"ping -n -c 1 -W 1 {PEER}")

    def peer(self, numbers: tuple[int, ...], mode: str) -> None:
        """The other ends in one bond of that mode, or in a bridge: `agg` in peer."""
        kind = "bridge mcast_snooping 0"
        if mode != "bridge":
            kind = f"bond mode {mode} miimon 20"
        ends = " ".join(f"w{n}" for n in numbers)
        self.run(f"""
            set -e
            ip -n peer link add agg type {kind}
            for end in {ends}; do
                ip link set $end netns peer
                ip -n peer link set $end master agg
                ip -n peer link set $end up
            done
            ip -n peer link set agg up
            ip -n peer addr add {PEER}/24 dev agg
            ip -n peer addr add {PEER6}/64 dev agg
        """)

    def pings(self, address: str, count: int, *, at: str = "") -> int:
        """How many of so many are answered; `at` a namespace, or here."""
        here = f"ip netns exec {at} " if at else ""
        command = f"{here}ping -n -q -c {count} -i 0.2 -W {LATE_S} {address}"
        said = self.run(f"{command} | sed -n 's/.* \\([0-9]*\\) received.*/\\1/p'")
        return int(said.strip() or 0)
