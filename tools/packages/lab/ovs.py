# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch in a host: its userspace datapath, with a bridge and a bond.

Owns its two processes, its database and its sockets, all in the host's directory: what
the machine itself may have of Open vSwitch is never touched.  Knows no measurement.
LACP's partner is one of these, cabled to the host under test.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.cable import Plug
from lab.host import Host
from lab.lab import Lab
from lab.partner import Lacp, Member, state_octet
from lab.waiting import wait_until

BRIDGE = "br0"
BOND = "bond0"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl")
START_SECONDS = 60.0
MAC = "02:00:5e:00:53:02"


def missing() -> str | None:
    """Why there is no Open vSwitch here; None when there is."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    absent += [] if SCHEMA.exists() else [str(SCHEMA)]
    return f"no {', '.join(absent)}: install openvswitch-switch" if absent else None


class OpenVswitch:
    """One ovs-vswitchd with its ovsdb-server; the host ends both."""

    def __init__(
        self,
        host: Host,
        ports: Sequence[str],
        mac: str,
        *,
        kind: str = "system",
        settings: Sequence[str] = (),
    ) -> None:
        """A bridge with a bond of `ports` and a MAC of its own; carries on return.

        `kind` is the type of its ports, `settings` are of the switch's other_config.
        """
        self.host = host
        # The kernel hears what the ports get, too, and would answer for the bridge.
        host.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.directory = host.directory / "ovs"
        self.directory.mkdir()
        self._control = self.directory / "vswitchd.ctl"
        self._socket = f"unix:{self.directory}/db.sock"
        self._start_database()
        self.vsctl("--no-wait", "init")
        for setting in settings:
            words = ("set", "Open_vSwitch", ".", f"other_config:{setting}")
            self.vsctl("--no-wait", *words)
        self._start("ovs-vswitchd", self._socket, f"--unixctl={self._control}")
        userspace = ("datapath_type=netdev", f'other_config:hwaddr="{mac}"')
        self.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, *userspace)
        self.ports = tuple(ports)
        kinds = (("--", "set", "interface", port, f"type={kind}") for port in ports)
        self.vsctl("add-bond", BRIDGE, BOND, *ports, *itertools.chain(*kinds))
        wait_until(lambda: host.has_link(BRIDGE), START_SECONDS, BRIDGE)
        wait_until(self.carrying, START_SECONDS, "a port carries")

    def _start_database(self) -> None:
        database = self.directory / "conf.db"
        self._run("ovsdb-tool", "create", str(database), str(SCHEMA))
        remote = f"--remote=p{self._socket}"
        control = f"--unixctl={self.directory}/ovsdb.ctl"
        self._start("ovsdb-server", str(database), remote, control)
        socket = self.directory / "db.sock"
        wait_until(socket.exists, START_SECONDS, "ovsdb-server listens")

    def _start(self, *words: str) -> None:
        with (self.directory / f"{words[0]}.log").open("w") as log:
            self.host.popen(
                *words, stdout=log, stderr=log, environment=self._environment()
            )

    def _environment(self) -> dict[str, str]:
        kinds = ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
        return os.environ | {f"OVS_{kind}": str(self.directory) for kind in kinds}

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            words,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=90,
        )
        return done.stdout

    def vsctl(self, *words: str) -> None:
        """ovs-vsctl; returns when ovs-vswitchd has done it."""
        self._run("ovs-vsctl", "--timeout=60", f"--db={self._socket}", *words)

    def appctl(self, *words: str) -> str:
        """ovs-appctl; what ovs-vswitchd answered."""
        return self._run("ovs-appctl", "-t", str(self._control), *words)

    def set_mode(self, mode: str) -> None:
        """The bond's mode: active-backup, balance-slb."""
        self.vsctl("set", "port", BOND, f"bond_mode={mode}")

    def set_lacp(self, lacp: Lacp, ports: Sequence[str]) -> None:
        """Begins anew, with a bond of these ports (two or more) that speaks LACP."""
        mode = f"lacp={'active' if lacp.active else 'passive'}"
        rate = f"other_config:lacp-time={'fast' if lacp.fast else 'slow'}"
        words = ("bond_mode=balance-tcp", mode, "--", "set", "port", BOND, rate)
        self.vsctl("--if-exists", "del-port", BRIDGE, BOND)
        often = "other_config:bond-rebalance-interval=1000"  # ms; its shortest
        self.vsctl("add-bond", BRIDGE, BOND, *ports, *words, often)
        self.ports = tuple(ports)

    def set_static(self, mode: str, ports: Sequence[str]) -> None:
        """Begins anew, with a bond of these ports (two or more) without LACP."""
        self.vsctl("--if-exists", "del-port", BRIDGE, BOND)
        self.vsctl("add-bond", BRIDGE, BOND, *ports, f"bond_mode={mode}")
        self.ports = tuple(ports)

    def set_bfd(self, port: str, **settings: object) -> None:
        """Has a port run BFD with these keys of its column `bfd`; without any, none."""
        if not settings:
            self.vsctl("clear", "interface", port, "bfd")
            return
        words = (f"bfd:{key}={value}" for key, value in settings.items())
        self.vsctl("set", "interface", port, "bfd:enable=true", *words)

    def bfd(self, port: str) -> dict[str, str]:
        """What it says of a port's session, by its words; {}: there is none."""
        shown = self.appctl("bfd/show", port)
        lines = (line.partition(":") for line in shown.splitlines())
        return {key.strip(): value.strip() for key, colon, value in lines if colon}

    def bfd_flaps(self, port: str) -> int:
        """How often its verdict on a port has changed."""
        words = ("get", "interface", port, "bfd_status:flap_count")
        shown = self._run("ovs-vsctl", f"--db={self._socket}", *words)
        return int(shown.strip().strip('"'))

    def set_rate(self, *, fast: bool) -> None:
        """Asks the partner for a PDU every second, or every 30; live."""
        rate = "fast" if fast else "slow"
        self.vsctl("set", "port", BOND, f"other_config:lacp-time={rate}")

    def members(self) -> tuple[Member, ...]:
        """What LACP says of each port."""
        shown = self.appctl("lacp/show", BOND)
        found = [_member(part) for part in shown.split("\nmember: ")[1:]]
        return tuple(sorted(found, key=lambda member: self.ports.index(member.name)))

    def remove(self, port: str) -> None:
        """Takes a port out of the bond."""
        self.vsctl("del-bond-iface", BOND, port)

    def add(self, port: str) -> None:
        """Puts it back."""
        self.vsctl("add-bond-iface", BOND, port)

    def carrying(self) -> str | None:
        """The port that carries a flow now: active, or with a hash; None: not known."""
        shown = self.appctl("bond/show", BOND)
        active = None
        for member in shown.split("\nmember ")[1:]:
            name = member.partition(":")[0]
            if "\n  hash " in member:
                return name
            active = name if "active member" in member else active
        return active


class OvsPartner:
    """LACP's partner: a bond of some of its ports; its address is the bridge's."""

    address = "10.77.0.2"
    frames_per_s = 1600

    def __init__(self, lab: Lab, near: Host, ports: Sequence[str]) -> None:
        """Cables each of `ports`, which it makes in `near`, to one of its own."""
        self.host = lab.host("ovs")
        ends = [f"q{number}" for number in range(len(ports))]
        self.cables = [
            lab.patched(Plug(near, port), Plug(self.host, end))
            for port, end in zip(ports, ends, strict=True)
        ]
        for cable in self.cables:
            cable.complete()
        self.switch = OpenVswitch(self.host, ends, MAC)
        self.host.set_link(BRIDGE, state="up")
        self.host.add_address(BRIDGE, f"{self.address}/24")
        self.version = self.host.run("ovs-vswitchd", "--version").stdout.splitlines()[0]
        self._ends = ends

    def close(self) -> None:
        """Nothing: the host ends its processes."""

    @property
    def place(self) -> Host:
        """The host."""
        return self.host

    def run(self, *words: str) -> str:
        """A command in the host; what it printed."""
        return self.host.run(*words).stdout

    def configure(self, lacp: Lacp, ports: int) -> None:
        """Begins anew, with the first so many ports in the bond."""
        self.switch.set_lacp(lacp, self._ends[:ports])

    def members(self) -> tuple[Member, ...]:
        """As lacp/show tells."""
        return self.switch.members()


def _member(part: str) -> Member:
    """One member's part of lacp/show: "q0: current attached", then indented lines."""
    name, _, rest = part.partition(": ")
    lines = (line.partition(":") for line in rest.splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    return Member(
        name=name,
        aggregated="may_enable: true" in rest,
        actor=state_octet(values["actor state"]),
        partner=state_octet(values["partner state"]),
    )
