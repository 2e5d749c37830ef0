# SPDX-License-Identifier: BSD-2-Clause
"""The control socket: what it answers, and whom it lets."""

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator

import pytest

from lagg.control.client import LOOKS
from lagg.control.interface import idl
from lagg.model import Options, Proto
from tests.control.contract import RECORD
from tests.control.fake_trials import DONE
from tests.control.world import (
    World,
    wait_until,
    world_at,
)
from tests.tree import ROOT

NOBODY = 65534
REFUSED = "org.laggd.Lagg.Refused"


def assert_serves(world: World) -> None:
    assert "laggs" in world.call("List")["parameters"]


def ports_of(world: World, name: str) -> list[str]:
    return list(world.commands.configs[name].ports)


# What it answers


def test_create_passes_every_parameter_on(world: World) -> None:
    reply = world.call(
        "Create",
        name="lagg0",
        proto="roundrobin",
        ports=["a", "b"],
        mac="02:00:5e:00:53:0A",
        mtu=9000,
        options={"rr_limit": 2, "use_flowid": True},
    )
    assert "error" not in reply
    made = world.commands.configs["lagg0"]
    assert (made.proto, made.ports) == (Proto.ROUNDROBIN, ("a", "b"))
    assert (made.mac, made.mtu) == ("02:00:5e:00:53:0a", 9000)
    assert made.options == Options(rr_limit=2, use_flowid=True)


def test_set_leaves_what_it_does_not_name(world: World) -> None:
    world.call("Create", name="lagg0", ports=["a"], options={"rr_limit": 5})
    world.call("Set", name="lagg0", proto="none", options={"flowid_shift": 0})
    made = world.commands.configs["lagg0"]
    assert made.proto is Proto.NONE
    assert made.options == Options(rr_limit=5, flowid_shift=0)
    assert made.ports == ("a",)


def test_attach_detach_release_destroy_reach_the_commands(world: World) -> None:
    world.call("Create", name="lagg0")
    world.call("Attach", name="lagg0", ports=["a", "b", "a"])
    assert ports_of(world, "lagg0") == ["a", "b"]
    world.call("Detach", name="lagg0", ports=["a"])
    assert ports_of(world, "lagg0") == ["b"]
    world.call("Release", name="lagg0", ports=["b"])
    assert world.commands.released == ("lagg0", ("b",))
    world.call("Destroy", name="lagg0")
    assert world.commands.configs == {}


def test_the_record_is_the_contracts(world: World) -> None:
    world.call("Create", name="lagg0", ports=["eth0", "eth1"])
    assert world.call("List", name="lagg0")["parameters"]["laggs"] == [RECORD]


def test_a_refusal_names_thing_cause_and_errno(world: World) -> None:
    world.call("Create", name="lagg1", ports=["eth1"])
    reply = world.call("Create", name="lagg0", ports=["eth1"])
    assert reply == {
        "error": REFUSED,
        "parameters": {
            "thing": "lagg0: port eth1",
            "cause": "already a port of lagg1",
            "errno": 16,
            "errno_name": "EBUSY",
        },
    }


@pytest.mark.parametrize(
    ("method", "parameters", "errno_name"),
    [
        ("Destroy", {"name": "lagg9"}, "ENXIO"),
        ("Destroy", {"name": "a/b"}, "EINVAL"),
        ("List", {"name": "lagg9"}, "ENXIO"),
        ("List", {"name": "x" * 5000}, "EINVAL"),
        ("Create", {"name": "lagg0", "proto": "7"}, "EPROTONOSUPPORT"),
        ("Set", {"name": "lagg0", "options": {"rr_limit": -1}}, "EINVAL"),
        ("Set", {"name": "lagg0", "options": {"rr_limit": 2**32}}, "EINVAL"),
        ("Set", {"name": "lagg0", "options": {"flowid_shift": 32}}, "EINVAL"),
        ("Set", {"name": "lagg0", "options": {"flowid_shift": -1}}, "EINVAL"),
        ("Set", {"name": "lagg0", "options": {"flowid_shift": True}}, "EINVAL"),
        ("Set", {"name": "lagg0", "options": {"lagghash": []}}, "EINVAL"),
        ("Set", {"name": "lagg0", "mtu": -1}, "EINVAL"),
        ("Attach", {"name": "lagg0", "ports": []}, "EINVAL"),
        ("Attach", {"name": "lagg0", "ports": [f"e{n}" for n in range(33)]}, "ENOSPC"),
    ],
)
def test_a_bad_value_is_refused_with_its_errno(
    world: World, method: str, parameters: dict[str, object], errno_name: str
) -> None:
    reply = world.call(method, **parameters)
    assert reply["error"] == REFUSED
    assert reply["parameters"]["errno_name"] == errno_name
    assert reply["parameters"]["cause"]
    assert world.commands.configs == {}


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("Create", {"name": 1}, "InvalidParameter"),
        ("Create", {}, "InvalidParameter"),
        ("Create", {"name": "a", "ports": "b"}, "InvalidParameter"),
        ("Create", {"name": "a", "options": {"rr_limt": 1}}, "InvalidParameter"),
        ("Create", {"name": "a", "mtu": 1e400}, None),
        ("Create", {"name": "a", "colour": 1}, "InvalidParameter"),
        ("Explode", {}, "MethodNotFound"),
        ("org.example.No.Way", {}, "InterfaceNotFound"),
        ("Monitor", {}, "ExpectedMore"),
    ],
)
def test_a_call_of_the_wrong_type_gets_varlinks_own_error(
    world: World, method: str, parameters: dict[str, object], error: str | None
) -> None:
    reply = world.call(method, **parameters)
    assert reply["error"] == (f"org.varlink.service.{error}" if error else REFUSED)
    assert_serves(world)


def test_an_unknown_option_is_named(world: World) -> None:
    reply = world.call("Create", name="a", options={"rr_limt": 1})
    assert reply["parameters"] == {"parameter": "options.rr_limt"}


LIST = b'{"method":"org.laggd.Lagg.List"'


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"3",
        b'"\xff"',
        b"{}",
        b'{"method":1}',
        b'{"method":"x"}',
        LIST + b',"parameters":[]}',
        LIST + b',"more":true,"oneway":true}',
        b"[" * 30000,
        b'{"a":' * 12000,
        LIST + b',"parameters":{"name":NaN}}',
        LIST + b',"parameters":{"name":-Infinity}}',
        LIST + b',"parameters":{"name":' + b"9" * 5000 + b"}}",
        LIST + b',"method":"org.laggd.Lagg.List"}',
        LIST + b',"parameters":{"name":"a","name":"b"}}',
    ],
    ids=lambda message: repr(message[:50]),
)
def test_a_message_that_is_no_call_is_refused_with_a_reason_and_a_hang_up(
    world: World, message: bytes
) -> None:
    with world.connect() as client:
        client.send(message + b"\0")
        reply = client.reply()
        assert reply["error"] == REFUSED
        assert reply["parameters"]["errno_name"] == "EINVAL"
        assert reply["parameters"]["thing"] == "message"
        wait_until(client.is_dropped)
    assert_serves(world)


def test_a_bug_in_a_command_is_an_answer_and_not_an_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    reply = world.call("Create", name="broken0")
    assert reply["parameters"]["errno_name"] == "EIO"
    assert "a bug" in caplog.text
    assert_serves(world)


def test_calls_sent_at_once_are_answered_in_order(world: World) -> None:
    with world.connect() as client:
        for number in range(20):
            client.request("Create", name=f"lagg{number}")
        client.request("List")
        assert [client.reply() for _ in range(20)] == [{"parameters": DONE}] * 20
        assert len(client.reply()["parameters"]["laggs"]) == 20


def test_a_oneway_call_is_done_and_not_answered(world: World) -> None:
    with world.connect() as client:
        client.send(
            b'{"method":"org.laggd.Lagg.Create","oneway":true,'
            b'"parameters":{"name":"lagg0"}}\0'
        )
        assert len(client.call("List")["parameters"]["laggs"]) == 1


def test_a_refusal_that_nobody_is_there_to_read_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.commands.gate = asyncio.Event()
    with world.connect() as client:
        client.request("Destroy", name="lagg7")
        wait_until(lambda: world.commands.calls == ["destroy"])
    world.soon(world.commands.gate.set)
    wait_until(lambda: "lagg7" in caplog.text)
    assert caplog.messages == ["its client was not told: lagg7: no such lagg (ENXIO)"]


def test_a_refusal_that_nobody_asked_for_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with world.connect() as client:
        parameters = '"parameters":{"name":"lagg7"}'
        method = '"method":"org.laggd.Lagg.Destroy"'
        client.send(f'{{{method},{parameters},"oneway":true}}\0'.encode())
        wait_until(lambda: "lagg7" in caplog.text)
    assert_serves(world)


def test_an_errno_has_linux_s_name_over_the_socket_too(world: World) -> None:
    world.call("Create", name="lagg0")
    refused = world.call("Buckets", name="lagg0")["parameters"]
    assert (refused["errno"], refused["errno_name"]) == (
        errno.EOPNOTSUPP,
        "EOPNOTSUPP",
    )


def test_a_client_may_close_its_side_and_still_read_the_answer(world: World) -> None:
    with world.connect() as client:
        client.request("List")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply()["parameters"] == {"laggs": []}


# Introspection


def described(world: World) -> str:
    reply = world.call(
        "org.varlink.service.GetInterfaceDescription", interface="org.laggd.Lagg"
    )
    found: str = reply["parameters"]["description"]
    return found


METHODS = [
    *("Attach", "Balance", "Buckets", "Confirm", "Create", "Defaults", "Destroy"),
    *("Detach", "Explain", "List", "Monitor", "Move", "Pin", "Release", "Reload"),
    *("Save", "Set", "Status", "Unpin"),
]
FIELD = r"[A-Za-z](?:_?[A-Za-z0-9])*"


def reduced(definition: str) -> str:
    """The varlink grammar, from the inside out: a struct of types is a type."""
    struct = rf"\((?:{FIELD}: [?\[\]string]*(?:bool|int|float|string|@)(?:, )?)*\)"
    while (shorter := re.sub(struct, "@", definition)) != definition:
        definition = shorter
    return definition


def test_the_description_parses_and_has_every_method(world: World) -> None:
    text = described(world)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "interface org.laggd.Lagg"
    assert {reduced(line) for line in lines[1:]} == {
        "error BadConfiguration @",
        "error Refused @",
        *(f"method {name}@ -> @" for name in METHODS),
    }


def test_the_shipped_interface_is_the_one_that_is_served() -> None:
    """Made by `python -m lagg.control.interface > packaging/org.laggd.Lagg.varlink`."""
    shipped = ROOT / "packaging" / "org.laggd.Lagg.varlink"
    assert shipped.read_text(encoding="utf-8") == idl()


def test_the_service_names_its_interfaces(world: World) -> None:
    info = world.call("org.varlink.service.GetInfo")["parameters"]
    assert info["interfaces"] == ["org.laggd.Lagg", "org.varlink.service"]


def test_ten_lines_without_a_library_list_laggs_and_are_in_the_manual(
    world: World,
) -> None:
    world.call("Create", name="lagg0", ports=["eth0"])
    example = (ROOT / "examples" / "list_laggs.py").read_text(encoding="utf-8")
    here = example.replace("/run/laggd/laggd.sock", world.path)
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("lagg0 down ['eth0']\n", "")
    manual = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    block = manual.partition("```python\n")[2].partition("```")[0]
    assert block.strip()
    assert example.endswith(block.partition("\n\n")[2])


# Who may


def as_user(uid: int, gid: int, groups: list[int], act: Callable[[], str]) -> str:
    """What `act` gives in a child process of these credentials."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on: a child of a process with threads.  It only makes
        # system calls and writes to its pipe.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            os.write(sending, act().encode())
        except BaseException as error:  # noqa: BLE001  the parent must hear of it
            os.write(sending, repr(error).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return found


@pytest.fixture
def open_world() -> Iterator[World]:
    """A world whose socket everybody reaches; members of group 4242 may change."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        with world_at(f"{place}/laggd.sock", gid=4242) as found:
            os.chmod(found.path, 0o666)
            yield found


def changed(world: World) -> str:
    reply = world.call("Create", name="lagg0")
    return str(reply.get("parameters", {}).get("errno_name", "done"))


def test_a_stranger_may_read_and_not_change(open_world: World) -> None:
    def act() -> str:
        laggs = open_world.call("List")["parameters"]["laggs"]
        return f"{laggs} {changed(open_world)}"

    assert as_user(NOBODY, NOBODY, [], act) == "[] EPERM"
    assert open_world.commands.calls == []


NAMED: dict[str, object] = {"name": "lagg0"}
OF_PORTS = NAMED | {"ports": ["a"]}
OF_A_BUCKET = NAMED | {"bucket": 1}
CHANGES: dict[str, dict[str, object]] = {
    **dict.fromkeys(("Create", "Destroy", "Set", "Confirm"), NAMED),
    **dict.fromkeys(("Attach", "Detach", "Release"), OF_PORTS),
    **dict.fromkeys(("Pin", "Move"), OF_A_BUCKET | {"port": "a"}),
    "Unpin": OF_A_BUCKET,
    "Reload": {},
    "Defaults": {"options": {"rr_limit": 2}},
}
"""Every method that is no look, with what it has to be told."""


def test_a_method_looks_or_changes() -> None:
    assert sorted(METHODS) == sorted({*CHANGES, *LOOKS})


@pytest.mark.parametrize("method", CHANGES)
def test_no_change_at_all_is_a_strangers(open_world: World, method: str) -> None:
    def act() -> str:
        reply = open_world.call(method, **CHANGES[method])
        return str(reply["parameters"]["errno_name"])

    assert as_user(NOBODY, NOBODY, [], act) == "EPERM"
    assert open_world.commands.calls == []


@pytest.mark.parametrize(("gid", "groups"), [(4242, []), (NOBODY, [5, 4242, 6])])
def test_a_member_of_the_group_may_change(
    open_world: World, gid: int, groups: list[int]
) -> None:
    assert as_user(NOBODY, gid, groups, lambda: changed(open_world)) == "done"


def test_a_peer_of_too_many_groups_is_only_who_its_uid_and_gid_say(
    open_world: World,
) -> None:
    groups = [*range(10000, 10300), 4242]
    assert as_user(NOBODY, NOBODY, groups, lambda: changed(open_world)) == "EPERM"
