# SPDX-License-Identifier: BSD-2-Clause
"""Gets the checkers: tools/verify --install, and tools/setup --dev when it can.

spin and clang are packages.  cbmc and herd7 are in newer releases of Debian only, and
run here with their own C library, from .verify/; no root is needed for those two where
mmdebstrap is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".verify"
MIRROR = os.environ.get("LAGG_DEBIAN_MIRROR")  # None: mmdebstrap's own default

PACKAGES = {
    "spin": ("spin",),
    "mmdebstrap": ("mmdebstrap", "debian-archive-keyring"),
    "clang": ("clang", "libclang-rt-dev"),
}

WRAPPER = """#!/bin/sh
# Made by tools/verify --install: {program} of Debian {release}, with its libraries.
here=$(dirname "$(readlink -f "$0")")/../{program}
exec "$here/ld.so" --library-path "$here/lib" "$here/{program}" {options} "$@"
"""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A program from another release of Debian."""

    program: str
    release: str
    package: str
    share: str = ""  # a directory of the package, below usr/share
    options: str = ""


FOREIGN = (
    Foreign("cbmc", "trixie", "cbmc"),
    Foreign("herd7", "sid", "herdtools7", "herdtools7", '-set-libdir "$here/herd"'),
)


def run(command: list[str]) -> None:
    """Prints what it printed only when it fails."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\ntools/verify: {command[0]} failed")


@cache
def which_clang() -> str | None:
    """The clang there is, by whatever number, that has its sanitizers' libraries."""
    names = ["clang", *(f"clang-{number}" for number in range(30, 13, -1))]
    found = filter(None, map(shutil.which, names))
    return next((clang for clang in found if links_sanitized(clang)), None)


def links_sanitized(clang: str) -> bool:
    """Whether it makes a program with each sanitizer that we use."""
    return all(
        subprocess.run(
            [clang, f"-fsanitize={name}", "-xc", "-", "-o", "/dev/null"],
            input="int main(void) { return 0; }",
            capture_output=True,
            text=True,
            check=False,
        ).returncode
        == 0
        for name in ("address,undefined", "thread")
    )


def install_packages() -> None:
    missing = [
        package
        for command, packages in PACKAGES.items()
        if not (which_clang() if command == "clang" else shutil.which(command))
        for package in packages
    ]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"tools/verify: install {' '.join(missing)}, or run me as root")
    run(["apt-get", "update", "-q"])
    run(["apt-get", "install", "-qy", "--no-install-recommends", *missing])
    which_clang.cache_clear()


def loader_of(root: Path) -> Path:
    """The dynamic linker in an unpacked Debian."""
    return next((root / "usr" / "lib").glob("*/ld-linux*.so.*"))


def libraries_of(root: Path, binary: Path) -> list[Path]:
    """What the binary loads, by the word of its own dynamic linker."""
    loader = loader_of(root)
    path = f"{loader.parent}:{root / 'usr' / 'lib'}"
    listed = subprocess.run(
        [str(loader), "--library-path", path, "--list", str(binary)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = (line.partition("=>")[2].split() for line in listed.splitlines())
    paths = (Path(word[0]) for word in words if word)
    return [path for path in paths if path.is_relative_to(root)]


def keep(foreign: Foreign, root: Path) -> None:
    """Copies of an unpacked Debian the one program and what it needs."""
    target = CACHE / foreign.program
    shutil.rmtree(target, ignore_errors=True)
    (target / "lib").mkdir(parents=True)
    binary = root / "usr" / "bin" / foreign.program
    shutil.copy(binary, target)
    shutil.copy(loader_of(root), target / "ld.so")
    for library in libraries_of(root, binary):
        shutil.copy(library, target / "lib")
    if foreign.share:
        share = root / "usr" / "share" / foreign.share
        shutil.copytree(share, target, dirs_exist_ok=True)
    wrapper = CACHE / "bin" / foreign.program
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(
        WRAPPER.format(
            program=foreign.program, release=foreign.release, options=foreign.options
        )
    )
    wrapper.chmod(0o755)


def install_foreign(foreign: Foreign) -> None:
    if shutil.which(foreign.program) or (CACHE / "bin" / foreign.program).exists():
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        root = Path(directory) / foreign.release
        # A mirror that is a snapshot has release files that have run out.
        unchecked = '--aptopt=Acquire::Check-Valid-Until "false"'
        wanted = f"--include={foreign.package}"
        place = [foreign.release, str(root), *([MIRROR] if MIRROR else [])]
        run(["mmdebstrap", "--variant=extract", unchecked, wanted, *place])
        keep(foreign, root)


def install() -> None:
    """Everything that is missing; nothing when nothing is."""
    CACHE.mkdir(exist_ok=True)
    # Ignores itself, so that no list of the project's files has to know of it.
    (CACHE / ".gitignore").write_text("*\n")
    install_packages()
    for foreign in FOREIGN:
        install_foreign(foreign)


if __name__ == "__main__":
    install()
