# SPDX-License-Identifier: BSD-2-Clause
"""A clean Debian as a tar, outside the project: made once, by mmdebstrap, for all.

Owns ~/.cache/laggd/*.tar.  Knows not what becomes of it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laggd"
SUITES = {11: "bookworm", 13: "trixie"}
"""The Debian whose python3 is of the minor version that runs this."""

BASE_SECONDS = 600


class MissingError(Exception):
    """No clean Debian can be had here; says why."""


def missing() -> str | None:
    """Why there is none; None when it is there or can be made."""
    if sys.version_info.minor not in SUITES:
        return f"no Debian has Python 3.{sys.version_info.minor}"
    if shutil.which("mmdebstrap") is None:
        return "no mmdebstrap here: tools/setup --dev installs it"
    return None


def base(packages: Sequence[str]) -> Path:
    """The tar of a minimal Debian with these; made if it is not there."""
    if why := missing():
        raise MissingError(why)
    included = ",".join(packages)
    digest = hashlib.sha256(included.encode()).hexdigest()[:8]
    suite = SUITES[sys.version_info.minor]
    tar = CACHE / f"{suite}-{digest}.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _make(suite, included, tar)
    return tar


def _make(suite: str, included: str, tar: Path) -> None:
    aside = tar.with_suffix(f".{os.getpid()}.tar")
    command = ["mmdebstrap", "--variant=minbase", f"--include={included}", suite]
    try:
        subprocess.run(
            [*command, str(aside)],
            check=True,
            capture_output=True,
            text=True,
            timeout=BASE_SECONDS,
        )
        os.replace(aside, tar)
    except subprocess.TimeoutExpired:
        raise MissingError(f"mmdebstrap took more than {BASE_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise MissingError(error.stderr.strip().rpartition("\n")[2]) from None
    finally:
        aside.unlink(missing_ok=True)
