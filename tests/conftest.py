# SPDX-License-Identifier: BSD-2-Clause
"""What every test may use, and what every test run must keep to.

Owns the seed, what `--fast` and `--long` mean, the lock of the tests marked 'alone',
and the look at what was left.
"""

import fcntl
import os
import random
import secrets
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Literal

import hypothesis
import pytest

from tests import leftovers
from tests.control.world import World, world_at
from tests.waiting import wait_until

__all__ = ["wait_until"]

LOCK = pytest.StashKey[Path]()
HELD = pytest.StashKey[IO[str]]()

HERE = Path(__file__).parent
MACHINES = HERE / "kernels", HERE / "interop"
"""Whose worlds take long to make: machines that boot."""
WORLDS = frozenset({HERE / "netns", *MACHINES})
"""Whose tests make namespaces, or machines, as root."""

# A loaded machine is slow, not wrong; print_blob says how to replay a failure.
hypothesis.settings.register_profile(
    "laggd",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("laggd")


def pytest_addoption(parser: pytest.Parser) -> None:
    length = parser.getgroup("laggd")
    length.addoption(
        "--long", action="store_true", help="all that is too long for every change, too"
    )
    length.addoption(
        "--fast",
        action="store_true",
        help="only what is pure: no root, no namespace, no compiler",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast") and config.getoption("--long"):
        raise pytest.UsageError("--fast and --long: one or the other")
    os.environ[leftovers.TESTS] = str(os.getpid())
    # The environment carries the seed to the xdist workers.
    os.environ.setdefault("LAGG_SEED", str(secrets.randbelow(2**32)))
    name = getattr(config, "workerinput", {}).get("alone_lock")
    if name is not None:
        config.stash[LOCK] = Path(name)


def pytest_report_header() -> str:
    return f"seed: LAGG_SEED={os.environ['LAGG_SEED']}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """This test's random numbers; they depend on LAGG_SEED alone."""
    seed = f"{os.environ['LAGG_SEED']}:{request.node.nodeid}"
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def long_run(request: pytest.FixtureRequest) -> bool:
    """Whether a test may take as long as its claim is worth (tools/test --long)."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """laggd's control socket over a made-up kernel; laggctl finds it by itself."""
    path = str(tmp_path / "laggd.sock")
    monkeypatch.setenv("LAGGD_SOCKET", path)
    with world_at(path) as found:
        yield found


# ---- what is run, and in which order -----------------------------------------------


def pytest_ignore_collect(
    collection_path: Path, config: pytest.Config
) -> Literal[True] | None:
    return True if config.getoption("--fast") and collection_path in WORLDS else None


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    without = [name for name, wanted in LENGTHS.items() if not wanted(config)]
    left = {item for name in without for item in items if item.get_closest_marker(name)}
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]
    items.sort(key=_turn)


LENGTHS: dict[str, Callable[[pytest.Config], bool]] = {
    "long": lambda config: bool(config.getoption("--long")),
    "slow": lambda config: not config.getoption("--fast"),
}
"""By marker: whether its tests are run."""


def _turn(item: pytest.Item) -> tuple[int, bool]:
    """First what one worker is to keep, for others take from the end of its queue.

    Together what runs alone: the others wait once for all of it.
    """
    machines = (n for n, each in enumerate(MACHINES) if each in item.path.parents)
    return next(machines, len(MACHINES)), _alone(item)


# ---- 'alone' -----------------------------------------------------------------------
# With xdist, an ordinary test holds the lock shared and one marked 'alone' holds it
# exclusively, and hands it to the next of its worker if that is one, too.  Without, no
# two tests run at once anyway.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """In the xdist controller: tells a worker-to-be where the lock is."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if LOCK not in config.stash:
        descriptor, name = tempfile.mkstemp(prefix="lagg-tests-", suffix=".lock")
        os.close(descriptor)
        config.stash[LOCK] = Path(name)
    node.workerinput["alone_lock"] = str(config.stash[LOCK])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and LOCK in config.stash:
        for path in (config.stash[LOCK], config.stash[LOCK].with_suffix(".gate")):
            path.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    stash = item.config.stash
    if LOCK not in stash:
        return (yield)
    lock = stash[HELD] if HELD in stash else _locked(stash[LOCK], alone=_alone(item))
    stash[HELD] = lock
    try:
        return (yield)
    finally:
        if nextitem is None or not (_alone(item) and _alone(nextitem)):
            lock.close()
            del stash[HELD]


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _locked(path: Path, *, alone: bool) -> IO[str]:
    """The lock, open; closing it gives it back.  Who waits for it is not overtaken."""
    lock = path.open()
    with path.with_suffix(".gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    return lock


# ---- nothing stays behind ----------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the run when a namespace, nft table or forwarder of ours outlives it."""
    touches_network = os.geteuid() == 0 and any(
        WORLDS.intersection(item.path.parents) for item in request.session.items
    )
    before = leftovers.nft_tables() if touches_network else set()
    yield
    assert not leftovers.namespaces()
    wait_until(lambda: not leftovers.forwarders(), 10, str(leftovers.forwarders()))
    if touches_network:
        assert leftovers.nft_tables() <= before
