# SPDX-License-Identifier: BSD-2-Clause
"""A kernel package of Debian's, unpacked and not installed: for virtual machines alone.

tools/setup fetches it.  Knows not what will boot it.
"""

import fnmatch
import lzma
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
XZ_MAGIC = b"\xfd7zXZ\0"


@dataclass(frozen=True, slots=True)
class Kernel:
    """What was unpacked."""

    directory: Path

    @property
    def release(self) -> str:
        """As uname -r says it."""
        return next((self.directory / "lib" / "modules").iterdir()).name

    @property
    def modules(self) -> Path:
        """The directory of its modules, with what modprobe(8) needs to find them."""
        return self.directory / "lib" / "modules" / self.release

    def content(self) -> bytes:
        """Unpacked where we can: the emulated processor takes seconds for it."""
        packed = (self.directory / "boot" / f"vmlinuz-{self.release}").read_bytes()
        start = packed.find(XZ_MAGIC)
        if start < 0:
            return packed
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed[start:])

    def order(self, patterns: Sequence[str]) -> list[Path]:
        """The modules of these names, as "*/virtio_net", in the order of loading.

        Each after those that it needs; what is absent is built in.
        """
        needs = self._needs()
        order: dict[Path, None] = {}
        for pattern in patterns:
            for name in fnmatch.filter(needs, f"{pattern}.ko*"):
                for each in (*reversed(needs[name]), name):
                    order[self.modules / each] = None
        return list(order)

    def _needs(self) -> dict[str, list[str]]:
        """By module: those it needs, the last to be loaded first."""
        listed = self.modules / "modules.dep"
        if not listed.exists():
            subprocess.run(
                [str(where("depmod")), "-b", self.directory, self.release], check=True
            )
        lines = (line.partition(":") for line in listed.read_text().splitlines())
        return {name: others.split() for name, _, others in lines}


def where(name: str) -> str | None:
    """A program, an administrator's too; None when it is not there."""
    return shutil.which(name, path=SEARCH)
