# SPDX-License-Identifier: BSD-2-Clause
"""What a virtual machine boots: a kernel, an initramfs, maybe disks; and a small one.

Owns .venv/lab/vm-*/: an initramfs of this machine's programs, for Debian's kernel for
virtual machines in .venv/lab/kernel/.  Knows not what will run inside.
"""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.program import CACHE, build
from lab.vm import initramfs
from lab.vm.kernel import Kernel, where

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
    *("*/virtio_pci", "*/virtio_console", "*/virtio_net", "*/bonding"),
    *("*/sch_ingress", "*/cls_matchall", "*/act_gact"),
)
"""The modules to load in this order, each after those that it needs."""

SERVE = """
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
"""What reads inside: see machine.Shell."""

INIT = """#!/bin/sh
export PATH=/sbin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
for module in {modules}; do insmod $module max_bonds=0; done
ip link set lo up
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU is given."""

    kernel: Path
    initramfs: Path
    release: str  # as uname -r says it
    disks: tuple[Path, ...] = ()  # /dev/vda, ...; what is written there is lost


def missing() -> str | None:
    """Why no virtual machine can run here; None when one can."""
    absent = [name for name in (EMULATOR, "depmod") if not where(name)]
    absent += [name for name in PROGRAMS if not where(name)]
    if absent:
        return f"no {', '.join(absent)}: run tools/setup --dev on an x86-64 Debian"
    if not KERNEL.exists():
        return "no kernel for a virtual machine: run tools/setup --dev on a Debian"
    return None


def image() -> Image:
    """The small one."""
    kernel = Kernel(KERNEL)
    order = kernel.order(MODULES)
    files = dict(_programs())
    files |= {initramfs.inside(path): path for path in order}
    loaded = " ".join(map(initramfs.inside, order))
    return made(CACHE, kernel, INIT.format(modules=loaded) + SERVE, files)


def made(place: Path, kernel: Kernel, init: str, files: Mapping[str, Path]) -> Image:
    """In `place`: once, and again when anything in it has changed; safe beside others.

    Those that were made there before are gone.
    """
    place.mkdir(parents=True, exist_ok=True)
    with (place / "vm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = place / f"vm-{_digest(kernel, init, files)}"
        if not directory.exists():
            for old in place.glob("vm-*"):
                shutil.rmtree(old)
            _make(directory, kernel.content(), initramfs.archive(init, files))
    return Image(directory / "vmlinux", directory / "initramfs", kernel.release)


def _digest(kernel: Kernel, init: str, files: Mapping[str, Path]) -> str:
    text = [kernel.release, init, Path(initramfs.__file__).read_text()]
    text += [f"{name} {path.stat().st_mtime_ns}" for name, path in files.items()]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _make(made: Path, kernel: bytes, archive: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=made.parent) as name:
        directory = Path(name, "vm")
        directory.mkdir()
        (directory / "vmlinux").write_bytes(kernel)
        (directory / "initramfs").write_bytes(archive)
        directory.rename(made)


def _programs() -> Iterator[tuple[str, Path]]:
    programs = {inside: Path(where(name) or name) for name, inside in PROGRAMS.items()}
    stream = build("stream")  # called by the same name as here
    programs[str(stream)] = stream
    return initramfs.with_libraries(programs)
