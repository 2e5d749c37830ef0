# SPDX-License-Identifier: BSD-2-Clause
"""What we ship: an sdist that is complete, and the stable-ABI wheel built from it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from lagg import __version__
from tests.tree import ROOT, name_of, tree

pytestmark = pytest.mark.slow

EXTENSION = "lagg/_native.abi3.so"
PROGRAM = "lagg/lagg-forwarder"


@dataclass(frozen=True, slots=True)
class Shipment:
    """The two files that `python -m build` makes, and what is in them."""

    sources: frozenset[str]
    wheel: Path
    wheel_names: frozenset[str]
    sdist_names: frozenset[str]  # without the directory that holds them all


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """Returns what it printed; fails with that."""
    clean = {name: text for name, text in os.environ.items() if name != "LAGG_SANITIZE"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def shipment(tmp_path_factory: pytest.TempPathFactory) -> Shipment:
    """Built in a clean copy: nothing that an earlier build left can end up in it."""
    copy = tmp_path_factory.mktemp("package") / "laggd"
    sources = frozenset(name_of(path) for path in tree())
    for name in sources:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    # Without isolation: setuptools and cffi are here, and no network is needed.
    run([sys.executable, "-m", "build", "--no-isolation"], copy)
    (wheel,) = (copy / "dist").glob("*.whl")
    (sdist,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    contents = zipfile.ZipFile(wheel).namelist()
    return Shipment(sources, wheel, frozenset(contents), frozenset(names))


@pytest.fixture(scope="module")
def unpacked(shipment: Shipment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(shipment.wheel).extractall(directory)
    return directory


def test_the_wheel_serves_every_python_from_3_11_on(shipment: Shipment) -> None:
    assert "-cp311-abi3-linux_" in shipment.wheel.name
    assert EXTENSION in shipment.wheel_names


def test_the_wheel_holds_the_package_and_nothing_else(shipment: Shipment) -> None:
    outside = {
        name
        for name in shipment.wheel_names
        if not name.startswith("lagg/") and ".dist-info/" not in name
    }
    assert outside == set()
    package = {name for name in shipment.sources if name.startswith("lagg/")}
    assert package - shipment.wheel_names == set()


def test_both_hold_the_licence(shipment: Shipment) -> None:
    assert "LICENSE" in shipment.sdist_names
    assert any(name.endswith("/licenses/LICENSE") for name in shipment.wheel_names)


def test_the_sdist_holds_sources_only(shipment: Shipment) -> None:
    needed = {
        name for name in shipment.sources if name.startswith(("lagg/", "native/"))
    }
    assert (needed | {"setup.py", "pyproject.toml"}) - shipment.sdist_names == set()
    built = {n for n in shipment.sdist_names if n.endswith((".so", ".o", ".pyc"))}
    assert built | ({"lagg/_native.c", PROGRAM} & shipment.sdist_names) == set()


def test_the_wheel_s_program_runs_and_speaks_of_the_extension_s_layout(
    shipment: Shipment, unpacked: Path
) -> None:
    assert PROGRAM in shipment.wheel_names
    mode = zipfile.ZipFile(shipment.wheel).getinfo(PROGRAM).external_attr >> 16
    assert mode & 0o777 == 0o755
    (unpacked / PROGRAM).chmod(mode & 0o777)  # as pip does, and unzip, and not zipfile
    look = "from lagg._native import lib; print(f'{lib.lagg_layout():08x}')"
    layout = run([sys.executable, "-c", look], unpacked, PYTHONPATH=str(unpacked))
    said = run([str(unpacked / PROGRAM), "--version"], unpacked)
    assert said == f"lagg-forwarder {__version__} layout {layout}"


def test_the_wheel_s_extension_loads(unpacked: Path) -> None:
    program = "import lagg._native as native; print(native.__file__)"
    # From a place that is not the project, so that only the wheel can be meant.
    place = run([sys.executable, "-c", program], unpacked, PYTHONPATH=str(unpacked))
    assert place.strip() == str(unpacked / EXTENSION)


def test_the_extension_exports_only_its_entry(unpacked: Path) -> None:
    command = ["nm", "--dynamic", "--defined-only", str(unpacked / EXTENSION)]
    symbols = {line.split()[-1] for line in run(command, unpacked).splitlines()}
    assert symbols - {"_init", "_fini"} == {"PyInit__native"}


@pytest.mark.parametrize("name", [EXTENSION, PROGRAM])
def test_assertions_stay_on(unpacked: Path, name: str) -> None:
    assert b"__assert_fail" in (unpacked / name).read_bytes()
