# SPDX-License-Identifier: BSD-2-Clause
"""Who may only look sees all, changes nothing, and reads no frame."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from lab import Daemon, Lab
from lab.daemon import LAGGCTL, UNPRIVILEGED
from tests.netns.test_unprivileged import may_run

pytestmark = pytest.mark.skipif(
    not may_run(), reason="another user may not read the directory of this tree"
)


class Watched:
    """A laggd with lagg0, and somebody without any right who looks at it."""

    def __init__(self, lab: Lab) -> None:
        near, far = lab.host("near"), lab.host("far")
        for number in range(2):
            lab.cable(near, f"p{number}", far, f"q{number}")
        self.path = near.directory / "run" / "look.sock"
        near.directory.parent.chmod(0o711)
        self.laggd: Daemon = lab.daemon(near, options=("--read-socket", str(self.path)))
        self.laggd.ctl("create", "lagg0", "p0", "p1")

    def looking(self, *words: str) -> list[str]:
        user = (f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups")
        return ["setpriv", *user, str(LAGGCTL), "--socket", str(self.path), *words]

    def look(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.looking(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def sees_and_changes_nothing(self) -> None:
        (lagg,) = json.loads(self.look("--json", "show").stdout)
        assert [port["name"] for port in lagg["ports"]] == ["p0", "p1"]
        refused = self.look("detach", "lagg0", "p1")
        cause = f"this socket only reads; changes are made at {self.laggd.socket}"
        assert (refused.returncode, refused.stderr) == (
            1,
            f"laggctl: lagg0: {cause} (EPERM)\n",
        )
        assert [each["name"] for each in self.laggd.record()["ports"]] == ["p0", "p1"]


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Lab() as lab:
        yield Watched(lab)


LOOKS = (
    *("show -v", "show --bonding lagg0", "stats", "status", "save", "pins lagg0"),
    *(
        "explain lagg0 dmac=02:00:5e:00:53:99 src=10.0.0.1 dst=10.0.0.2",
        "top --count 1",
    ),
)


@pytest.mark.parametrize("words", LOOKS)
def test_somebody_without_any_right_sees_it(watched: Watched, words: str) -> None:
    done = watched.look(*words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_frames_are_seen_by_nobody_who_may_only_look(watched: Watched) -> None:
    words = watched.looking("capture", "lagg0", "--count", "1")
    done = watched.laggd.host.run(*words, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "(EPERM)" in done.stderr


def test_it_is_there_after_a_restart_a_hand_over_and_a_death(watched: Watched) -> None:
    watched.sees_and_changes_nothing()
    watched.laggd.restart()
    watched.sees_and_changes_nothing()
    for end in (watched.laggd.leave, watched.laggd.kill):
        end()
        watched.laggd.start()
        watched.sees_and_changes_nothing()
    assert sorted(each.name for each in watched.path.parent.glob("l*.sock*")) == [
        "laggd.sock",
        "look.sock",
    ]
