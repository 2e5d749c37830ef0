# SPDX-License-Identifier: BSD-2-Clause
"""Which files a configuration is made of, and what is said of all of them together."""

import os
from pathlib import Path

import pytest

from lagg.config.files import FILE_BYTES_MAX, ConfigError, load


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "laggd.d").mkdir()
    return tmp_path


def write(path: Path, *laggs: str) -> Path:
    path.write_text("".join(f"[[lagg]]\n{each}\n" for each in laggs))
    return path


def names(path: Path, *, required: bool = True) -> list[str]:
    return [lagg.name for lagg in load(path, required=required)]


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_the_directory_beside_a_file_is_read_after_it_in_order(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'z'")
    write(etc / "laggd.d/20.toml", "name = 'b'")
    write(etc / "laggd.d/10.toml", "name = 'c'", "name = 'a'")
    assert names(main) == ["z", "c", "a", "b"]


def test_a_directory_is_its_files_and_the_directories_beside_them(etc: Path) -> None:
    write(etc / "laggd.toml", "name = 'z'")
    write(etc / "laggd.d/10.toml", "name = 'a'")
    assert names(etc) == ["z", "a"]
    assert names(etc / "laggd.d") == ["a"]


def test_what_an_editor_leaves_in_the_directory_is_not_read(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'z'")
    for name in (".#10.toml", "10.toml~", "10.toml.bak", "README"):
        (etc / "laggd.d" / name).write_text("rubbish")
    assert names(main) == ["z"]


def test_the_default_file_need_not_be_there(etc: Path) -> None:
    assert names(etc / "laggd.toml", required=False) == []
    write(etc / "laggd.d/10.toml", "name = 'a'")
    assert names(etc / "laggd.toml", required=False) == ["a"]
    assert complaints(etc / "laggd.toml") == [
        f"{etc}/laggd.toml: cannot be read: No such file or directory"
    ]


def test_a_name_in_two_files_is_refused_naming_both(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'lagg0'")
    write(etc / "laggd.d/10.toml", "name = 'lagg0'")
    assert complaints(main) == [
        f"{etc}/laggd.d/10.toml: lagg0: name: there is a lagg of this name already,"
        f" in {etc}/laggd.toml"
    ]


def test_a_port_in_two_files_is_refused_naming_both(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'lagg0'\nports = ['eth0']")
    write(etc / "laggd.d/10.toml", "name = 'lagg1'\nports = ['eth1', 'eth0']")
    assert complaints(main) == [
        f"{etc}/laggd.d/10.toml: lagg1: port eth0: already a port of lagg0,"
        f" in {etc}/laggd.toml"
    ]


def test_complaints_about_all_files_are_made_at_once(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'lagg0'\nmtu = 1")
    write(etc / "laggd.d/10.toml", "name = 'lagg0'\nrr_limit = -1")
    (etc / "laggd.d/20.toml").write_text("][")
    (etc / "laggd.d/30.toml").mkdir()
    first, second, third, fourth, fifth = complaints(main)
    assert first.startswith(f"{etc}/laggd.toml: lagg0: mtu: 1 is not a whole number")
    assert second.startswith(f"{etc}/laggd.d/10.toml: lagg0: rr_limit: -1 is not")
    assert third.startswith(f"{etc}/laggd.d/10.toml: lagg0: name: there is a lagg")
    assert fourth.startswith(f"{etc}/laggd.d/20.toml: not TOML: ")
    assert fifth == f"{etc}/laggd.d/30.toml: cannot be read: Is a directory"


def test_a_pipe_and_a_file_without_end_are_refused_and_not_read(etc: Path) -> None:
    main = write(etc / "laggd.toml", "name = 'lagg0'")
    os.mkfifo(etc / "laggd.d/10.toml")
    (etc / "laggd.d/20.toml").symlink_to("/dev/zero")
    assert complaints(main) == [
        f"{etc}/laggd.d/10.toml: cannot be read: it is a pipe",
        f"{etc}/laggd.d/20.toml: has more than {FILE_BYTES_MAX} bytes",
    ]


def test_an_empty_directory_is_no_configuration(tmp_path: Path) -> None:
    assert complaints(tmp_path) == [f"{tmp_path}: no *.toml file in it"]
