# SPDX-License-Identifier: BSD-2-Clause
"""A clean Debian in a directory, as a chroot and as a machine that systemd has booted.

Owns the files of a root, and the namespaces of the machine: mounts, processes, and the
network of a lab's host.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lab import Host, wait_until
from lab.debian import base

INCLUDED = ("python3", "iproute2", "systemd")
BOOT_SECONDS = 120.0

LAYER = ("upper", "work", "root")
"""An overlay's folders: what is written, what the kernel needs for that, the whole."""

VOLATILE = ("proc", "sys", "dev", "run", "tmp")

NOBODYS = frozenset(
    {"etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"}
    | {"var/log/dpkg.log", "var/log/alternatives.log", "var/lib/dpkg/status"}
    | {"var/lib/dpkg/status-old", "var/lib/dpkg/triggers/Lock", "var/lib/dpkg/lock"}
    | {"var/lib/dpkg/lock-frontend", "var/cache/ldconfig/aux-cache"}
    | {"etc/subuid-", "etc/subgid-", "var/lib/dpkg/info/format"}
)
"""Written by dpkg and passwd themselves, for every package alike."""

BOOT = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
mkdir -p dev/net dev/pts dev/shm
mknod -m 666 dev/net/tun c 10 200
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir sys/fs/cgroup/$2
echo 0 >sys/fs/cgroup/$2/cgroup.procs
umount sys/fs/cgroup
pivot_root . mnt
umount -l /mnt
exec unshare --cgroup sh -c "
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec env -i container=lagg PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
        /lib/systemd/systemd --unit=basic.target --show-status=no"
"""
"""`$1`: the root; `$2`: a control group of its own, in which systemd is at the top.

Of version 2, by which a unit's devices and addresses are restricted.
"""

UNGROUP = """
mount -t cgroup2 cgroup2 /mnt
[ ! -d "/mnt/$1" ] || find "/mnt/$1" -depth -type d -exec rmdir {} +
"""


class Root:
    """A Debian in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def unpacked(cls, directory: Path) -> Self:
        """A clean one, in a new directory.  MissingError when there is none."""
        tar = base(INCLUDED)
        directory.mkdir()
        subprocess.run(["tar", "-C", directory, "-xf", tar], check=True)
        return cls(directory)

    @contextmanager
    def layer(self, directory: Path) -> Iterator[Self]:
        """A root that begins as this one; what is done to it is gone after the block.

        This one must not change meanwhile.
        """
        directory.mkdir()
        # Not on the disk: dpkg syncs every file; and where the disk is itself an
        # overlay, it can be no layer that is written to.
        _run("mount", "-t", "tmpfs", "tmpfs", str(directory))
        try:
            upper, work, whole = (directory / each for each in LAYER)
            for each in (upper, work, whole):
                each.mkdir()
            layers = f"lowerdir={self.directory},upperdir={upper},workdir={work}"
            _run("mount", "-t", "overlay", "overlay", "-o", layers, str(whole))
            yield type(self)(whole)
        finally:
            _run("umount", "--recursive", str(directory))

    def chroot(self, *words: str) -> str:
        """Runs a command in it, without a machine around; returns what it said."""
        return _run("chroot", str(self.directory), *words)

    def examples(self, place: str) -> dict[str, bytes]:
        """What is in the folder `examples` there, but for programs."""
        top = self.directory / place / "examples"
        files = (path for path in top.rglob("*") if path.is_file())
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in files
            if path.suffix not in {".py", ".sh"}
        }

    def files(self) -> dict[str, str]:
        """Everything in it: owner, mode and content by path; not what nobody owns."""
        found: dict[str, str] = {}
        for top, directories, names in os.walk(self.directory):
            here = Path(top).relative_to(self.directory)
            if here == Path():
                directories[:] = [each for each in directories if each not in VOLATILE]
            for name in (*directories, *names):
                path = (here / name).as_posix()
                if path not in NOBODYS:
                    found[path] = _described(self.directory / path)
        return found

    @contextmanager
    def booted(self, host: Host) -> Iterator["Machine"]:
        """The machine that systemd makes of it, with the network of `host`."""
        kinds = ("--mount", "--pid", "--uts", "--ipc")
        boot = ("sh", "-c", BOOT, "sh", str(self.directory), host.netns)
        process = host.popen("unshare", *kinds, "--fork", "--kill-child", *boot)
        try:
            machine = Machine(process.pid)
            wait_until(machine.up, BOOT_SECONDS, "systemd has booted")
            yield machine
        finally:
            process.kill()
            process.wait()
            _ungroup(host.netns)


class Machine:
    """A root that runs: commands are run inside, beside its systemd."""

    def __init__(self, parent: int) -> None:
        """`parent` is the process whose only child is its first process."""
        self._children = Path(f"/proc/{parent}/task/{parent}/children")

    def run(self, *words: str) -> str:
        """What the command said.  AssertionError when it failed."""
        return _run(*self._enter(), *words)

    def _enter(self) -> tuple[str, ...]:
        (first,) = self._children.read_text().split()
        return ("nsenter", "-t", first, "-m", "-u", "-i", "-n", "-p", "-C")

    def up(self) -> bool:
        """Whether its systemd answers and has reached its target."""
        words = ("systemctl", "is-active", "basic.target")
        try:
            done = subprocess.run(
                [*self._enter(), *words], capture_output=True, text=True, check=False
            )
        except ValueError:  # it has no process yet
            return False
        return done.stdout.strip() == "active"

    def property_of(self, unit: str, name: str) -> str:
        """As `systemctl show` has it."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()


def _ungroup(name: str) -> None:
    """Removes the machine's control groups, when its last process is gone."""
    words = ("unshare", "--mount", "sh", "-c", UNGROUP, "sh", name)

    def removed() -> bool:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    wait_until(removed, BOOT_SECONDS, f"the control group {name} is empty")


def _described(path: Path) -> str:
    stat = path.lstat()
    what = f"{stat.st_mode:o} {stat.st_uid}:{stat.st_gid}"
    if path.is_symlink():
        return f"{what} -> {path.readlink()}"
    if path.is_file():
        return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return what


def _run(*words: str) -> str:
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
    return done.stdout
