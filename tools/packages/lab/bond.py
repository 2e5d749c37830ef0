# SPDX-License-Identifier: BSD-2-Clause
"""The Linux kernel's bond as LACP's partner, in a virtual machine of its own.

    near: p0 -- q0 | t0 -- eth0 :inside, a port of bond0      (and p1, p2, ...)

Owns the machine's host, the joint between each cable and the machine's NIC, and bond0.
"""

import re
from collections.abc import Sequence

from lab.cable import Joint, Plug, Veth
from lab.host import Host
from lab.lab import Lab
from lab.partner import Lacp, Member
from lab.vm import nic
from lab.vm.image import image
from lab.vm.machine import Vm

BOND = "bond0"


class Wire:
    """From a port to a NIC of the machine; what a cable can, this can."""

    def __init__(self, near: Plug, host: Host, vm: Vm, number: int) -> None:
        """Makes the port, and joins it with the NIC of that number."""
        self._vm, self._number = vm, number
        self._plug, self._tap = Plug(host, f"q{number}"), f"t{number}"
        Veth(near, self._plug, like_hardware=False)
        self._joint = Joint(host, self._plug.name, self._tap)

    def cut(self) -> None:
        """Both ends lose their carrier."""
        self._plug.set("down")
        self._vm.set_carrier(f"nic{self._number}", up=False)

    def mend(self) -> None:
        """Both ends have it again."""
        self._plug.set("up")
        self._vm.set_carrier(f"nic{self._number}", up=True)

    def lose(self, *, to_near: bool, protocol: str = "all") -> None:
        """Frames on their way to one end are lost; its carrier stays."""
        self._joint.lose(self._tap if to_near else self._plug.name, protocol)

    def pass_again(self, *, to_near: bool) -> None:
        """Lets frames arrive again."""
        self._joint.pass_again(self._tap if to_near else self._plug.name)


class Bond:
    """The machine, which has booted, and its bond0."""

    address = "10.77.0.2"
    frames_per_s = 400

    def __init__(self, lab: Lab, near: Host, ports: Sequence[str]) -> None:
        """Wires each of `ports`, which it makes in `near`, to a NIC."""
        self.host = lab.host("bond")
        for which in ("all", "default"):
            self.host.sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1)
        self.vm = self._booted(len(ports))
        self.cables = [
            Wire(Plug(near, port), self.host, self.vm, number)
            for number, port in enumerate(ports)
        ]
        self.version = f"Linux {self.vm.image.release}, bonding"

    def _booted(self, count: int) -> Vm:
        """With as many NICs, on TAPs t0, t1, ..., which it makes."""
        nics: list[str] = []
        for number in range(count):
            tap = f"t{number}"
            self.host.run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
            self.host.set_link(tap, state="up")
            nics += nic.on_tap(number, tap)
        return Vm(self.host, image(), nics, arguments="ipv6.disable_ipv6=1")

    def close(self) -> None:
        """Hangs up; the host ends the machine."""
        self.vm.close()

    @property
    def place(self) -> Vm:
        """The inside."""
        return self.vm

    def run(self, *words: str) -> str:
        """A command inside; what it printed."""
        return self.vm.run(" ".join(words))

    def configure(
        self,
        lacp: Lacp,
        ports: int,
        *,
        ad_select: str = "stable",
        min_links: int = 0,
    ) -> None:
        """Begins anew, with the first so many NICs in bond0."""
        rate, active = ("slow", "fast")[lacp.fast], ("off", "on")[lacp.active]
        options = f"lacp_rate {rate} lacp_active {active} ad_select {ad_select}"
        options += f" min_links {min_links} xmit_hash_policy layer3+4"
        nics = " ".join(f"eth{number}" for number in range(ports))
        self.vm.run(f"""
            ip link show {BOND} >/dev/null 2>&1 && ip link del {BOND}
            set -e
            ip link add {BOND} type bond mode 802.3ad miimon 100 {options}
            for nic in {nics}; do ip link set $nic down; ip link set $nic master {BOND}
            done
            ip addr add {self.address}/24 dev {BOND}
            ip link set {BOND} up
        """)

    def members(self) -> tuple[Member, ...]:
        """As /proc/net/bonding tells."""
        shown = self.vm.run(f"cat /proc/net/bonding/{BOND}")
        head, *parts = shown.split("\nSlave Interface: ")  # the kernel's word
        active = _number(head, r"Aggregator ID: (\d+)")
        return tuple(_member(part, active) for part in parts)


def _member(part: str, active: int) -> Member:
    """One port's part of /proc/net/bonding/bond0."""
    actor, partner = re.findall(r"^ +port state: (\d+)$", part, re.MULTILINE)
    return Member(
        name=part.partition("\n")[0],
        aggregated=_number(part, r"Aggregator ID: (\d+)") == active,
        actor=int(actor),
        partner=int(partner),
    )


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern!r} in:\n{text}"
    return int(found[1])
