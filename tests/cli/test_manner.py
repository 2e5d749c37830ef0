# SPDX-License-Identifier: BSD-2-Clause
"""Changes that are tried first: what is asked of laggd, and what is printed of it."""

import errno
import json

import pytest

from lagg.cli.output import clock
from lagg.cli.words import confirm_ms
from lagg.model import LaggConfig, Proto
from tests.cli.test_cli import Laggctl, Run, laggctl
from tests.control.fake_trials import AT
from tests.control.world import World

__all__ = ["laggctl"]

CLOCK = clock(AT)

DRY = (
    "a line\n"
    "lagg0: p0 -> p1: 128 buckets, 50 % of its flows\n"
    "lagg0: port p0: carries 100 % -> 50 %\n"
    "nothing was done: --dry-run\n"
)


@pytest.fixture
def lagg0(world: World) -> World:
    config = LaggConfig("lagg0", Proto.LOADBALANCE, ("p0", "p1"))
    world.commands.configs["lagg0"] = config
    return world


@pytest.mark.usefixtures("lagg0")
@pytest.mark.parametrize(
    "words",
    ["set lagg0 --rr-limit 3", "attach lagg0 p2", "detach lagg0 p1"],
)
def test_a_dry_run_prints_what_would_change_and_move(
    laggctl: Laggctl, words: str
) -> None:
    assert laggctl(*words.split(), "--dry-run") == Run(0, DRY, "")
    found = json.loads(laggctl("--json", *words.split(), "--dry-run").out)
    assert found["changes"] == ["a line"]
    (shift,) = found["shifts"]
    assert shift["moves"] == [{"from": "p0", "to": "p1", "buckets": 128, "share": 0.5}]
    assert shift["ports"] == [
        {
            "port": "p0",
            "share": 1.0,
            "share_after": 0.5,
            "buckets": 256,
            "buckets_after": 128,
        }
    ]


@pytest.mark.usefixtures("world")
def test_a_lagg_that_is_not_made_yet_is_tried_as_well(laggctl: Laggctl) -> None:
    assert laggctl("create", "lagg0", "p0", "--dry-run") == Run(0, DRY, "")


@pytest.mark.usefixtures("lagg0")
def test_a_refusal_of_a_dry_run_is_that_of_the_change(laggctl: Laggctl) -> None:
    dry, real = (
        laggctl("detach", "lagg0", "p9", *words) for words in (("--dry-run",), ())
    )
    assert dry == real
    assert (dry.code, dry.err) == (
        1,
        "laggctl: lagg0: port p9: no port of it (ENOENT)\n",
    )
    told = json.loads(laggctl("--json", "detach", "lagg0", "p9", "--dry-run").out)
    assert told["error"] == {
        "thing": "lagg0: port p9",
        "cause": "no port of it",
        "errno": errno.ENOENT,
    }


def test_a_change_says_when_it_reverts_until_it_is_confirmed(
    lagg0: World, laggctl: Laggctl
) -> None:
    words = ("detach", "lagg0", "p1", "--confirm", "2m")
    said = f"lagg0: reverts at {CLOCK} unless: laggctl confirm lagg0\n"
    assert laggctl(*words) == Run(0, said, "")
    (trial,) = lagg0.commands.on_trial.tried
    assert trial["left_ms"] == 120_000
    assert "lagg0 on trial for 2 min 0 s" in laggctl("status").out
    status = json.loads(laggctl("--json", "status").out)
    assert status["trials"] == [trial]
    assert laggctl("confirm") == Run(0, "lagg0: confirmed\n", "")
    refused = Run(1, "", "laggctl: laggd: nothing on trial (ENOENT)\n")
    assert laggctl("confirm") == refused


def test_a_confirmation_may_name_the_lagg_or_take_the_change_back(
    lagg0: World, laggctl: Laggctl
) -> None:
    told = json.loads(laggctl("--json", "attach", "lagg0", "p2", "--confirm=30").out)
    assert told == {
        "changes": [],
        "trial": {"laggs": ["lagg0"], "until": AT, "left_ms": 30_000},
    }
    assert laggctl("confirm", "lagg1").code == 1
    done = json.loads(laggctl("--json", "confirm", "lagg0", "--revert").out)
    assert done == {"laggs": ["lagg0"], "done": "reverted"}
    assert lagg0.commands.calls[-1] == "revert"


def test_of_a_reload_it_says_that_files_stay_as_they_are(
    lagg0: World, laggctl: Laggctl
) -> None:
    lagg0.file.write_text('[[lagg]]\nname = "lagg0"\nproto = "lacp"\n')
    said = laggctl("reload", "--confirm", "1h").out.splitlines()
    assert said[-2:] == [
        f"lagg0: reverts at {CLOCK} unless: laggctl confirm lagg0",
        "the files stay as they are: after a revert they say what does not run",
    ]
    assert "lagg0: proto: loadbalance -> lacp" in said
    dry = laggctl("reload", "--dry-run").out.splitlines()
    assert dry[-1] == "nothing was done: --dry-run"


@pytest.mark.parametrize(
    ("word", "found"),
    [("1", 1_000), ("30s", 30_000), ("2m", 120_000), ("24h", 86_400_000)],
)
def test_a_time_is_written_with_a_unit_or_in_seconds(word: str, found: int) -> None:
    assert confirm_ms(word) == found


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("word", ["", "s", "1.5", "-1", "2d", "1ms", "m2", "9" * 10])
def test_another_word_is_no_time(laggctl: Laggctl, word: str) -> None:
    said = laggctl("detach", "lagg0", "p1", f"--confirm={word}")
    assert (said.code, said.out) == (2, "")
    assert "argument --confirm: " in said.err


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("word", ["0", "0s", "25h", "86401"])
def test_a_time_out_of_range_is_refused_in_the_users_words(
    laggctl: Laggctl, word: str
) -> None:
    said = laggctl("detach", "lagg0", "p1", f"--confirm={word}")
    assert (said.code, said.out) == (2, "")
    assert f"argument --confirm: '{word}' is not from 1s to 24h" in said.err


@pytest.mark.parametrize("confirm", [999, 86_400_001, -1])
def test_laggd_bounds_it_as_well(lagg0: World, confirm: int) -> None:
    reply = lagg0.call("Detach", name="lagg0", ports=["p1"], confirm_ms=confirm)
    assert reply["parameters"]["cause"] == (
        f"{confirm} is not a whole number from 1000 to 86400000"
    )
    assert lagg0.commands.on_trial.tried == []
