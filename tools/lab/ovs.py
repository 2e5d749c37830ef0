# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch in a host: its userspace datapath, with a bridge and a bond.

Owns its two processes, its database and its sockets, all in the host's directory: what
the machine itself may have of Open vSwitch is never touched.  Knows no measurement.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.host import Host
from lab.waiting import wait_until

BRIDGE = "br0"
BOND = "bond0"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl")
START_SECONDS = 20.0


def missing() -> str | None:
    """Why there is no Open vSwitch here; None when there is."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    absent += [] if SCHEMA.exists() else [str(SCHEMA)]
    return f"no {', '.join(absent)}: install openvswitch-switch" if absent else None


class OpenVswitch:
    """One ovs-vswitchd with its ovsdb-server; the host ends both."""

    def __init__(self, host: Host, ports: Sequence[str], mac: str) -> None:
        """A bridge with a bond of `ports` and a MAC of its own; carries on return."""
        self.host = host
        self.directory = host.directory / "ovs"
        self.directory.mkdir()
        self._control = self.directory / "vswitchd.ctl"
        self._socket = f"unix:{self.directory}/db.sock"
        self._start_database()
        self.vsctl("--no-wait", "init")
        self._start("ovs-vswitchd", self._socket, f"--unixctl={self._control}")
        userspace = ("datapath_type=netdev", f'other_config:hwaddr="{mac}"')
        self.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, *userspace)
        self.vsctl("add-bond", BRIDGE, BOND, *ports)
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
            timeout=60,
        )
        return done.stdout

    def vsctl(self, *words: str) -> None:
        """ovs-vsctl; returns when ovs-vswitchd has done it."""
        self._run("ovs-vsctl", "--timeout=20", f"--db={self._socket}", *words)

    def set_mode(self, mode: str) -> None:
        """The bond's mode: active-backup, balance-slb."""
        self.vsctl("set", "port", BOND, f"bond_mode={mode}")

    def remove(self, port: str) -> None:
        """Takes a port out of the bond."""
        self.vsctl("del-bond-iface", BOND, port)

    def add(self, port: str) -> None:
        """Puts it back."""
        self.vsctl("add-bond-iface", BOND, port)

    def carrying(self) -> str | None:
        """The port that carries a flow now: active, or with a hash; None: not known."""
        shown = self._run("ovs-appctl", "-t", str(self._control), "bond/show", BOND)
        active = None
        for member in shown.split("\nmember ")[1:]:
            name = member.partition(":")[0]
            if "\n  hash " in member:
                return name
            active = name if "active member" in member else active
        return active
