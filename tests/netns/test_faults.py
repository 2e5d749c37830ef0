# SPDX-License-Identifier: BSD-2-Clause
"""Whatever step of an operation fails, nothing has changed and the error says which.

Every call to the kernel, the C side and the disk that an operation makes is made to
fail in turn, once, until the operation makes no further one.
"""

import contextvars
import errno
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lagg.errors import LaggError
from lagg.kernel.native import Device, PortSockets
from lagg.kernel.proc import multicast
from lagg.kernel.rx_filter import Memberships
from lagg.model import LaggChange, LaggConfig, MacPolicy, Options, Proto, Tuning
from lagg.operations import attach, rx_wanted
from lagg.operations.announce import Announcer
from lagg.operations.commands import Commands
from lagg.operations.uses import tell_uses
from lagg.plan.plan import Plan
from lagg.ports import takeover
from lagg.running import grace_periods
from lagg.running.draining import Draining
from tests.netns.commands_world import World

MAC = "02:00:5e:00:53:99"

STUCK = "device.held_by"  # a worker that does not leave its section
GRACE_S = 0.1
"""Short, so that it is soon over; longer than a busy machine keeps a worker waiting."""

UNFAILING = frozenset({"close", "clear", "undeafen", "watch", "watch_closely"})
"""Closing fails for nobody; the others are no steps of an operation."""

LOGGED = frozenset(
    {"netlink.set_speed", "netlink.set_alias", "netlink.set_offload"}
    | {"netlink.set_segments"}
    | {"netlink.tx_dropped", "device.set_carrier"}
    | {"netlink.egress_rules", "netlink.transmit_by_several"}
    | {"uses: netlink.links", "uses: netlink.addresses"}
)
"""Steps whose failure is a line in the log, while the operation goes on."""

GIVING_BACK = (
    LOGGED
    | {"file.save", "netlink.link", "netlink.offloads", "memberships.apply"}
    | {
        f"netlink.{call}"
        for call in ("set_mtu", "set_mac", "set_addr_gen_mode", "set_up", "add_address")
    }
)
"""A port that is given back is put back as far as it can be, and is free."""

_looking_at_uses = contextvars.ContextVar("looking_at_uses", default=False)
"""Set while it is found out what somebody uses a port for: that undoes nothing."""

_under_test = contextvars.ContextVar("under_test", default=False)
"""Set in an operation's own tasks, so that the follower's calls do not count."""


@dataclass(slots=True)
class Saboteur:
    """Lets the `nth` call of the operation under test fail, and no other."""

    nth: int = 0
    calls: int = 0
    struck: str | None = None
    seen: set[str] = field(default_factory=set)

    def arm(self, nth: int) -> None:
        self.nth, self.calls, self.struck = nth, 0, None

    def strikes(self, call: str) -> bool:
        if not _under_test.get() or self.struck is not None:
            return False
        self.calls += 1
        self.seen.add(call)
        if self.calls == self.nth:
            self.struck = call
        return self.calls == self.nth

    def refuse(self, call: str) -> None:
        """As the C side refuses."""
        if self.strikes(call):
            raise OSError(errno.EIO, f"{call} sabotaged")

    def call(
        self, function: Callable[..., object], call: str, *args: object, **more: object
    ) -> object:
        """As our own parts refuse."""
        call = f"uses: {call}" if _looking_at_uses.get() else call
        error = LaggError(call, f"{call} sabotaged", errno.EIO)
        if not self.strikes(call):
            return function(*args, **more)
        if iscoroutinefunction(function):
            return _raise(error)
        raise error


async def _tell_uses(*about: Any) -> None:  # noqa: ANN401  as tell_uses()
    token = _looking_at_uses.set(True)
    try:
        await tell_uses(*about)
    finally:
        _looking_at_uses.reset(token)


async def _raise(error: LaggError) -> None:
    raise error


class Between:
    """Stands before `thing`: the saboteur is asked at each call."""

    def __init__(self, thing: object, kind: str, saboteur: Saboteur) -> None:
        self._thing, self._kind, self._saboteur = thing, kind, saboteur

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the thing has
        found = getattr(self._thing, name)
        if name in UNFAILING or not callable(found):
            return found
        return partial(self._saboteur.call, found, f"{self._kind}.{name}")


class SabotagedDevice(Device):
    """A device whose calls the saboteur may refuse."""

    def __init__(self, saboteur: Saboteur, name: str, tuning: Tuning) -> None:
        saboteur.refuse("device.create")
        self._saboteur = saboteur
        super().__init__(name, tuning)

    def open_sockets(self, ifindex: int) -> PortSockets:
        self._saboteur.refuse("device.open_sockets")
        return super().open_sockets(ifindex)

    def publish(self, plan: Plan) -> int:
        self._saboteur.refuse("device.publish")
        return super().publish(plan)

    def set_carrier(self, up: bool) -> None:
        self._saboteur.refuse("device.set_carrier")
        super().set_carrier(up)

    def held_by(self, ticket: int) -> int | None:
        stuck = self._saboteur.strikes(STUCK) or self._saboteur.struck == STUCK
        return 0 if stuck and _under_test.get() else super().held_by(ticket)


class SabotagedWorld(World):
    """A world whose every step the saboteur may refuse."""

    def __init__(self, state_dir: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(state_dir)
        self.saboteur = Saboteur()
        patch.setattr(grace_periods, "GRACE_S", GRACE_S)
        patch.setattr(takeover, "Memberships", self._memberships)
        listed = partial(self.saboteur.call, multicast, "multicast")
        patch.setattr(rx_wanted, "multicast", listed)
        announce = Announcer._announce

        async def beside(announcer: Announcer, lagg: int) -> None:
            _under_test.set(False)  # it is no part of the operation that made it due
            await announce(announcer, lagg)

        release = Draining._release_all

        async def released_beside(draining: Draining) -> None:
            _under_test.set(False)  # nor is this
            await release(draining)

        patch.setattr(Announcer, "_announce", beside)
        patch.setattr(Draining, "_release_all", released_beside)
        patch.setattr(attach, "tell_uses", _tell_uses)

    def _between(self, thing: object, kind: str) -> Any:  # noqa: ANN401
        return Between(thing, kind, self.saboteur)

    def _memberships(self, ifindex: int, name: str) -> object:
        made = self.saboteur.call(Memberships, "memberships.open", ifindex, name)
        return self._between(made, "memberships")

    async def open_commands(self, state_dir: Path) -> Commands:
        device = partial(SabotagedDevice, self.saboteur)
        commands = await Commands.open(state_dir, device)
        whole, kept = commands._laggs, commands._laggs.takeover
        netlink = self._between(whole.netlink, "netlink")
        whole.netlink = kept._netlink = whole.rx_wanted._netlink = netlink
        kept._deaf = self._between(kept._deaf, "deaf")
        kept._file = self._between(kept._file, "file")
        return commands

    def stop(self) -> None:
        """Ends the commands; a port whose way back was sabotaged is not as found."""
        try:
            super().stop()
        except LaggError as error:
            if "not as found" not in error.cause:
                raise

    def sabotage(self, nth: int, operation: "Operation") -> LaggError | None:
        """The operation, its `nth` call failing; None if it succeeded all the same."""

        async def under_test() -> None:
            _under_test.set(True)
            await operation.act(self.commands)

        self.saboteur.arm(nth)
        try:
            self.do(under_test())
        except LaggError as error:
            return error
        return None


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done under sabotage, to a lagg0 that has the ports `before`."""

    act: Callable[[Commands], Coroutine[Any, Any, object]]
    before: tuple[str, ...] | None = ()  # None: there is no lagg0 yet
    # Of the calls that may fail and the operation succeed all the same.
    tolerated: frozenset[str] = LOGGED
    steps: frozenset[str] = frozenset()  # calls that it makes, among others


ATTACHING = frozenset(
    {
        "file.save",
        "deaf.deafen",
        "memberships.open",
        "memberships.apply",
    }
    | {"device.open_sockets", "device.publish", "netlink.links", "netlink.addresses"}
    | {"netlink.set_mac", "netlink.set_addr_gen_mode", "netlink.modes"}
    | {"netlink.reception", "netlink.offloads", "netlink.set_offload"}
)
FULL = LaggConfig("lagg0", Proto.LOADBALANCE, ports=("p0", "p1"), mac=MAC, mtu=1400)
CHANGE = LaggChange(Proto.BROADCAST, mac=MAC, mtu=1300, options=(("rr_limit", 3),))

OPERATIONS = {
    "create": Operation(
        lambda commands: commands.create(FULL),
        before=None,
        steps=ATTACHING | {"device.create", "netlink.by_name", "netlink.set_queue"},
    ),
    "attach the first port": Operation(
        lambda commands: commands.attach("lagg0", ["p1"]), steps=ATTACHING
    ),
    "attach another, which is down": Operation(
        lambda commands: commands.attach("lagg0", ["p2"]),
        before=("p0",),
        steps=ATTACHING | {"netlink.set_up", "netlink.set_mtu"},
    ),
    "attach two": Operation(
        lambda commands: commands.attach("lagg0", ["p1", "p2"]),
        before=("p0",),
        steps=ATTACHING,
    ),
    "detach the primary": Operation(
        lambda commands: commands.detach("lagg0", ["p0"]),
        before=("p0", "p1", "p2"),
        tolerated=GIVING_BACK,
        steps=frozenset({STUCK, "netlink.set_mac", "device.publish"}),
    ),
    "detach two": Operation(
        lambda commands: commands.detach("lagg0", ["p1", "p0"]),
        before=("p0", "p1", "p2"),
        tolerated=GIVING_BACK,
        steps=frozenset({STUCK, "netlink.set_mac", "device.publish"}),
    ),
    "detach one that was down": Operation(
        lambda commands: commands.detach("lagg0", ["p2", "p1"]),
        before=("p0", "p1", "p2"),
        tolerated=GIVING_BACK,
        steps=frozenset({STUCK, "netlink.set_up", "device.publish"}),
    ),
    "detach all": Operation(
        lambda commands: commands.detach("lagg0", ["p0", "p1"]),
        before=("p0", "p1"),
        tolerated=GIVING_BACK,
        steps=frozenset({STUCK, "device.publish"}),
    ),
    "set": Operation(
        lambda commands: commands.set("lagg0", CHANGE),
        before=("p0", "p1", "p2"),
        steps=frozenset({"netlink.set_mtu", "netlink.set_mac", "device.publish"}),
    ),
    "set a protocol by which ports keep their MACs": Operation(
        lambda commands: commands.set("lagg0", LaggChange(Proto.TLB)),
        before=("p0", "p1", "p2"),
        # What ports let in beside what they must is looked at once more at the end.
        tolerated=LOGGED
        | {"multicast", "netlink.links", "netlink.reception", "memberships.apply"},
        steps=frozenset({"netlink.set_mac", "memberships.apply", "device.publish"}),
    ),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_an_operation_is_whole_or_undone_whichever_step_fails(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[what]
    with ExitStack() as worlds:
        world = worlds.enter_context(made(operation, tmp_path, monkeypatch))
        before = world.calm()
        for nth in count(1):
            error = world.sabotage(nth, operation)
            struck = world.saboteur.struck
            if struck is None:
                break
            if error is None:
                assert struck in operation.tolerated, f"step {nth} was passed over"
                with suppress(LaggError):  # a port that is not as found is told of
                    worlds.close()
                world = worlds.enter_context(made(operation, tmp_path, monkeypatch))
                before = world.calm()
            else:
                check_words(error, struck)
                world.unchanged(before, f"step {nth}, {struck}, failed")
        assert error is None
        assert world.saboteur.seen >= operation.steps


def made(
    operation: Operation, state_dir: Path, patch: pytest.MonkeyPatch
) -> SabotagedWorld:
    world = SabotagedWorld(state_dir, patch)
    try:
        world.plug(0, 1)
        world.plug(2, up=False, mtu=1400)
        for port in ("p1", "p2"):
            world.offload(port, "rx-gro-list")
        world.start(world.open_commands)
        world.warm_up()
        if operation.before is not None:
            # The policy that has more to do.
            options = Options(mac_policy=MacPolicy.PRIMARY)
            world.create("lagg0", proto=Proto.LOADBALANCE, options=options)
            # A carrier that comes for a moment would leave it an address.
            world.ip("link set lagg0 addrgenmode none promisc on")
            world.attach(*operation.before)
    except BaseException:
        world.__exit__(None, None, None)
        raise
    return world


def check_words(error: LaggError, struck: str) -> None:
    """The refusal says which lagg, or its port, and which step."""
    # What a real refusal is about is the interface; the saboteur's is about the call.
    assert error.thing.startswith("lagg0") or error.thing == struck
    if struck == STUCK:
        assert (error.code, error.thing) == (errno.ETIMEDOUT, "lagg0")
        assert "worker 0" in error.cause
    else:
        assert (error.code, struck in error.cause) == (errno.EIO, True)
