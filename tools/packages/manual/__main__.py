# SPDX-License-Identifier: BSD-2-Clause
"""tools/manual: writes all pages and completions below a directory."""

import argparse
from pathlib import Path

from manual.complete import bash, fish, zsh
from manual.pages import laggctl_page, laggd_page, toml_page

FILES = {
    "share/man/man8/laggd.8": laggd_page,
    "share/man/man8/laggctl.8": laggctl_page,
    "share/man/man5/laggd.toml.5": toml_page,
    "share/bash-completion/completions/laggctl": bash,
    "share/zsh/site-functions/_laggctl": zsh,
    "share/fish/vendor_completions.d/laggctl.fish": fish,
}


def write(directory: Path) -> list[Path]:
    """Every file; answers where they are."""
    written = []
    for name, make in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")
        written.append(path)
    return written


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/manual", description=__doc__)
    parser.add_argument(
        "directory", nargs="?", type=Path, default=Path("build/manual"), metavar="DIR"
    )
    for path in write(parser.parse_args().directory):
        print(path)


if __name__ == "__main__":
    main()
