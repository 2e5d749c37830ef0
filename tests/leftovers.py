# SPDX-License-Identifier: BSD-2-Clause
"""What a test may leave behind on the machine, and who left it.

A test's namespace has the process of its maker in its name, so that test runs beside
each other are told apart.
"""

import os
from pathlib import Path

TESTS = "LAGG_TESTS"
"""In the environment of all that a test starts: the process of the tests."""

NETNS_PREFIX = f"lagg-{os.getpid()}-"
"""How the name of every network namespace a test makes begins."""

NFPROTO_NETDEV = 5
"""The family of the chains that hang on one interface."""

NETNS_DIRECTORY = Path("/run/netns")


def namespaces() -> set[str]:
    """The named network namespaces that this process has made and not removed."""
    if not NETNS_DIRECTORY.is_dir():
        return set()
    names = {path.name for path in NETNS_DIRECTORY.iterdir()}
    return {name for name in names if name.startswith(NETNS_PREFIX)}


def forwarders() -> set[str]:
    """The forwarders that tests of this process have left: pid, and which test."""
    ours = f"{TESTS}={os.getpid()}"
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "comm").read_text() != "lagg-forwarder\n":
                continue
            words = (place / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        if ours in words:
            tests = [w for w in words if w.startswith("PYTEST_CURRENT_TEST=")]
            found.add(" ".join((place.name, *tests)))
    return found


def nft_tables() -> set[str]:
    """Tables of ours in the namespace this process runs in; none may ever be there."""
    # Kept here: it takes 0.2 s and only tests that touch the network ask.
    from pyroute2.nftables.main import NFTables

    with NFTables(nfgen_family=NFPROTO_NETDEV) as nft:
        names = {str(table.get_attr("NFTA_TABLE_NAME")) for table in nft.get_tables()}
    return {name for name in names if name.startswith("lagg")}
