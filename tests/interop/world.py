# SPDX-License-Identifier: BSD-2-Clause
"""A laggd of ours and a partner that is not, with four cables between.

    near: lagg0 = p0 p1 p2 p3  ------------  q0 q1 q2 q3 :the partner's host

Owns how both begin, and what it is to agree.  Knows no partner's nature.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lab import Host, Lab, wait_until
from lab.partner import Lacp, Member, Partner
from lagg.control.client import Client
from lagg.lacp.values import State

LAGG = "lagg0"
ADDRESS = "10.77.0.1"
PORTS = ("p0", "p1", "p2", "p3")
ENDS = ("q0", "q1", "q2", "q3")

ACTIVE_FAST = Lacp(active=True, fast=True)

AGREE_S = 60.0
"""Far longer than the three seconds it takes; reached only by what never happens."""

TOGETHER = State.AGGREGATION | State.SYNC | State.COLLECTING | State.DISTRIBUTING

MakePartner = Callable[[Lab, Host, Sequence[str]], Partner]


def octet(lacp: Lacp) -> int:
    """The state of a port that carries: 0x3f, 0x3d; passive 0x3e, 0x3c."""
    state = TOGETHER
    if lacp.active:
        state |= State.ACTIVITY
    if lacp.fast:
        state |= State.TIMEOUT
    return int(state)


def agreed(members: Iterable[Member], count: int, actor: int, partner: int) -> bool:
    """Whether there are so many members, all in the group, with these states."""
    found = tuple(members)
    return len(found) == count and all(
        (each.aggregated, each.actor, each.partner) == (True, actor, partner)
        for each in found
    )


class World:
    """Both ends; `form` before anything else."""

    def __init__(self, lab: Lab, make: MakePartner) -> None:
        self.near = lab.host("near")
        self.partner = make(lab, self.near, PORTS)
        self.far = self.partner.host
        self.laggd = lab.daemon(self.near, log_level="info")
        self._client = Client(str(self.laggd.socket))
        self._formed: tuple[Lacp, Lacp, int] | None = None

    def reconnect(self) -> None:
        """To the laggd that is there now; returns when it answers."""
        self._client.close()
        self._client = Client(str(self.laggd.socket))
        self._client.call("Status")

    def close(self) -> None:
        self._client.close()
        self.partner.close()

    def put_back(self) -> None:
        """No lagg; every cable whole."""
        for cable in self.partner.cables:
            cable.mend()
            for to_near in (True, False):
                cable.pass_again(to_near=to_near)
        if self.near.has_link(LAGG):
            self.call("Destroy")

    def call(self, method: str, **parameters: object) -> Any:  # noqa: ANN401
        """A method of laggd's on lagg0; its answer has no type."""
        return self._client.call(method, name=LAGG, **parameters)

    def set(self, **options: object) -> None:
        self.call("Set", options=options)

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("List")["laggs"][0]
        return found

    def form(
        self,
        *,
        ports: int = 2,
        ours: Lacp = ACTIVE_FAST,
        theirs: Lacp = ACTIVE_FAST,
        **options: object,
    ) -> None:
        """Both ends begin anew; returns at once."""
        self._formed = (ours, theirs, ports)
        self.partner.configure(theirs, ports)
        options |= {"lacp_active": ours.active, "lacp_fast_timeout": ours.fast}
        names = list(PORTS[:ports])
        self.call("Create", proto="lacp", ports=names, options=options)
        self.near.add_address(LAGG, f"{ADDRESS}/24")

    def wait_until_agreed(self, deadline_s: float = AGREE_S) -> float:
        """Until all ports of both ends carry, and both say so; the seconds it took."""
        try:
            return wait_until(self.is_agreed, deadline_s, "both ends agree")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.states()}") from None

    def is_agreed(self) -> bool:
        assert self._formed is not None
        ours, theirs, ports = self._formed
        actor, partner = octet(ours), octet(theirs)
        return agreed(self.members(), ports, actor, partner) and agreed(
            self.partner.members(), ports, partner, actor
        )

    def partner_carries(self, ports: int) -> bool:
        """Whether as many of its ports are in its group and distribute."""
        found = [each for each in self.partner.members() if each.aggregated]
        return len([m for m in found if m.actor & State.DISTRIBUTING]) == ports

    def members(self) -> tuple[Member, ...]:
        """Ours, as `show --json` describes them."""
        return tuple(map(_member, self.record()["ports"]))

    def member(self, number: int) -> Member:
        """The member that PORTS[number] is; LookupError when it is not there."""
        return next(each for each in self.members() if each.name == PORTS[number])

    def flaps(self) -> list[int]:
        """How often each of ours left, but for a partner that was not heard in time.

        One that is emulated beside other tests may be late.
        """
        counts = (port["lacp"]["counters"] for port in self.record()["ports"])
        return [max(0, each["flaps"] - each["lacpdu_late"]) for each in counts]

    def states(self) -> str:
        """For messages: both ends."""
        return "; ".join(map(str, (*self.members(), *self.partner.members())))


def _member(port: dict[str, Any]) -> Member:
    lacp = port["lacp"]
    return Member(
        name=port["name"],
        aggregated="DISTRIBUTING" in port["flags"],
        actor=lacp["actor"]["state"],
        partner=lacp["partner"]["state"],
    )
