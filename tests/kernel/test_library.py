# SPDX-License-Identifier: BSD-2-Clause
"""laggd loads of pyroute2, and of all else, what it uses and not what it could use."""

import subprocess
import sys

from tests.tree import ROOT

UNUSED = (
    *("pyroute2.iproute", "pyroute2.ndb", "pyroute2.conntrack", "pyroute2.nftables"),
    *("pyroute2.ethtool", "pyroute2.netlink.rtnl.tcmsg", "prometheus_client", "scapy"),
    *("pyroute2.netlink.nlsocket", "multiprocessing.connection"),
    *("unittest", "sqlite3", "http", "email", "xml"),
)


def printed(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_laggd_starts_without_what_it_does_not_use() -> None:
    loaded = printed(
        "import sys, lagg.daemon.process, lagg.operations.commands\n"
        f"print([name for name in {UNUSED!r} if name in sys.modules])"
    )
    assert loaded == "[]\n"


def test_who_wants_the_whole_library_in_our_process_has_it() -> None:
    shown = printed(
        "import lagg.kernel.netlink\n"
        "from lagg.kernel.netlink.messages import ifinfmsg as ours\n"
        "import pyroute2, pyroute2.nftables.main\n"
        "from pyroute2 import IPRoute, netns\n"
        "from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg\n"
        "print(type(pyroute2).__name__, IPRoute is pyroute2.IPRoute, ours is ifinfmsg)"
    )
    assert shown == "module True True\n"


def test_the_whole_library_stays_when_it_was_there_first() -> None:
    shown = printed(
        "import pyroute2\nimport lagg.kernel.netlink, sys\n"
        "print(sys.modules['pyroute2'] is pyroute2, type(pyroute2).__name__)"
    )
    assert shown == "True module\n"


def test_inspection_of_all_modules_does_not_load_the_whole() -> None:
    shown = printed(
        "import lagg.kernel.netlink, pyroute2, sys\n"
        "found = hasattr(pyroute2, '__warningregistry__')\n"
        "print(found, 'pyroute2.iproute' in sys.modules)"
    )
    assert shown == "False False\n"


def test_no_garbage_is_looked_for_until_all_is_open_nor_in_what_was_loaded_ever() -> (
    None
):
    shown = printed(
        "import gc, lagg.daemon\n"
        "from types import SimpleNamespace\n"
        "from lagg.daemon import process\n"
        "from lagg.kernel import privileges\n"
        "async def opened(*_, **__):\n"
        "    print(gc.isenabled(), gc.get_freeze_count() > 10_000)\n"
        "def main():\n"
        "    print(gc.isenabled(), gc.get_freeze_count())\n"
        "    from lagg.operations.commands import Commands\n"
        "    Commands.open = opened\n"
        "    settings = process.settings_of(['--inside'])\n"
        "    door = SimpleNamespace(take_place=None)\n"
        "    try:\n"
        "        process._open_commands(settings, door, '').send(None)\n"
        "    except StopIteration:\n"
        "        print(gc.isenabled())\n"
        "process.main, privileges.confine = main, lambda: None\n"
        "lagg.daemon.main()\n"
    )
    assert shown == "False 0\nFalse True\nTrue\n"


def test_asyncio_is_loaded_without_tls_which_others_still_have() -> None:
    shown = printed(
        "import lagg.daemon, sys\n"
        "lagg.daemon._load_asyncio()\n"
        "print('asyncio' in sys.modules, 'ssl' in sys.modules)\n"
        "import ssl\n"
        "print(ssl.__name__)\n"
    )
    assert shown == "True False\nssl\n"
