# SPDX-License-Identifier: BSD-2-Clause
"""Sockets that outlive who opened them do for another what they did for him.

Another process has a duplicate of the descriptor, so each is duplicated here, and the
object that had it is closed.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab import Namespace, wait_until
from lagg.errors import LaggError
from lagg.handover.saved import SavedHold
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.kernel.proc import multicast
from lagg.kernel.rx_filter import Kept, Memberships
from lagg.kernel.slow import SlowSocket
from lagg.lacp.pdu import Marker, encode_marker
from lagg.link import RxFilter
from lagg.ports.originals import StateFile
from lagg.ports.takeover import Takeover

DEADLINE_S = 60.0
NONE = frozenset[str]()
ONE, TWO = "01:00:5e:7c:00:01", "01:00:5e:7c:00:02"
FRAME, TRIAL = (
    encode_marker(Marker(1, "02:00:5e:00:53:01", number), "02:00:5e:00:53:01")
    for number in (7, 8)
)


@pytest.fixture
def near() -> Iterator[Namespace]:
    with Namespace() as namespace:
        namespace.veth("eth0", "eth1")
        yield namespace


def seen(near: Namespace) -> tuple[int, int, set[str]]:
    """What the kernel counts: promiscuity, all multicast, and which of our groups."""

    async def run() -> tuple[int, int]:
        with closing(Netlink()) as netlink:
            link = await netlink.by_name("eth0")
            return link.promiscuity, link.allmulti

    index = near.ifindex("eth0")
    groups = near.inside(lambda: multicast((index,)).get(index, frozenset()))
    return (*near.arun(run), {ONE, TWO} & groups)


def test_memberships_go_on_and_are_changed_by_who_has_them_now(near: Namespace) -> None:
    index = near.ifindex("eth0")
    before = near.inside(lambda: Memberships(index, "eth0"))
    before.apply(promisc=True, allmulti=True, multicast=frozenset({ONE}))
    kept = Kept(os.dup(before.fileno()), before.held)
    before.close()
    assert kept.held == RxFilter(True, True, frozenset({ONE}))
    assert seen(near) == (1, 1, {ONE})
    with closing(Memberships(index, "eth0", kept)) as after:
        assert near.inside(lambda: after.same)
        assert after.held == kept.held
        after.apply(promisc=False, allmulti=True, multicast=frozenset({TWO}))
        assert seen(near) == (0, 1, {TWO})
    assert seen(near) == (0, 0, set())


def open_way(one: SlowSocket, other: SlowSocket) -> None:
    """Until frames pass both ways: a new link takes its time, and loses them."""

    def passes(sender: SlowSocket, hearer: SlowSocket) -> bool:
        sender.send(TRIAL)
        return any(hearer.frames())

    wait_until(lambda: passes(one, other), DEADLINE_S, "frames pass")
    wait_until(lambda: passes(other, one), DEADLINE_S, "frames pass back")


def heard(slow: SlowSocket) -> list[bytes]:
    """What waits there, but for trials, of which some may have been late."""
    return [frame for frame in slow.frames() if frame != TRIAL]


def hear(slow: SlowSocket) -> bytes:
    """The next frame, which may be on its way."""
    found: list[bytes] = []

    def look() -> bool:
        found.extend(heard(slow))
        return bool(found)

    wait_until(look, DEADLINE_S, "a frame came")
    (frame,) = found
    return frame


def test_a_slow_socket_has_what_waited_and_hears_and_speaks_on(near: Namespace) -> None:
    index, other = near.ifindex("eth0"), near.ifindex("eth1")
    before = near.inside(lambda: SlowSocket(index, "eth0"))
    with closing(near.inside(lambda: SlowSocket(other, "eth1"))) as partner:
        open_way(before, partner)
        assert partner.send(FRAME)
        kept = os.dup(before.fileno())
        before.close()
        with closing(near.inside(lambda: SlowSocket(index, "eth0", kept))) as after:
            assert hear(after) == FRAME
            assert partner.send(FRAME)
            assert hear(after) == FRAME
            assert heard(after) == []  # and does not block
            assert after.send(FRAME)
            assert hear(partner) == FRAME


def deaf_ports(near: Namespace, steps: Callable[[DeafPorts], Awaitable[None]]) -> None:
    async def run() -> None:
        with closing(DeafPorts(mark=1)) as ports:
            await steps(ports)

    near.arun(run)


def test_a_port_is_deaf_until_who_has_the_socket_now_lets_it_hear(
    near: Namespace,
) -> None:
    index = near.ifindex("eth0")

    async def steps(before: DeafPorts) -> None:
        await before.deafen(index, "eth0")
        descriptor, chains = before.fileno(), {index: before.chains(index)}
        assert descriptor is not None
        assert len(chains[index]) == 2
        kept = os.dup(descriptor)
        before.close()
        with closing(DeafPorts(mark=1)) as after, closing(DeafPorts(mark=1)) as others:
            after.resume(kept, chains)
            with pytest.raises(LaggError) as refusal:
                await others.claim(index, "eth0")
            assert refusal.value.code == errno.EBUSY
            await after.deafen(index, "eth0")  # as after a rename
            assert set(after.chains(index)).isdisjoint(chains[index])
            await after.undeafen(index)
            await others.claim(index, "eth0")

    deaf_ports(near, steps)


def test_a_table_of_which_no_chain_is_known_is_taken_away_all_the_same(
    near: Namespace,
) -> None:
    index = near.ifindex("eth0")

    async def steps(before: DeafPorts) -> None:
        await before.deafen(index, "eth0")
        descriptor = before.fileno()
        assert descriptor is not None
        with closing(DeafPorts(mark=1)) as after, closing(DeafPorts(mark=1)) as others:
            after.resume(os.dup(descriptor), {index: ()})
            before.close()
            await after.undeafen(index)
            await others.claim(index, "eth0")

    deaf_ports(near, steps)


async def resumed(netlink: Netlink, before: Takeover, deaf: DeafPorts) -> Takeover:
    """Who has the sockets, the lock and the file of the one before, which is gone."""
    (index,) = before.held
    hold, kept = before.hold(index), before.kept(index)
    assert kept is not None
    lock, owner = before._file.fileno(), before._deaf.fileno()
    assert owner is not None
    deaf.resume(os.dup(owner), {index: hold.chains})
    file = StateFile(before._file._path.parent, os.dup(lock))
    sockets = {index: Kept(os.dup(kept), hold.rx)}
    before._deaf.close()
    before._memberships[index].close()
    before.close()
    return Takeover.resumed(netlink, deaf, file, sockets)


def test_a_port_is_put_back_by_who_goes_on_with_it(
    near: Namespace, tmp_path: Path
) -> None:
    index = near.ifindex("eth0")

    async def run() -> None:
        with (
            closing(Netlink()) as netlink,
            closing(DeafPorts(mark=1)) as deaf,
            closing(DeafPorts(mark=1)) as others,
        ):
            before = await Takeover.after_the_dead(
                netlink, DeafPorts(mark=1), StateFile(tmp_path)
            )
            link = await netlink.link(index)
            await before.take(link, hears_local=False)
            before.set_rx_filter(index, RxFilter(promisc=True))
            await netlink.set_mtu(index, 1400)
            with closing(await resumed(netlink, before, deaf)) as after:
                with pytest.raises(LaggError, match="in use by another laggd"):
                    StateFile(tmp_path)
                assert after.held == {index}
                assert after.hold(index) == SavedHold(
                    index, RxFilter(promisc=True), deaf.chains(index)
                )
                assert (await netlink.link(index)).promiscuity == 1
                assert await after.give_back(index)
            link = await netlink.link(index)
            assert (link.mtu, link.promiscuity) == (1500, 0)
            await others.claim(index, "eth0")
            StateFile(tmp_path).close()

    near.arun(run)


def test_the_lock_of_another_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with closing(StateFile(tmp_path)) as file, closing(StateFile(tmp_path / "other")):
        kept = os.dup(file.fileno())
        with pytest.raises(LaggError) as refusal:
            StateFile(tmp_path / "other", kept)
        assert refusal.value.code == errno.EINVAL


def of_another_interface(near: Namespace) -> int:
    other = near.ifindex("eth1")
    with closing(near.inside(lambda: SlowSocket(other, "eth1"))) as opened:
        return os.dup(opened.fileno())


def of_another_family(_: Namespace) -> int:
    with socket.socket(socket.AF_UNIX) as opened:
        return os.dup(opened.fileno())


def of_no_socket(_: Namespace) -> int:
    return os.open("/dev/null", os.O_RDONLY)


@pytest.mark.parametrize(
    ("kept", "code"),
    [
        (of_another_interface, errno.ENODEV),
        (of_another_family, errno.EINVAL),
        (of_no_socket, errno.EINVAL),
    ],
)
def test_what_is_not_what_its_name_says_is_refused_and_closed(
    near: Namespace, kept: Callable[[Namespace], int], code: int
) -> None:
    index, descriptor = near.ifindex("eth0"), kept(near)
    with pytest.raises(LaggError) as refusal:
        near.inside(lambda: SlowSocket(index, "eth0", descriptor))
    assert refusal.value.code == code
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
