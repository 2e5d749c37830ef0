# SPDX-License-Identifier: BSD-2-Clause
"""The state file: what survives, who may use it, and what damage does."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagg.errors import LaggError
from lagg.kernel.netlink import messages
from lagg.link import Address, AddrGenMode, Offload
from lagg.ports import originals
from lagg.ports.originals import Original, StateFile
from tests.tree import ROOT

LINK_LOCAL = Address(socket.AF_INET6, "fe80::1", 64, 253, 0x80)
ETH0 = Original(
    ifindex=3,
    name="eth0",
    kind="",
    permanent_mac="02:00:5e:00:53:01",
    mac="02:00:5e:00:53:01",
    mtu=1500,
    up=True,
    addr_gen_mode=AddrGenMode.EUI64,
    addresses=(LINK_LOCAL,),
    offloads=(Offload.GRO_LIST, Offload.LRO),
)
VETH = Original(
    ifindex=4,
    name="veth0",
    kind="veth",
    permanent_mac="",
    mac="02:00:5e:00:53:02",
    mtu=9000,
    up=False,
    addr_gen_mode=None,
    addresses=(),
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    opened = StateFile(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


def test_what_was_saved_is_loaded(file: StateFile, path: Path) -> None:
    file.save([ETH0])
    file.save([ETH0, VETH])
    assert file.load() == (ETH0, VETH)
    assert sorted(each.name for each in path.parent.iterdir()) == ["lock", "ports.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_successor_finds_what_the_dead_left(tmp_path: Path) -> None:
    first = StateFile(tmp_path)
    first.save([ETH0])
    first.close()
    second = StateFile(tmp_path)
    assert second.load() == (ETH0,)
    second.clear()
    second.clear()
    assert second.load() == ()
    second.close()


def test_an_address_grows_old_while_its_interface_is_a_port() -> None:
    forever = LINK_LOCAL
    assert forever.later(10**9) == forever
    young = replace(LINK_LOCAL, valid_s=100, preferred_s=50)
    later = young.later(60)
    assert later is not None
    assert (later.valid_s, later.preferred_s) == (40, 0)
    assert young.later(100) is None


def test_a_port_noted_by_an_older_version_is_loaded(
    file: StateFile, path: Path
) -> None:
    file.save([ETH0])
    saved = json.loads(path.read_text())
    (row,) = saved["body"]["originals"]
    del row["found_s"], row["offloads"]
    for key in ("proto", "valid_s", "preferred_s"):
        del row["addresses"][0][key]
    path.write_text(json.dumps(saved | {"sha256": originals._digest(saved["body"])}))
    assert file.load() == (replace(ETH0, offloads=()),)


def test_nothing_saved_is_nothing_loaded(file: StateFile) -> None:
    assert file.load() == ()


# ---- the lock ----------------------------------------------------------------------


def test_a_second_daemon_is_told_who_holds_the_directory(
    file: StateFile, tmp_path: Path
) -> None:
    program = (
        "import pathlib, sys; from lagg.ports.originals import StateFile;"
        "StateFile(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"in use by another laggd (pid {os.getpid()})" in done.stderr
    assert "(EBUSY)" in done.stderr
    file.save([ETH0])  # the first is not disturbed


def test_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    StateFile(tmp_path).close()
    StateFile(tmp_path).close()


def test_a_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaggError) as caught:
        StateFile(tmp_path / "file" / "below")
    assert caught.value.code == errno.ENOTDIR


# ---- damage ------------------------------------------------------------------------


def test_a_damaged_file_is_set_aside_with_a_word(
    file: StateFile, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.save([ETH0])
    path.write_bytes(path.read_bytes().replace(b"1500", b"1501"))

    assert file.load() == ()

    assert "damaged (the checksum is wrong), kept as ports.damaged" in caplog.text
    assert not path.exists()
    assert b"1501" in path.with_suffix(".damaged").read_bytes()


@given(st.data())
def test_no_damage_makes_load_raise_or_lie(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("state")
    file, path = StateFile(directory), directory / "ports.json"
    file.save([ETH0, VETH])
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
    assert file.load() in ((), (ETH0, VETH))
    file.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b'{"body": 1}',
        b"[" * 9999,
    ],
)
def test_nonsense_is_set_aside(file: StateFile, path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert file.load() == ()
    assert not path.exists()


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the body of the file and mends the checksum."""
    body = json.loads(path.read_text())["body"]
    change(body)
    path.write_text(json.dumps({"sha256": originals._digest(body), "body": body}))


def test_a_row_that_is_no_original_is_damage(file: StateFile, path: Path) -> None:
    file.save([ETH0])
    changed(path, lambda body: body["originals"][0].pop("mtu"))
    assert file.load() == ()
    assert path.with_suffix(".damaged").exists()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """The way to each value that holds no others."""
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from leaves(value[key], (*path, key))
    else:
        yield path


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.just({}),
)


@given(st.data())
def test_one_odd_value_under_a_sound_checksum_is_damage_or_can_be_put_back(
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file, path = StateFile(Path(directory)), Path(directory) / "ports.json"
        file.save([ETH0, VETH])
        body = json.loads(path.read_text())["body"]
        *way, last = data.draw(st.sampled_from([*leaves(body["originals"])]))
        place = body["originals"]
        for key in way:
            place = place[key]
        place[last] = data.draw(ODD)
        path.write_text(json.dumps({"sha256": originals._digest(body), "body": body}))
        for found in file.load():
            encode_all(found)
        file.close()


def encode_all(found: Original) -> None:
    """Every message that putting it back may send."""
    requests = [
        messages.link_request(found.ifindex, ("IFLA_ADDRESS", found.mac)),
        messages.link_request(found.ifindex, ("IFLA_MTU", found.mtu)),
        messages.up_request(found.ifindex, found.up),
        *(messages.address_request(found.ifindex, each) for each in found.addresses),
    ]
    if found.addr_gen_mode is not None:
        mode = messages.addr_gen_mode_attribute(found.addr_gen_mode)
        requests.append(messages.link_request(found.ifindex, mode))
    for request in requests:
        request.encode()
    assert len([each.later(1) for each in found.addresses]) == len(found.addresses)


def test_another_version_is_set_aside(
    file: StateFile, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.save([ETH0])
    changed(path, lambda body: body.update(version=99))
    assert file.load() == ()
    assert "version 99, not 1" in caplog.text


@pytest.mark.parametrize("key", ["boot", "netns"])
def test_another_boot_or_namespace_is_ignored_with_a_word(
    file: StateFile, path: Path, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    caplog.set_level(logging.INFO)
    file.save([ETH0])
    changed(path, lambda body: body["where"].update({key: 0}))
    assert file.load() == ()
    assert "of another boot or namespace, ignored" in caplog.text


# ---- saving fails ------------------------------------------------------------------


def test_a_save_that_fails_leaves_the_old_file(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save([ETH0])

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LaggError) as caught:
        file.save([VETH])
    assert caught.value.code == errno.ENOSPC
    assert file.load() == (ETH0,)
