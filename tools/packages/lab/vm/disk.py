# SPDX-License-Identifier: BSD-2-Clause
"""The disks of a virtual machine that is a whole Debian: its root, a project's tree.

Owns ~/.cache/laggd/root-*.ext4, made once for all clones.  Knows no kernel.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.debian import CACHE, base
from lab.vm import nic
from lab.vm.image import SERVE

PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "procps", "python3"),
    *("iproute2", "iputils-ping", "ethtool", "iperf3", "nftables"),
)
SIZE = "1G"  # as a hole: what is not written takes no room
NICS = 32
"""As many have names: n0, n1, ..., and w0, w1, ... at the ends of their cables."""

TARGET = """[Unit]
DefaultDependencies=no
Wants=serve.service systemd-udevd.service
"""
"""All that is started, for a boot that is emulated takes its time: udev, which is told
of what comes from then on, so of each NIC whose driver is loaded."""

SERVICE = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh /usr/local/sbin/serve
Environment=HOME=/root
KillMode=process
LimitNOFILE=65536
TasksMax=infinity
"""
NAMED = """[Match]
PermanentMACAddress={mac}
[Link]
Name={name}
"""
NOT_IN_TREE = shutil.ignore_patterns(
    *(".git", ".*_cache", ".hypothesis", ".verify", ".fuzz", "build", "dist"),
    *("bench-results", "vm-*"),
    # What others build at the moment, and rename: as tempfile names it.
    f"tmp{8 * '[a-z0-9_]'}",
    # The linters stay outside.
    *("ruff*", "mypy*", "clang[-_]format*", "nodeenv*", "virtualenv*"),
)
NOT_IN_ENVIRONMENT = ("include", "share", "lab/kernel")
"""Below .venv; elsewhere these are names like any other."""


def root() -> Path:
    """A Debian that serves a shell, with systemd and udev; made if it is not there.

    MissingError when none can be had.
    """
    text = [
        SIZE,
        SERVE,
        TARGET,
        SERVICE,
        NAMED,
        *PACKAGES,
        Path(nic.__file__).read_text(),
    ]
    digest = hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tar = base(PACKAGES)
        disk = CACHE / f"root-{tar.stem}-{digest}.ext4"
        if not disk.exists():
            for old in CACHE.glob("root-*.ext4"):
                old.unlink()
            _make_root(tar, disk)
    return disk


def _make_root(tar: Path, disk: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        tree, made = Path(name, "root"), Path(name, "disk")
        tree.mkdir()
        subprocess.run(["tar", "-C", tree, "-xf", tar], check=True)
        for path, text in _files().items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        _filled(tree, made)
        made.rename(disk)


def _files() -> dict[str, str]:
    """By path: what makes a Debian one of ours."""
    files = {
        "etc/hostname": "guest\n",
        "etc/hosts": "127.0.0.1 localhost guest\n",
        "etc/systemd/system/lab.target": TARGET,
        "etc/systemd/system/serve.service": SERVICE,
        "usr/local/sbin/serve": SERVE,
    }
    for number in range(NICS):
        for kind, address in (("n", nic.mac(number)), ("w", nic.far_mac(number))):
            name = f"{kind}{number}"
            link = f"etc/systemd/network/10-{name}.link"
            files[link] = NAMED.format(mac=address, name=name)
    return files


def tree(project: Path, disk: Path) -> None:
    """Writes a disk with a project's tree and its .venv, to be mounted at its path.

    Bytecode as well, for it takes its time to compile where all is emulated; and the
    environment's python is the one of the machine inside.
    """
    with tempfile.TemporaryDirectory(dir=disk.parent) as name:
        copy = Path(name, "tree")
        copied(project, copy)
        _filled(copy, disk)


def copied(project: Path, copy: Path) -> None:
    """A project's tree as a machine is to have it, in a folder that is not there."""
    shutil.copytree(project, copy, symlinks=True, ignore=NOT_IN_TREE)
    environment = copy / ".venv"
    for each in NOT_IN_ENVIRONMENT:
        shutil.rmtree(environment / each, ignore_errors=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (environment / "bin" / "python3").unlink()
    (environment / "bin" / "python3").symlink_to("/usr/bin/python3")


def _filled(tree: Path, disk: Path) -> None:
    """A disk with a file system, and in it what is in `tree`."""
    words = ("mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", tree, disk, SIZE)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
