# SPDX-License-Identifier: BSD-2-Clause
"""Files that are refused are a complaint until they are taken."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from lagg.config.files import ConfigError, load
from lagg.daemon.reloader import Reloader
from lagg.model import LaggConfig, Manner
from lagg.plan.outcome import Outcome

GOOD = "[[lagg]]\nname = 'lagg0'\n"
BAD = "[[lagg]]\nname = 'lagg0'\nmtu = 1\nrr_limit = -1\n"
SAID = "lagg0: mtu: 1 is not a whole number from 68 to 65521"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "laggd.toml"


def reloader_of(path: Path) -> Reloader:
    async def apply(_: Sequence[LaggConfig], __: Manner) -> Outcome:
        return Outcome()

    return Reloader(lambda: load(path), apply, lambda _: None)


def refusal_of(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value


def test_what_a_reload_refuses_is_a_complaint_until_one_is_taken(path: Path) -> None:
    async def reloaded() -> None:
        reloader = reloader_of(path)
        path.write_text(BAD)
        with pytest.raises(ConfigError):
            await reloader.reload()
        assert reloader.complaints() == (f"files refused: {path}: {SAID} ...",)
        path.write_text(GOOD)
        await reloader.reload()
        assert reloader.complaints() == ()

    asyncio.run(reloaded())


def test_what_was_refused_at_the_start_is_one_and_is_logged_whole(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(BAD)
    reloader = reloader_of(path)
    reloader.note(refusal_of(path))
    assert reloader.complaints() == (f"files refused: {path}: {SAID} ...",)
    errors = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert [SAID in each for each in errors] == [True, False, False]
    assert errors[-1] == "reload: nothing was changed"


def test_files_that_were_read_at_the_start_are_no_complaint(path: Path) -> None:
    reloader = reloader_of(path)
    reloader.note(None)
    assert reloader.complaints() == ()
