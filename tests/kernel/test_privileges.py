# SPDX-License-Identifier: BSD-2-Clause
"""What laggd may do, and what it says when that is too little.

Each case is a process of its own: what it gives up does not come back.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lagg.kernel import privileges
from tests.tree import ROOT, name_of, python_files

NOBODY = 65534
NO_PERMISSION = 77

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can start a process with fewer rights"
)


def without(*capabilities: str, uid: int = 0) -> Sequence[str]:
    """setpriv's words for a process that has all but these of the two."""
    held = [c for c in ("net_admin", "net_raw") if c not in capabilities]
    words = ",".join(["-all", *(f"+{each}" for each in held)])
    ids = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    bounding = ["--bounding-set", words]
    return ("setpriv", *ids, "--inh-caps", words, "--ambient-caps", words, *bounding)


def run(
    prefix: Sequence[str], program: str, *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", program, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


LAGGD = "import sys; from lagg.daemon.process import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (("net_admin",), "laggd: CAP_NET_ADMIN missing: start laggd as root"),
        (("net_raw",), "laggd: CAP_NET_RAW missing: start laggd as root"),
        (
            ("net_admin", "net_raw"),
            "laggd: CAP_NET_ADMIN and CAP_NET_RAW missing: start laggd as root",
        ),
    ],
)
def test_a_missing_capability_is_named_and_nothing_is_changed(
    tmp_path: Path, lacking: tuple[str, ...], said: str
) -> None:
    words = ["--socket", str(tmp_path / "s"), "--state-dir", str(tmp_path / "state")]
    done = run(without(*lacking), LAGGD, *words)
    assert done.returncode == NO_PERMISSION
    assert said in done.stderr
    assert "setpriv" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tun_device_that_may_not_be_opened_is_named(tmp_path: Path) -> None:
    """As in a root whose udev never made it: 0600."""
    node = tmp_path / "tun"
    os.mknod(node, 0o600 | 0o020000, os.makedev(10, 200))
    mounted = f'mount --bind {node} /dev/net/tun && exec "$@"'
    inside = ["unshare", "--mount", "sh", "-c", mounted, "sh"]
    done = run([*inside, *without(uid=NOBODY)], LAGGD, "--socket", "/nowhere/s")
    assert done.returncode == NO_PERMISSION
    assert "/dev/net/tun: uid 65534 cannot open it: Permission denied; " in done.stderr
    assert "make it mode 0666" in done.stderr


def test_capabilities_of_another_user_namespace_count_for_nothing() -> None:
    prefix = ["unshare", "--user", "--map-root-user"]
    done = run(prefix, LAGGD, "--socket", "/nowhere/s")
    assert done.returncode == NO_PERMISSION
    assert "counts for nothing in this network namespace" in done.stderr


CONFINED = """
import os, resource, threading
from pathlib import Path
from lagg.kernel import privileges

def caps():
    text = Path("/proc/thread-self/status").read_text()
    rows = dict(line.split(":") for line in text.splitlines())
    return {name: rows[name].strip() for name in
            ("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs")}

before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
may_raise = privileges.effective() >> 24 & 1  # CAP_SYS_RESOURCE
privileges.confine()
control = caps()
after = resource.getrlimit(resource.RLIMIT_MEMLOCK)
assert after == ((-1, -1) if may_raise else before), after
assert control["CapEff"] == control["CapPrm"] == "0000000000003000", control
assert int(control["CapInh"], 16) == int(control["CapAmb"], 16) == 0, control
assert control["NoNewPrivs"] == "1"

def worker():
    privileges.drop_all()
    seen.append(caps())

seen = []
thread = threading.Thread(target=worker)
thread.start()
thread.join()
assert int(seen[0]["CapEff"], 16) == int(seen[0]["CapPrm"], 16) == 0, seen
assert caps() == control, "the worker's loss is its own"
os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
"""


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_two_capabilities_for_control_and_none_for_a_worker(uid: int) -> None:
    done = run(without(uid=uid), CONFINED)
    assert done.returncode == 0, done.stderr
    # Root's programs get all that the bounding set has: that cannot be helped here.
    left = "0000000000003000" if uid == 0 else "0000000000000000"
    assert done.stdout.split() == ["CapEff:", left]


def test_confining_root_takes_all_its_other_capabilities() -> None:
    done = run((), CONFINED)
    assert done.returncode == 0, done.stderr


def test_effective_reads_what_the_kernel_says() -> None:
    rows = Path("/proc/thread-self/status").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith("CapEff:"))
    assert privileges.effective() == int(row.split()[1], 16)


FORBIDDEN = (
    {"subprocess", "pickle", "marshal", "shelve", "multiprocessing", "pty"}
    | {"os.system", "os.popen", "os.fork", "os.forkpty", "eval", "exec", "compile"}
    | {f"os.{way}" for way in dir(os) if way.startswith(("exec", "spawn"))}
    | {"os.posix_spawn", "os.posix_spawnp"}
)
MAY = {
    "lagg/forwarder/process.py: os.posix_spawn",  # lagg-forwarder: it has no right
    "lagg/cli/restart.py: subprocess",  # laggctl is no laggd: it has its user's rights
    "lagg/frozen.py: exec",  # of the fields of our own classes, as dataclasses does it
}


def names_in(path: Path) -> Iterator[str]:
    """Every name, attribute and import, with the module it is asked of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(name) | ast.alias(name):
                yield name
            case ast.Attribute(ast.Name(module), name):
                yield f"{module}.{name}"
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{each.name}" for each in names)


def test_no_source_runs_another_program_or_evaluates_what_others_wrote() -> None:
    """laggd has rights that no other program must get."""
    found = {
        f"{name_of(path)}: {name}"
        for path in python_files()
        if path.is_relative_to(ROOT / "lagg")
        for name in names_in(path)
        if name in FORBIDDEN
    }
    assert found == MAY
