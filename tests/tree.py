# SPDX-License-Identifier: BSD-2-Clause
"""The project's sources, for the tests that read them.  Knows no rule about them."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What .gitignore names, for a tree that is no repository (an unpacked sdist).
BUILT = re.compile(
    r"/\.(?:git|venv|verify|fuzz|\w+_cache|hypothesis)/|/(?:build|dist|bench-results|__pycache__)/"
    r"|\.egg-info/|\.(?:so|o|pyc)$|/lagg/(?:_native\.c|lagg-forwarder)$"
)


@cache
def tree() -> tuple[Path, ...]:
    """Every file that is, or would be, in the repository."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        # Root may test a user's clone, which git would otherwise refuse to look at.
        trust = ["-c", f"safe.directory={ROOT}"]
        listed = subprocess.run(
            ["git", *trust, "ls-files", "-z", "-c", "-o", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        paths = {ROOT / name for name in listed.split("\0") if name}
    else:
        every = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*"))
        paths = {ROOT / name for name in every if not BUILT.search(f"/{name}")}
    return tuple(sorted(path for path in paths if path.is_file()))


def is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:4096]


def first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]


def python_files() -> list[Path]:
    return [
        path
        for path in tree()
        if path.suffix == ".py"
        or (path.suffix == "" and re.match(r"#!.*python", first_line(path)))
    ]


def c_files() -> list[Path]:
    return [path for path in tree() if path.suffix in {".c", ".h"}]


def native_c_files() -> list[Path]:
    """What we ship: native/ and native/forwarder/."""
    native = ROOT / "native"
    return [p for p in c_files() if p.is_relative_to(native) and p.suffix == ".c"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(source: str) -> str:
    """C source with comments and strings blanked; its lines stay where they were."""
    noise = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
    return re.sub(
        noise, lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL
    )
