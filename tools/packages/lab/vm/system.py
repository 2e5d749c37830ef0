# SPDX-License-Identifier: BSD-2-Clause
"""A whole Debian with a kernel of choice, its own or a newer one's, and NIC drivers.

Owns ~/.cache/laggd/kernels/: packages that tools/setup unpacked, not installed, and an
initramfs for each, which has the modules.  Knows not what will run inside.
"""

from dataclasses import replace
from pathlib import Path

from lab import debian
from lab.debian import CACHE
from lab.vm import disk, initramfs
from lab.vm.image import EMULATOR, Image, made
from lab.vm.kernel import Kernel, where

KERNELS = {"6.1": "bookworm", "6.12": "trixie"}
"""By version: the Debian whose kernel it is."""

LOADED = (
    "*/virtio_pci",
    "*/virtio_console",
    "*/virtio_blk",
    "*/crc32c_generic",
    "*/ext4",
)
"""Modules that the root needs, in this order."""

OFFERED = (
    *("kernel/net/8021q/*", "kernel/net/bridge/*", "kernel/net/netfilter/*"),
    *("kernel/net/sched/*", "kernel/net/packet/*", "kernel/net/core/*"),
    *("*/ipv[46]/netfilter/*", "*/nf_tables", "*/unix_diag", "*/vsock", "*/llc2"),
    *("*/tun", "*/veth", "*/macvlan", "*/macvtap", "*/dummy", "*/ifb", "*/vxlan"),
    *("*/bonding", "kernel/drivers/net/team/*", "*/virtio_net", "*/e1000", "*/e1000e"),
    *("*/vmxnet3", "*/8139*", "*/loop", "*/overlay", "*/sctp"),
)
"""Modules that modprobe(8) and udev find there."""

ARGUMENTS = "systemd.unit=lab.target"
"""The kernel's: what systemd is to start."""

INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t devtmpfs dev /dev
for module in {modules}; do insmod $module; done
until [ -b /dev/vda ]; do sleep 0.05; done
mkdir /new
mount -t ext4 -o noatime /dev/vda /new
mkdir -p /new/lib/modules
mount -t tmpfs tmpfs /new/lib/modules
mv /lib/modules/{release} /new/lib/modules/
umount /proc
mount --move /dev /new/dev
exec switch_root /new /lib/systemd/systemd
"""


def missing(version: str) -> str | None:
    """Why no machine with a kernel of KERNELS can run here; None when one can."""
    absent = [n for n in (EMULATOR, "depmod", "busybox", "mke2fs") if not where(n)]
    if absent:
        return f"no {', '.join(absent)}: run tools/setup --dev on an x86-64 Debian"
    if not _place(version).exists():
        return f"no kernel {version}: run tools/setup --dev on an x86-64 Debian"
    return debian.missing()


def system(version: str) -> Image:
    """Made once, and again when anything in it has changed; MissingError."""
    kernel = Kernel(_place(version))
    order = kernel.order(LOADED)
    init = INIT.format(
        modules=" ".join(map(initramfs.inside, order)), release=kernel.release
    )
    programs = initramfs.with_libraries({"/bin/busybox": Path(str(where("busybox")))})
    files = dict(programs)
    files |= {initramfs.inside(path): path for path in order}
    files |= dict(_offered(kernel))
    image = made(_place(version).parent / f"{version}.vm", kernel, init, files)
    return replace(image, disks=(disk.root(),))


def _place(version: str) -> Path:
    return CACHE / "kernels" / KERNELS[version]


def _offered(kernel: Kernel) -> list[tuple[str, Path]]:
    paths = [*kernel.order((*LOADED, *OFFERED)), *kernel.modules.glob("modules.*")]
    below = kernel.directory
    return [(f"/{path.relative_to(below)}", path) for path in paths]
