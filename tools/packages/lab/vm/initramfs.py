# SPDX-License-Identifier: BSD-2-Clause
"""An initramfs: a cpio archive in the "newc" format, as the kernel unpacks it.

Knows not what is in it.
"""

import lzma
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

EMPTY = frozenset({"dev", "proc", "run", "sys", "tmp"})


def archive(init: str, files: Mapping[str, Path]) -> bytes:
    """An initramfs of /init, a script, and files: name inside, path here."""
    return b"".join(_entries(init, files))


def inside(module: Path) -> str:
    """Where a module is that /init loads."""
    return f"/modules/{module.name.partition('.')[0]}.ko"


def with_libraries(programs: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Programs by their names inside, and what they are linked with."""
    for name, path in programs.items():
        yield name, path.resolve()
        listed = subprocess.run(
            ["ldd", path], capture_output=True, text=True, check=False
        )
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            yield library, Path(library).resolve()


def _entries(init: str, files: Mapping[str, Path]) -> Iterator[bytes]:
    names = {name.lstrip("/") for name in files}
    above = {str(path) for name in names for path in Path(name).parents} - {"."}
    for name in sorted(above | EMPTY):
        yield _entry(name, stat.S_IFDIR | 0o755)
    yield _entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield _entry("init", stat.S_IFREG | 0o755, init.encode())
    for name, path in files.items():
        yield _entry(name.lstrip("/"), stat.S_IFREG | 0o755, _content(name, path))
    yield _entry("TRAILER!!!", 0)


def _content(name: str, path: Path) -> bytes:
    """A module that /init loads is unpacked; modprobe(8) unpacks its own."""
    content = path.read_bytes()
    packed = path.suffix == ".xz" and not name.endswith(".xz")
    return lzma.decompress(content) if packed else content


def _entry(
    name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    # inode, mode, uid, gid, links, time, size, device, device of a node, name, checksum
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(head + name.encode() + b"\0") + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
