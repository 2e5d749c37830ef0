# SPDX-License-Identifier: BSD-2-Clause
"""reload and save as a client meets them, by the socket and by laggctl."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lagg import cli
from lagg.config.files import load
from tests.config.test_config import BAD_FILES
from tests.control.fake_trials import DONE
from tests.control.world import World, wait_until
from tests.tree import ROOT


def laggctl(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lagg", "--socket", world.path, *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_reload_prints_each_change_and_then_has_nothing_to_change(world: World) -> None:
    world.call("Create", name="lagg0", ports=["a"])
    world.file.write_text("[[lagg]]\nname = 'lagg0'\nports = ['a']\nrr_limit = 3\n")
    done = laggctl(world, "reload")
    assert (done.returncode, done.stdout) == (0, "lagg0: rr_limit: 1 -> 3\n")
    assert laggctl(world, "reload").stdout == "nothing to change\n"
    assert laggctl(world, "--json", "reload").stdout == '{"changes": []}\n'


@pytest.mark.parametrize(
    ("text", "line"), BAD_FILES, ids=[line for _, line in BAD_FILES]
)
def test_a_bad_file_is_refused_in_one_line_and_nothing_changes(
    world: World, text: str, line: str
) -> None:
    world.call("Create", name="lagg0")
    before, world.commands.calls = dict(world.commands.configs), []
    world.file.write_text(text)
    reply = world.call("Reload")
    assert reply["error"] == "org.laggd.Lagg.BadConfiguration"
    (said,) = reply["parameters"]["complaints"]
    assert said.startswith(f"{world.file}: ")
    assert line in said
    assert said.isprintable()
    assert (world.commands.configs, world.commands.calls) == (before, [])


def test_the_table_of_bad_files_is_long_enough() -> None:
    assert len(BAD_FILES) >= 60


def test_a_client_prints_every_complaint_and_exits_1(world: World) -> None:
    world.file.write_text("[[lagg]]\nname = 'lagg0'\nmtu = 1\nrr_limit = -1\n")
    done = laggctl(world, "reload")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"laggctl: {world.file}: lagg0: mtu: 1 is not a whole")
    assert second.startswith(f"laggctl: {world.file}: lagg0: rr_limit: -1 is not")


def test_a_good_file_that_is_refused_is_one_line(world: World) -> None:
    world.file.write_text("[[lagg]]\nname = 'refused0'\n")
    done = laggctl(world, "reload")
    assert (done.returncode, done.stderr) == (
        1,
        "laggctl: refused0: will not (EBUSY)\n",
    )


def test_the_supervisor_hears_of_every_reload_and_of_its_end(world: World) -> None:
    for text in ("", "[["):
        world.file.write_text(text)
        world.told.clear()
        world.call("Reload")
        begins, ends = world.told
        assert begins.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert ends == "READY=1"


def test_reloads_run_one_after_the_other(world: World) -> None:
    world.file.write_text("[[lagg]]\nname = 'lagg0'\n")
    world.commands.gate = asyncio.Event()
    with world.connect() as first, world.connect() as second:
        first.request("Reload")
        wait_until(lambda: world.commands.calls == ["reload"])
        second.request("Reload")
        world.call("List")
        assert world.commands.calls == ["reload"]
        world.soon(world.commands.gate.set)
        made = ["lagg0: created, laggproto failover"]
        assert first.reply()["parameters"] == DONE | {"changes": made}
        assert second.reply()["parameters"] == DONE


def test_what_is_saved_checks_and_changes_nothing(world: World, tmp_path: Path) -> None:
    world.call(
        "Create",
        name="lagg0",
        proto="loadbalance",
        ports=["a", "b"],
        mac="02:00:5e:00:53:01",
        mtu=9000,
        options={"lagghash": ["l3"], "hash_seed": 0, "use_flowid": True},
    )
    world.call("Create", name="łącze")
    assert laggctl(world, "save").stdout == (
        '[[lagg]]\nname = "lagg0"\nproto = "loadbalance"\nports = ["a", "b"]\n'
        'mac = "02:00:5e:00:53:01"\nmtu = 9000\nlagghash = ["l3"]\nhash_seed = 0\n'
        "use_flowid = true\n"
        '\n[[lagg]]\nname = "łącze"\nproto = "failover"\nports = []\n'
    )
    assert laggctl(world, "save", str(world.file)).returncode == 0
    assert cli.main(["check", str(world.file)]) == 0
    assert {each.name: each for each in load(world.file)} == world.commands.configs
    assert world.call("Reload")["parameters"] == DONE
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".toml"] == [
        "laggd.toml"
    ]


def test_a_save_leaves_what_an_operator_wrote_beside(world: World) -> None:
    world.file.write_text("# mine\n[[lagg]]\nname = 'lagg0' # the core\nmtu = 1400\n")
    world.call("Create", name="lagg0", mtu=9000)
    assert laggctl(world, "save", str(world.file)).returncode == 0
    saved = world.file.read_text()
    assert saved.startswith("# mine\n[[lagg]]\nname = 'lagg0' # the core\nmtu = 9000\n")


def test_a_place_where_nothing_can_be_saved_is_one_line(world: World) -> None:
    done = laggctl(world, "save", "/nowhere/laggd.toml")
    assert done.returncode == 1
    assert done.stderr == (
        "laggctl: /nowhere/laggd.toml: save: No such file or directory (ENOENT)\n"
    )


def test_where_saving_fails_nothing_is_left(world: World, tmp_path: Path) -> None:
    world.file.write_text("# mine\n")
    world.call("Create", name="lagg0", ports=[f"eth{n}" for n in range(20)])
    names = sorted(tmp_path.iterdir())
    saving = f"laggctl={sys.executable}; ulimit -f 0; exec $laggctl -m lagg save"
    done = subprocess.run(
        ["sh", "-c", f"trap '' XFSZ; {saving} {world.file}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"laggctl: {world.file}: save: File too large (EFBIG)\n"
    assert world.file.read_text() == "# mine\n"
    assert sorted(tmp_path.iterdir()) == names


def test_a_save_is_on_the_disk_before_it_has_the_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(step: str) -> Callable[..., object]:
        real = getattr(os, step)

        def do(*arguments: object) -> object:
            order.append(step)
            return real(*arguments)

        return do

    for step in ("fsync", "replace"):
        monkeypatch.setattr(os, step, noted(step))
    world.call("Create", name="lagg0")
    assert cli.main(["save", str(world.file)]) == 0
    assert order == ["fsync", "replace", "fsync"]


def test_a_link_to_the_file_stays_a_link(world: World, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(world.file)
    assert cli.main(["save", str(link)]) == 0
    assert link.is_symlink()
    assert world.file.read_text() == ""


def test_what_is_no_file_is_not_replaced_by_one(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert cli.main(["save", str(pipe)]) == 1
    assert capfd.readouterr().err == (
        f"laggctl: {pipe}: save: is no regular file (EINVAL)\n"
    )
    assert pipe.is_fifo()


def test_a_reload_is_refused_once_laggd_stops(world: World) -> None:
    world.file.write_text("")
    world.run(world.reloader.close())
    assert world.call("Reload")["parameters"]["errno_name"] == "ESHUTDOWN"
