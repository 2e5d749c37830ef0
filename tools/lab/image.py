# SPDX-License-Identifier: BSD-2-Clause
"""What a virtual machine boots: Debian's kernel, and an initramfs of this machine's.

Owns .venv/lab/vm-*/; .venv/lab/kernel/ is tools/setup's, a kernel package unpacked and
not installed: it is for the virtual machine alone.  Knows not what will run inside.
"""

import fcntl
import hashlib
import lzma
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.program import CACHE, build

KERNEL = CACHE / "kernel"
EMULATOR = "qemu-system-x86_64"
PROGRAMS = {
    "busybox": "/bin/busybox",
    "dash": "/bin/sh",  # busybox's own prefers its applets to ip(8) and tc(8)
    "ip": "/sbin/ip",
    "tc": "/sbin/tc",
    "iperf3": "/bin/iperf3",
}
"""What is taken along from this machine, and where it goes."""

MODULES = (
    *("virtio_pci", "virtio_console", "virtio_net", "bonding"),
    *("sch_ingress", "cls_matchall", "act_gact"),
)
"""Those loaded, in this order, each after those that it needs."""

SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
XZ_MAGIC = b"\xfd7zXZ\0"

INIT = """#!/bin/sh
export PATH=/sbin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
for module in {modules}; do insmod $module max_bonds=0; done
ip link set lo up
exec 3<>$(echo /dev/vport*)
while :; do  # for each line, a script in base64, one comes back: status and output
    while read -r line; do
        echo "$line" | base64 -d >/run/script
        sh /run/script >/run/output 2>&1 </dev/null
        echo $? "$(base64 -w 0 /run/output)" >&3
    done <&3
    sleep 0.05  # nobody is there yet
done
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU is given."""

    kernel: Path
    initramfs: Path
    release: str  # as uname -r says it


def missing() -> str | None:
    """Why no virtual machine can run here; None when one can."""
    absent = [name for name in (EMULATOR, "depmod") if not _where(name)]
    absent += [name for name in PROGRAMS if not _where(name)]
    if absent:
        return f"no {', '.join(absent)}: run tools/setup --dev on an x86-64 Debian"
    if not KERNEL.exists():
        return "no kernel for a virtual machine: run tools/setup --dev on a Debian"
    return None


def image() -> Image:
    """Made once, and again when anything in it has changed; safe beside others."""
    release = next((KERNEL / "lib" / "modules").iterdir()).name
    with (CACHE / "vm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = dict(_files(release))
        made = CACHE / f"vm-{_digest(release, files)}"
        if not made.exists():
            for old in CACHE.glob("vm-*"):
                shutil.rmtree(old)
            _make(made, release, files)
    return Image(made / "vmlinux", made / "initramfs", release)


def _where(name: str) -> str | None:
    return shutil.which(name, path=SEARCH)


def _digest(release: str, files: Mapping[str, Path]) -> str:
    text = [release, Path(__file__).read_text()]
    text += [f"{name} {path.stat().st_mtime_ns}" for name, path in files.items()]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _make(made: Path, release: str, files: Mapping[str, Path]) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        directory = Path(name, "vm")
        directory.mkdir()
        (directory / "vmlinux").write_bytes(_kernel(release))
        entries = b"".join(_entries(release, files))
        (directory / "initramfs").write_bytes(entries)
        directory.rename(made)


def _kernel(release: str) -> bytes:
    """Unpacked where we can: the emulated processor takes seconds for it."""
    packed = (KERNEL / "boot" / f"vmlinuz-{release}").read_bytes()
    start = packed.find(XZ_MAGIC)
    if start < 0:
        return packed
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed[start:])


# ---- what is in it -------------------------------------------------------------------


def _files(release: str) -> Iterator[tuple[str, Path]]:
    """(name inside, path here) of all programs, their libraries and the modules."""
    programs = {inside: Path(_where(name) or name) for name, inside in PROGRAMS.items()}
    stream = build("stream")  # called by the same name as here
    programs[str(stream)] = stream
    for inside, path in programs.items():
        yield inside, path.resolve()
        listed = subprocess.run(
            ["ldd", path], capture_output=True, text=True, check=False
        )
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            yield library, Path(library).resolve()
    for path in _modules(release):
        yield _inside(path), path


def _modules(release: str) -> list[Path]:
    """In the order of loading."""
    directory = KERNEL / "lib" / "modules" / release
    if not (directory / "modules.dep").exists():
        depmod = str(_where("depmod"))
        subprocess.run([depmod, "-b", KERNEL, release], check=True)
    needs: dict[str, list[str]] = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[name] = others.split()
    stems = {Path(name).name.partition(".")[0]: name for name in needs}
    order: dict[Path, None] = {}
    for stem in filter(stems.__contains__, MODULES):  # what is absent is built in
        for name in (*reversed(needs[stems[stem]]), stems[stem]):
            order[directory / name] = None
    return list(order)


def _inside(module: Path) -> str:
    return f"/modules/{module.name.partition('.')[0]}.ko"


def _entries(release: str, files: Mapping[str, Path]) -> Iterator[bytes]:
    """A cpio archive in the "newc" format, as the kernel unpacks it."""
    modules = [_inside(path) for path in _modules(release)]
    init = INIT.format(modules=" ".join(modules))
    names = {name.lstrip("/") for name in files}
    above = {str(path) for name in names for path in Path(name).parents} - {"."}
    for name in sorted(above | {"dev", "proc", "run", "sys", "tmp"}):
        yield _entry(name, stat.S_IFDIR | 0o755)
    yield _entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield _entry("init", stat.S_IFREG | 0o755, init.encode())
    for name, path in files.items():
        yield _entry(name.lstrip("/"), stat.S_IFREG | 0o755, _content(path))
    yield _entry("TRAILER!!!", 0)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _entry(
    name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    # inode, mode, uid, gid, links, time, size, device, device of a node, name, checksum
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(head + name.encode() + b"\0") + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
