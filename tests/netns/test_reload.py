# SPDX-License-Identifier: BSD-2-Clause
"""reload and hot-plug on the real kernel: live, whole or not at all, nothing lost."""

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import Daemon, Lab, Stream
from lab.host import Host
from lagg.errors import LaggError
from lagg.events import EventKind
from lagg.model import LaggConfig, Options, Proto
from tests.netns.commands_world import World, differences
from tests.netns.partners import lost_nothing
from tests.netns.steer import Steer, Tally
from tests.waiting import wait_until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.start()
        yield made


def reload(world: World, *wanted: LaggConfig) -> tuple[str, ...]:
    return world.do(world.commands.reload(wanted)).lines


def lagg(name: str, *ports: str, **config: Any) -> LaggConfig:  # noqa: ANN401
    return LaggConfig(name, ports=ports, **config)


# Whole or not at all


def test_a_reload_makes_changes_and_destroys(world: World) -> None:
    p0, p1, p2, p3 = world.plug(0, 1, 2, 3)
    reload(world, lagg("lagg0", p0, p1), lagg("lagg1", p2, p3))
    changes = reload(world, lagg("lagg0", p1, p2, mtu=1400), lagg("lagg2", p0))
    assert changes == (
        "lagg1: destroyed",
        "lagg0: port p0: detached",
        "lagg0: mtu: the first port's -> 1400",
        "lagg0: port p2: attached",
        "lagg2: created, laggproto failover",
        "lagg2: port p0: attached",
    )
    found = {each["name"]: [p["name"] for p in each["ports"]] for each in world.laggs()}
    assert found == {"lagg0": ["p1", "p2"], "lagg2": ["p0"]}
    assert world.link("p2")["mtu"] == 1400
    assert "lagg1" not in world.kernel()["links"]


def test_what_does_not_change_is_not_published_again(world: World) -> None:
    p0, p1, p2 = world.plug(0, 1, 2)
    quiet = lagg("lagg0", p0, p1, proto=Proto.LOADBALANCE)
    reload(world, quiet, lagg("lagg1", p2))
    before = world.record("lagg0")["generation"]
    assert reload(world, quiet, lagg("lagg1", proto=Proto.NONE)) != ()
    assert reload(world, quiet, lagg("lagg1", proto=Proto.NONE)) == ()
    assert world.record("lagg0")["generation"] == before


def test_a_reload_that_is_refused_at_its_last_step_changes_nothing(
    world: World,
) -> None:
    world.warm_up()
    p0, p1, p2, p3, p4 = world.plug(0, 1, 2, 3, 4)
    reload(world, lagg("lagg0", p0, p1), lagg("lagg1", p2, mtu=1400))
    world.ip(f"addr add 192.0.2.1/24 dev {p4}")  # so it may not become a port
    before = world.calm()
    with pytest.raises(LaggError) as refused:
        reload(
            world,
            lagg(
                "lagg0",
                p1,
                p3,
                p4,
                proto=Proto.BROADCAST,
                mac="02:00:5e:00:53:01",
                options=Options(rr_limit=5),
            ),
            lagg("lagg2", p0, p2),
        )
    assert refused.value.thing == "lagg0: port p4"
    assert "EBUSY" in str(refused.value)
    after = world.calm()
    # Put back, and so noted anew; and lagg1 had no carrier for a moment.
    assert [
        each
        for each in differences(before, after)
        if not each.startswith("/saved/") and "tx_dropped" not in each
    ] == []


def test_an_option_is_told_of_once_and_one_that_was_put_back_never(
    world: World,
) -> None:
    p0, p1 = world.plug(0, 1)
    reload(world, lagg("lagg0", p0))
    wanted = lagg("lagg0", p0, p1, options=Options(rr_limit=5))
    world.ip(f"addr add 192.0.2.1/24 dev {p1}")  # so it may not become a port
    with pytest.raises(LaggError):
        reload(world, wanted)
    assert option_events(world) == []
    world.ip(f"addr del 192.0.2.1/24 dev {p1}")
    reload(world, wanted)
    assert option_events(world) == ["rr_limit: 1 -> 5"]


def option_events(world: World) -> list[str]:
    return [each.details for each in world.events if each.event is EventKind.OPTION]


def test_of_laggs_made_together_none_stays_when_one_is_refused(world: World) -> None:
    world.warm_up()
    p0, p1, p2, p3 = world.plug(0, 1, 2, 3)
    found = world.calm()
    world.ip(f"addr add 192.0.2.1/24 dev {p1}")  # so it may not become a port
    before = world.calm()
    with pytest.raises(LaggError) as refused:
        reload(world, lagg("lagg0", p0), lagg("lagg1", p1), lagg("lagg2", p2, p3))
    assert refused.value.thing == "lagg1: port p1"
    world.unchanged(before)
    world.ip(f"addr del 192.0.2.1/24 dev {p1}")
    reload(world, lagg("lagg0", p0), lagg("lagg1", p1), lagg("lagg2", p2, p3))
    assert reload(world) == ("lagg0: destroyed", "lagg1: destroyed", "lagg2: destroyed")
    world.unchanged(found)


def test_a_mac_and_mtu_that_the_files_say_no_more_are_the_first_port_s(
    world: World,
) -> None:
    (p0,) = world.plug(0)
    found = world.link(p0)
    reload(world, lagg("lagg0", p0, mac="02:00:5e:00:53:01", mtu=1400))
    assert world.link(p0)["address"] == "02:00:5e:00:53:01"
    reload(world, lagg("lagg0", p0))
    for name in ("lagg0", p0):
        link = world.link(name)
        assert (link["address"], link["mtu"]) == (found["address"], found["mtu"])


def test_a_mac_that_someone_else_set_stays(world: World) -> None:
    (p0,) = world.plug(0)
    reload(world, lagg("lagg0", p0))
    world.ip("link set lagg0 address 02:00:5e:00:53:07")
    world.wait(lambda: world.record()["mac"] == "02:00:5e:00:53:07", "it is followed")
    assert reload(world, lagg("lagg0", p0)) == ()
    assert world.link(p0)["address"] == "02:00:5e:00:53:07"


def test_what_was_made_by_hand_stays_until_a_file_names_it(world: World) -> None:
    (p0,) = world.plug(0)
    world.create("hand0", p0)
    assert reload(world) == ()
    assert reload(world, lagg("hand0", p0)) == ()
    assert reload(world) == ("hand0: destroyed",)


def test_the_running_state_reloaded_changes_nothing(world: World) -> None:
    p0, p1 = world.plug(0, 1)
    world.create("lagg0", p1, proto=Proto.LOADBALANCE, mtu=1400)
    world.attach(p0)
    before = world.calm()
    running = world.do(world.commands.running())
    assert reload(world, *running) == ()
    world.unchanged(before)


# Ports that are not there yet


def waiting(world: World) -> list[str]:
    return list(world.record()["waiting_for"])


def test_a_configured_port_that_is_not_there_is_attached_when_it_appears(
    world: World,
) -> None:
    (p0,) = world.plug(0)
    assert reload(world, lagg("lagg0", p0, "p1")) == (
        "lagg0: created, laggproto failover",
        "lagg0: port p0: attached",
        "lagg0: port p1: not there yet, waited for",
    )
    assert waiting(world) == ["p1"]
    world.wait_event("port-waiting", "p1")
    world.plug_quick(1)
    world.wait_event("port-attached", "p1")
    assert waiting(world) == []
    assert world.port_names() == ["p0", "p1"]


def test_a_port_that_gets_its_name_is_a_port_that_appears(world: World) -> None:
    world.plug(1)
    reload(world, lagg("lagg0", "uplink0"))
    world.ip("link set p1 down")
    world.ip("link set p1 name uplink0")
    world.wait_event("port-attached", "uplink0")


def test_a_configured_port_that_departs_is_waited_for_again(world: World) -> None:
    (p0,) = world.plug(0)
    reload(world, lagg("lagg0", p0))
    world.ip("link del p0")
    world.wait_event("port-departed", "p0")
    world.wait_event("port-waiting", "p0")
    assert waiting(world) == ["p0"]
    world.events.clear()
    world.plug_quick(0)
    world.wait_event("port-attached", "p0")
    assert waiting(world) == []


def test_a_port_that_comes_back_from_another_namespace_is_attached(
    world: World,
) -> None:
    (p0,) = world.plug(0)
    reload(world, lagg("lagg0", p0))
    world.events.clear()
    world.near.set_link("p0", net_ns_fd=world.far.descriptor)
    world.wait_event("port-waiting", "p0")
    world.far.set_link("p0", net_ns_fd=world.near.descriptor)
    world.wait_event("port-attached", "p0")


def test_a_port_detached_by_hand_is_not_waited_for(world: World) -> None:
    (p0,) = world.plug(0)
    reload(world, lagg("lagg0", p0, "p9"))
    world.detach(p0, "p9")
    assert (world.port_names(), waiting(world)) == ([], [])
    assert reload(world, lagg("lagg0", p0, "p9")) == (
        "lagg0: port p0: attached",
        "lagg0: port p9: not there yet, waited for",
    )


def test_a_port_that_will_not_is_tried_again_when_something_about_it_changes(
    world: World,
) -> None:
    world.plug(0)
    reload(world, lagg("lagg0", "p1"))
    world.ip("addr add 192.0.2.1/24 dev p0")
    world.ip("link set p0 down")
    world.ip("link set p0 name p1")
    refused = world.wait_event("port-refused", "p1")
    assert "has the address 192.0.2.1/24" in refused.details
    assert waiting(world) == ["p1"]
    # What is no news about it is no reason to try again.
    world.ip("link set p1 alias hello")
    world.do(world.commands.whole(nothing))
    assert "port-refused" not in [event.event.value for event in world.events]
    world.ip("addr del 192.0.2.1/24 dev p1")
    world.wait_event("port-attached", "p1")


async def nothing() -> None:
    """An operation whose turn has come when all before it are done."""


def test_a_waited_port_of_another_lagg_comes_when_that_lets_it_go(
    world: World,
) -> None:
    reload(world, lagg("lagg0", "p0"))
    world.do(world.commands.whole(partial(taken_first, world)))
    world.wait_event("port-refused", "p0")
    world.events.clear()
    world.destroy("hand0")
    world.wait_event("port-attached", "p0")
    assert world.port_names() == ["p0"]


async def taken_first(world: World) -> None:
    """Somebody's create comes between a port's appearance and its turn."""
    world.plug_quick(0)
    await world.commands._changes.create(lagg("hand0", "p0"))


# As users do it


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


CONFIG = """
[[lagg]]
name = "lagg0"
proto = "loadbalance"
ports = ["p0", "p1"]
mac = "02:00:5e:00:53:01"
"""
MORE = """
[[lagg]]
name = "lagg1"
proto = "{proto}"
ports = ["p2"]
rr_limit = {rr_limit}
"""


def two_hosts(lab: Lab, cables: int) -> tuple[Host, Host]:
    near, far = lab.host("near"), lab.host("far")
    for number in range(cables):
        lab.cable(near, f"p{number}", far, f"p{number}")
    return near, far


def test_a_reload_of_one_lagg_loses_nothing_of_another_or_of_itself(lab: Lab) -> None:
    near, far = two_hosts(lab, 3)
    config = near.directory / "laggd.toml"
    config.write_text(CONFIG + MORE.format(proto="failover", rr_limit=1))
    ours = lab.daemon(near, config=config)
    theirs = lab.daemon(far)
    theirs.ctl("create", "lagg0", "--proto", "loadbalance", "--port=p0", "--port=p1")
    for host, address in ((near, "10.0.0.1/24"), (far, "10.0.0.2/24")):
        host.add_address("lagg0", address)
    wait_until(lambda: ours.record()["link"] == "up", 60, "lagg0 has carrier")
    before = ours.record()["generation"]
    steers = [Steer(daemon) for daemon in (ours, theirs)]
    tallies = [Tally(steer) for steer in steers]
    stream = Stream(near, far, "10.0.0.2", rate=5000, flows=8)
    for turn in range(20):
        proto = ("none", "broadcast")[turn % 2]
        config.write_text(CONFIG + MORE.format(proto=proto, rr_limit=turn + 2))
        ours.ctl("reload")
    assert ours.record()["generation"] == before
    for seed in range(10):
        text = CONFIG + f"hash_seed = {seed}\n" + MORE.format(proto="none", rr_limit=1)
        config.write_text(text)
        ours.ctl("reload")
    stream.stop()
    result = stream.result()
    lost_nothing(tallies, result)
    assert result.duplicated == 0
    for steer in steers:
        steer.close()
    assert ours.record()["options"]["hash_seed"] == 9


def test_sighup_reloads_and_a_bad_file_does_nothing(lab: Lab) -> None:
    near, _ = two_hosts(lab, 2)
    config = near.directory / "laggd.toml"
    config.write_text(CONFIG)
    daemon = lab.daemon(near, config=config)
    assert daemon.record()["proto"] == "loadbalance"
    config.write_text(CONFIG.replace("loadbalance", "roundrobin"))
    daemon.send(signal.SIGHUP)
    wait_until(lambda: daemon.record()["proto"] == "roundrobin", 60, "it is reloaded")
    before = daemon.record()
    config.write_text(CONFIG.replace("loadbalance", "roundrobbin") + "mtu = 3\n")
    done = daemon.try_ctl("reload")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith(f"laggctl: {config}: lagg0: proto: no such protocol")
    assert "(did you mean roundrobin?)" in first
    assert second.startswith(f"laggctl: {config}: lagg0: mtu: 3 is not")
    assert settled(daemon.record()) == settled(before)


def settled(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its counters."""
    ports = [
        {key: port[key] for key in ("name", "slot", "link", "flags")}
        for port in record["ports"]
    ]
    return {**record, "counters": None, "ports": ports, "limbo": None}


def test_what_is_saved_starts_the_same_laggd_again(lab: Lab) -> None:
    near, _ = two_hosts(lab, 3)
    daemon = lab.daemon(near)
    daemon.ctl("create", "lagg0", "--proto=loadbalance", "--port=p1", "--port=p0")
    daemon.ctl("create", "lagg1", "--mtu=1400", "--port=p2")
    before = summary(daemon)
    saved = near.directory / "saved.toml"
    daemon.ctl("save", str(saved))
    daemon.ctl("check", str(saved))
    daemon.stop()
    again = lab.daemon(near, config=saved)
    wait_until(lambda: summary(again) == before, 60, "all is as it was")
    assert json.loads(again.ctl("--json", "reload")) == {"changes": []}


def summary(daemon: Daemon) -> list[dict[str, Any]]:
    keys = ("name", "proto", "mac", "mtu", "options", "link")
    return [
        {key: record[key] for key in keys}
        | {"ports": [(port["name"], port["flags"]) for port in record["ports"]]}
        for record in daemon.records()
    ]
