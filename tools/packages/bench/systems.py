# SPDX-License-Identifier: BSD-2-Clause
"""Systems under test (RFC 2285), from a host to its partner: the kernel's, laggd's.

Owns topology and addresses.  Each system has two hosts of its own, so that all of them
have the same addresses, and none carries another's frames.  Knows no measurement.

    near host: stack - near_name - datapath - p0 ==== q0 - stack :far host
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from bench import bpf
from bench.metrics import REDIRECT, VETH
from lab.daemon import Daemon
from lab.host import Host
from lab.lab import Lab
from lab.pair import LAGG

NEAR_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"

Use = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class System:
    """One way, ready while its `use` lasts."""

    name: str
    near: Host
    near_name: str  # what the measured host's stack sends by
    far: Host
    far_names: tuple[str, ...]  # its partner's ends; the first has the address
    pids: tuple[int, ...] = ()  # of the datapath
    polls: bool = False  # the datapath takes a CPU even without frames
    use: Use = nullcontext


def hosts(lab: Lab, name: str, ports: int = 1) -> tuple[Host, Host]:
    """The measured host and its partner, with cables p0 - q0, p1 - q1, ...

    Without IPv6, so that nothing speaks but who is asked to.
    """
    near, far = lab.host(f"{name}-near"), lab.host(f"{name}-far")
    for host in (near, far):
        host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    for number in range(ports):
        lab.cable(near, f"p{number}", far, f"q{number}")
    return near, far


def address(near: Host, near_name: str, far: Host, far_name: str) -> None:
    """Gives both ends their addresses, and each the other's for good."""
    for host, name, here, other, there, far_end in (
        (near, near_name, NEAR_ADDRESS, far, FAR_ADDRESS, far_name),
        (far, far_name, FAR_ADDRESS, near, NEAR_ADDRESS, near_name),
    ):
        host.set_link(name, state="up")
        host.add_address(name, f"{here}/24")
        lladdr = other.link(far_end).mac
        words = ("ip", "neigh", "replace", there, "lladdr", lladdr, "dev", name)
        host.run(*words, "nud", "permanent")


def veth(lab: Lab) -> System:
    """The cable alone."""
    near, far = hosts(lab, "veth")
    address(near, "p0", far, "q0")
    return System(VETH, near, "p0", far, ("q0",))


def redirect(lab: Lab) -> System:
    """A port chosen by the kernel's flow hash in eBPF: what frames cost at least."""
    near, far = hosts(lab, "ebpf")
    lab.cable(near, LAGG, near, "hidden")
    bpf.hook(near, LAGG, bpf.EGRESS, bpf.to_ports([near.ifindex("p0")]))
    bpf.hook(near, "p0", bpf.INGRESS, bpf.into(near.ifindex(LAGG)))
    address(near, LAGG, far, "q0")
    return System(REDIRECT, near, LAGG, far, ("q0",))


class Lagg:
    """A laggd with one lagg0, and a system for each protocol and number of ports."""

    def __init__(
        self, lab: Lab, name: str, *, ports: int = 1, options: Sequence[str] = ()
    ) -> None:
        """`options` of laggd's command line; `ports` cables, the first attached."""
        self.options = tuple(options)
        self.near, self.far = hosts(lab, name, ports)
        self.laggd: Daemon = lab.daemon(
            self.near, log_level="warning", options=self.options
        )
        self.laggd.ctl("create", LAGG, "--port", "p0")
        address(self.near, LAGG, self.far, "q0")
        pids = tuple({self.laggd.pid, self.laggd.carrier})
        self._system = System("", self.near, LAGG, self.far, ("q0",), pids)

    def system(self, proto: str, ports: int = 1) -> System:
        """In use, the lagg has this protocol and so many ports."""
        return replace(
            self._system,
            name=" ".join((proto, *self.options)),
            far_names=tuple(f"q{number}" for number in range(ports)),
            use=lambda: self._as(proto, ports),
        )

    @contextmanager
    def _as(self, proto: str, ports: int) -> Iterator[None]:
        self.laggd.ctl("set", LAGG, "--proto", proto)
        others = [f"p{number}" for number in range(1, ports)]
        if others:
            self.laggd.ctl("attach", LAGG, *others)
        yield
        if others:
            self.laggd.ctl("detach", LAGG, *others)
