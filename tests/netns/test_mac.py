# SPDX-License-Identifier: BSD-2-Clause
"""Whose MAC a lagg has, what becomes of it when that port leaves, and who is told."""

import fcntl
import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import Lab, Pair, Stream
from lagg.events import Event
from lagg.kernel.native import Device, PortSockets
from lagg.model import LaggConfig, MacPolicy, Options
from lagg.operations.commands import Commands
from tests.netns.commands_world import World
from tests.netns.frames import Capture
from tests.netns.partners import lost_nothing
from tests.netns.steer import DEADLINE_S, Steer, Tally
from tests.waiting import wait_until

MAC = "02:00:5e:00:53:99"
AS_LAGG4 = Options(mac_policy=MacPolicy.PRIMARY)
SIOCGIFHWADDR = 0x8927
NAMES = ("p0", "p1", "p2")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.plug(0, 1, 2)
        made.start()
        yield made


def macs(world: World, *names: str) -> set[str]:
    links = world.kernel()["links"]
    return {links[name]["address"] for name in names}


def reload(world: World, *ports: str, **keys: object) -> tuple[str, ...]:
    config = LaggConfig("lagg0", ports=ports, **keys)  # type: ignore[arg-type]
    return world.do(world.commands.reload([config])).lines


def detach(world: World) -> None:
    world.detach("p0")


def delete(world: World) -> None:
    world.ip("link del p0")
    world.wait_event("port-departed", "p0")


def move_away(world: World) -> None:
    world.near.set_link("p0", net_ns_fd=world.far.descriptor)
    world.wait_event("port-departed", "p0")


def no_longer_named(world: World) -> None:
    reload(world, "p1", "p2")


LEAVES: dict[str, Callable[[World], None]] = {
    "detached": detach,
    "deleted": delete,
    "moved to another namespace": move_away,
    "taken out of the file": no_longer_named,
}


@pytest.mark.parametrize("way", LEAVES)
def test_a_mac_stays_when_its_port_leaves(world: World, way: str) -> None:
    home = macs(world, "p0")
    reload(world, *NAMES)
    world.events.clear()
    LEAVES[way](world)
    assert macs(world, "lagg0", "p1", "p2") == home
    assert world.record()["mac"] in home
    assert "mac" not in [each.event.value for each in world.events]


def test_the_mac_has_moved_before_its_port_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the port would hear again with a MAC that others have, too."""
    heir = macs(world, "p1")
    world.create("lagg0", *NAMES, options=AS_LAGG4)
    takeover = world.commands._laggs.takeover
    give_back, seen = takeover.give_back, list[set[str]]()

    async def look(ifindex: int) -> bool:
        seen.append({address(name) for name in ("lagg0", "p1", "p2")})
        return await give_back(ifindex)

    monkeypatch.setattr(takeover, "give_back", look)
    world.detach("p0")
    assert seen == [heir]


def test_a_mac_outlives_all_ports_and_is_the_next_ones(world: World) -> None:
    home, other = macs(world, "p0"), macs(world, "p1")
    world.create("lagg0", "p0")
    world.detach("p0")
    world.attach("p1")
    assert macs(world, "lagg0", "p1") == home
    world.attach("p0", "p2")
    assert macs(world, "lagg0", *NAMES) == home
    world.destroy()
    assert macs(world, "p1") == other


def test_what_is_saved_has_the_mac_of_a_port_that_left(world: World) -> None:
    (home,) = macs(world, "p0")
    world.create("lagg0", "p0", "p1")
    (running,) = world.do(world.commands.running())
    assert (running.ports, running.mac) == (("p0", "p1"), None)
    world.detach("p0")
    (running,) = world.do(world.commands.running())
    assert (running.ports, running.mac) == (("p1",), home)


def test_the_policy_is_changed_live(world: World) -> None:
    first, second = macs(world, "p0"), macs(world, "p1")
    world.create("lagg0", "p0", "p1")
    world.detach("p0")
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))
    assert macs(world, "lagg0", "p1") == second
    world.attach("p0")
    world.change(options=(("mac_policy", MacPolicy.STABLE),))
    world.detach("p1")
    assert macs(world, "lagg0", "p0") == second
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))
    assert macs(world, "lagg0", "p0") == first


def test_after_an_attach_that_fails_the_mac_is_as_it_was_and_told(world: World) -> None:
    world.ip("addr add 192.0.2.1/24 dev p2")
    world.create("lagg0")
    before = [macs(world, name) for name in ("lagg0", *NAMES)]
    world.refused(lambda: world.attach("p0", "p2"))
    assert [macs(world, name) for name in ("lagg0", *NAMES)] == before
    world.wait_event("mac")  # p0's
    assert {world.wait_event("mac").details} == before[0] == {world.record()["mac"]}


# ---- udev --------------------------------------------------------------------------

NET_ADDR_SET = 3
"""What addr_assign_type says of a MAC that somebody has set; udev leaves it alone."""


@pytest.mark.parametrize("ports", [(), ("--port", "p0")])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_lagg_s_mac_is_none_that_udev_would_change(
    ports: tuple[str, ...], workers: str
) -> None:
    with Lab() as lab:
        near, far = lab.host("a"), lab.host("b")
        lab.cable(near, "p0", far, "q0")
        laggd = lab.daemon(near, options=("--workers", workers))
        laggd.ctl("create", "lagg0", *ports)
        how = near.run("cat", "/sys/class/net/lagg0/addr_assign_type").stdout
    assert int(how) == NET_ADDR_SET


class RacedDevice(Device):
    """udev looked at the TAP before its MAC was kept, and sets another meanwhile."""

    def open_sockets(self, ifindex: int) -> PortSockets:
        for _, name in socket.if_nameindex():
            if name == "lagg0":
                command = ["ip", "link", "set", name, "address", MAC]
                subprocess.run(command, check=True)
        return super().open_sockets(ifindex)


@pytest.mark.parametrize("by", ["create", "reload"])
def test_a_mac_that_udev_sets_while_a_lagg_is_made_is_not_the_user_s(
    tmp_path: Path, by: str
) -> None:
    with World(tmp_path) as world:
        world.plug(0)
        world.start(lambda state_dir: Commands.open(state_dir, RacedDevice))
        home = macs(world, "p0")
        if by == "create":
            world.create("lagg0", "p0")
        else:
            reload(world, "p0")
        world.wait(lambda: macs(world, "lagg0", "p0") == home, "it is p0's")
        (running,) = world.do(world.commands.running())
        assert running.mac is None
        world.ip(f"link set lagg0 address {MAC}")
        world.wait(lambda: world.record()["mac"] == MAC, "a user's is followed")


# ---- two with one MAC --------------------------------------------------------------


def test_the_port_whose_mac_stayed_is_told_of_while_it_is_up(world: World) -> None:
    world.create("lagg0", "p0", "p1")
    world.detach("p0")
    (mac,) = macs(world, "lagg0")
    assert mac in world.wait_event("mac-shared", "p0").details
    world.ip("link set p0 alias changed")
    world.ip("link set p0 down")
    bundle = world.commands._laggs.bundles["lagg0"]
    world.wait(lambda: not bundle._shares_mac, "it is seen down")
    world.ip("link set p0 up")
    world.wait_event("mac-shared", "p0")  # again, and once for each time
    assert not [each for each in world.events if each.event.value == "mac-shared"]
    world.attach("p0")
    world.ip(f"link set lagg0 address {MAC}")
    world.wait(lambda: bundle.shape.mac.fixed, "it is the user's")
    world.detach("p0")
    world.ip("link set p1 alias changed")
    world.wait(lambda: world.link("p1").get("ifalias") == "changed", "all is told")
    assert not [each for each in world.events if each.event.value == "mac-shared"]


# ---- who is told -------------------------------------------------------------------


def set_by_laggctl(world: World) -> None:
    world.change(mac=MAC)


def set_by_ip(world: World) -> None:
    world.ip(f"link set lagg0 address {MAC}")


def set_by_file(world: World) -> None:
    reload(world, *NAMES, mac=MAC)


def released_by_file(world: World) -> None:
    reload(world, *NAMES, mac=MAC)
    world.wait_event("mac")
    reload(world, *NAMES)


def other_order(world: World) -> None:
    reload(world, *NAMES)
    reload(world, *reversed(NAMES))


def other_policy(world: World) -> None:
    world.detach("p0")
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))


def first_port(world: World) -> None:
    world.destroy()
    world.create("lagg0")
    world.attach("p1")


def file_s_first_port(world: World) -> None:
    world.destroy()
    world.ip("link set p0 name elsewhere")
    reload(world, *NAMES)
    world.wait_event("mac")
    world.ip("link set elsewhere name p0")


def primary_detached(world: World) -> None:
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))
    detach(world)


def primary_deleted(world: World) -> None:
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))
    delete(world)


def primary_moved(world: World) -> None:
    world.change(options=(("mac_policy", MacPolicy.PRIMARY),))
    move_away(world)


CHANGES = (
    set_by_laggctl,
    set_by_ip,
    set_by_file,
    released_by_file,
    other_order,
    other_policy,
    first_port,
    file_s_first_port,
    primary_detached,
    primary_deleted,
    primary_moved,
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_mac_is_told_when_all_have_it(
    world: World, change: Callable[[World], None]
) -> None:
    world.create("lagg0", *NAMES)
    world.events.clear()
    seen: list[dict[str, str]] = []

    def look(event: Event) -> None:
        if event.event.value == "mac":
            seen.append({name: address(name) for _, name in socket.if_nameindex()})

    world.loop.call_soon_threadsafe(world.commands.subscribe, look)
    change(world)
    told = world.wait_event("mac").details
    stay = {"lagg0", *world.port_names()}
    assert {seen[-1][name] for name in stay} == {told} == macs(world, *stay)


def address(name: str) -> str:
    """The MAC of an interface of this thread's namespace."""
    request = struct.pack("16s24x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        found = fcntl.ioctl(opened, SIOCGIFHWADDR, request)
    return found[18:24].hex(":")


# ---- who says nothing --------------------------------------------------------------

ADDRESS, SILENT = "192.0.2.77", "192.0.2.1"


def active_follows(world: World) -> None:
    world.change(options=(("mac_policy", MacPolicy.ACTIVE),))
    world.carrier(0, up=False)


WAYS = [
    *(set_by_laggctl, set_by_ip, set_by_file, released_by_file, other_order),
    *(other_policy, primary_detached, primary_deleted, primary_moved, active_follows),
]
"""By which a lagg's MAC becomes another, while the lagg stays."""


@pytest.mark.parametrize("change", WAYS)
def test_a_silent_host_learns_the_new_mac_whichever_way_it_came(
    world: World, change: Callable[[World], None]
) -> None:
    """Behind a switch.  It asks nobody, and nobody says the old MAC any more."""
    # Its own MAC stays when a port of it goes, or it would forget its neighbours.
    world.far_ip("link add switch address 02:00:5e:00:53:01 type bridge")
    for name in ("q0", "q1", "q2"):
        world.far_ip(f"link set {name} master switch")
    world.far_ip("link set switch up")
    world.far_ip(f"addr add {SILENT}/24 dev switch")
    world.create("lagg0", *NAMES)
    (before,) = macs(world, "lagg0")
    world.ip(f"addr add {ADDRESS}/24 dev lagg0")
    world.far_ip(f"neigh replace {ADDRESS} lladdr {before} dev switch nud stale")
    world.events.clear()
    said: list[str] = []
    with Capture(world.far, "switch") as wire:
        change(world)
        after = world.wait_event("mac").details
        if change is released_by_file:
            assert after == before

        def is_told() -> bool:
            frames = (each.wire for each in wire.take())
            said.extend(
                frame[22:28].hex(":")
                for frame in frames
                if frame[12:14] == ARP and frame[28:32] == SELF
            )
            return after in said and neighbour(world) == after

        world.wait(is_told, "it knows the new MAC")
    # It may be said that another port carries before there is another MAC.
    assert {*said[said.index(after) :]} == {after}


ARP, SELF = b"\x08\x06", socket.inet_aton(ADDRESS)


def neighbour(world: World) -> str:
    """The MAC that the silent host has for lagg0's address."""
    (row,) = json.loads(world.far_ip(f"-j neigh show {ADDRESS} dev switch"))
    return str(row["lladdr"])


# ---- traffic -----------------------------------------------------------------------

RATE = 40_000
FLOWS = 16
TIMES, TIMES_LONG = 10, 100


@contextmanager
def donor_without_carrier() -> Iterator[tuple[Pair, Steer, Steer]]:
    """Two laggs, of which ours has the MAC of p0, and p1 carries; and who steers."""
    with Lab() as lab:
        pair = Pair(lab, cables=2)
        steer, partner = Steer(pair.a.laggd), Steer(pair.b.laggd)
        pair.cables[0].cut()
        for each, port in ((steer, "p0"), (partner, "q0")):
            each.wait_link(port, up=False)
        yield pair, steer, partner
        pair.conserved()
        for each in (steer, partner):
            each.close()


@pytest.mark.alone
def test_the_port_that_gave_the_mac_comes_and_goes_and_nothing_is_lost(
    long_run: bool,
) -> None:
    """While another carries; what leaves with a port that does is another test."""
    with donor_without_carrier() as (pair, steer, partner):
        mac = pair.a.host.link("lagg0").mac
        tallies = [Tally(steer), Tally(partner)]
        stream = Stream(
            pair.b.host, pair.a.host, pair.a.address, rate=RATE, flows=FLOWS
        )
        for _ in range(TIMES_LONG if long_run else TIMES):
            steer.detach("p0")
            assert pair.a.host.link("lagg0").mac == mac
            steer.attach("p0")
            taken(steer, RATE // 100)
        stream.stop()
        result = stream.result()
        print(result, [tally.drops for tally in tallies])
        lost_nothing(tallies, result)


def given_up(steer: Steer, pair: Pair) -> None:
    steer.detach("p0")


def deleted(steer: Steer, pair: Pair) -> None:
    pair.a.host.netlink("link", "del", index=pair.a.host.ifindex("p0"))


def moved(steer: Steer, pair: Pair) -> None:
    pair.a.host.set_link("p0", net_ns_fd=pair.b.host.descriptor)


def renamed(steer: Steer, pair: Pair) -> None:
    pair.a.host.set_link("p0", ifname="other0")


@pytest.mark.alone
@pytest.mark.parametrize("way", [given_up, deleted, moved, renamed])
def test_whatever_becomes_of_the_port_that_gave_the_mac_nothing_is_lost(
    way: Callable[[Steer, Pair], None], long_run: bool
) -> None:
    """One way, to us, while another port carries."""
    with donor_without_carrier() as (pair, steer, partner):
        mac = pair.a.host.link("lagg0").mac
        tallies = [Tally(steer), Tally(partner)]
        rate = RATE if long_run else RATE // 4
        ends = pair.b.host, pair.a.host, pair.a.address
        stream = Stream(*ends, rate=rate, flows=FLOWS)
        taken(steer, rate // 100)
        way(steer, pair)
        wait_until(lambda: "p0" not in steer.ports(), DEADLINE_S, "p0 is no port")
        taken(steer, rate // 20)
        assert pair.a.host.link("lagg0").mac == mac
        stream.stop()
        lost_nothing(tallies, stream.result())


def taken(steer: Steer, frames: int) -> None:
    """Until its host was given so many more frames."""
    wanted = steer.record()["counters"]["rx_out"] + frames
    wait_until(
        lambda: steer.record()["counters"]["rx_out"] >= wanted, DEADLINE_S, "frames"
    )
