# SPDX-License-Identifier: BSD-2-Clause
"""The filter of system calls: what is no business of laggd's is refused, and no more.

That all its work passes is shown by tests/netns/test_unprivileged.py.
"""

import errno
import subprocess
import sys
import textwrap

import pytest

from tests.tree import ROOT

REFUSED = {
    "execve": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "a process by posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "ptrace": "call('ptrace', 0, 0, 0, 0)",
    "mount": "call('mount', b'none', b'/', b'tmpfs', 0, 0)",
    "bpf but for a query": "call('syscall', 321, 0, 0, 0)",
    "kill": "os.kill(os.getpid(), 0)",
    "setuid": "os.setuid(os.getuid())",
    "chroot": "os.chroot('/')",
    "unshare": "call('unshare', 0x40000000)",
    "setns": "call('setns', 0, 0)",
    "mknod": "os.mknod('/tmp/never', 0o600)",
    "symlink": "os.symlink('a', '/tmp/never')",
    "an IP socket": "socket.socket(socket.AF_INET)",
    "a Bluetooth socket": "socket.socket(31)",
    "prctl(PR_SET_DUMPABLE)": "call('prctl', 4, 1, 0, 0, 0)",
    "ioctl(TIOCSTI)": "fcntl.ioctl(0, 0x5412, b'x')",
    "init_module": "call('init_module', 0, 0, b'')",
    "keyctl": "call('syscall', 250, 0, 0, 0)",
}

PERMITTED = {
    "a thread": "run_in_thread(lambda: None)",
    "a worker's loss of capabilities": "run_in_thread(privileges.drop_all)",
    "a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()",
    "a Unix socket": "socket.socket(socket.AF_UNIX).close()",
    "a file": "open(name, 'w').close()",
    "its replacement": "os.replace(name, name + '.new'); os.unlink(name + '.new')",
    "an event loop": "asyncio.run(asyncio.to_thread(time.sleep, 0))",
    "a late import": "import xml.etree.ElementTree",
    "a host's user": "import pwd; pwd.getpwuid(0)",
    "a query of bpf(2)": "assert lib.lagg_tcx_egress(1) != -errno.EPERM",
    "abort": "threading.get_native_id()",
}

PROGRAM = """
import asyncio, ctypes, errno, fcntl, os, socket, sys, tempfile, threading, time
from lagg._native import lib
from lagg.kernel import privileges
from lagg.kernel.native import restrict_calls

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)

def run_in_thread(work):
    failed = []
    def guarded():
        try:
            work()
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]

name = tempfile.mktemp()
early, go = threading.Event(), threading.Event()
{prelude}
restrict_calls()
try:
    {act}
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("permitted")
"""


def outcome(act: str, prelude: str = "") -> str:
    """What came of the line `act` under the filter: "permitted", or its errno."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(act=act, prelude=prelude)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_and_nothing_is_killed(act: str) -> None:
    assert outcome(act) == errno.errorcode[errno.EPERM]


@pytest.mark.parametrize("act", PERMITTED.values(), ids=PERMITTED)
def test_it_is_permitted(act: str) -> None:
    prelude = "open(name, 'w').close()" if "replace" in act else ""
    assert outcome(act, prelude) == "permitted"


def test_without_the_filter_nothing_of_this_is_refused() -> None:
    free = PROGRAM.replace("restrict_calls()\n", "")
    program = free.format(act=REFUSED["an IP socket"], prelude="")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == b"permitted\n"


def test_a_thread_that_was_there_before_is_filtered_too() -> None:
    prelude = textwrap.dedent("""
        def waits():
            early.set()
            go.wait()
            try:
                socket.socket(socket.AF_INET)
            except OSError as error:
                seen.append(errno.errorcode[error.errno])
        seen = []
        thread = threading.Thread(target=waits)
        thread.start()
        early.wait()
    """)
    assert outcome("go.set(); thread.join(); print(*seen)", prelude) == (
        "EPERM\npermitted"
    )
