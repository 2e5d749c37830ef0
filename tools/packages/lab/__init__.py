# SPDX-License-Identifier: BSD-2-Clause
"""A laboratory on this machine: hosts, cables, daemons, streams; for tests and tools.

Owns network namespaces and all that is put into them, and takes everything away again,
whatever happens.  Needs root.  Knows laggd only from outside: its programs, its socket.

    from lab import Lab, Pair, conserved, wait_until

    with Lab() as lab:                      # everything by hand
        a, b = lab.host("a"), lab.host("b")
        cables = [lab.cable(a, f"p{i}", b, f"q{i}") for i in range(2)]
        laggd = lab.daemon(a)               # runs, and its socket accepts
        laggd.ctl("create", "lagg0", "--port", "p0", "--port", "p1")
        a.add_address("lagg0", "10.0.0.1/24")
        a.run("ip", "link", "show")         # any command, inside
        a.inside(socket.if_nameindex)       # any function, in a thread inside
        cables[0].cut()                     # p0 loses its carrier until mend()
        wait_until(lambda: laggd.port("lagg0", "p0")["link"] == "down", 1, "the cut")
        assert a.link("p0").promiscuity == 0
        conserved(laggd.record("lagg0"))
        assert laggd.stop() == 0            # SIGTERM; kill() is SIGKILL; start() again

    with Lab() as lab:                      # the usual: a lagg0 and addresses on both
        pair = Pair(lab, cables=3, proto="loadbalance")
        assert pair.ping().lost == 0
        there, back = pair.stream(rate=20_000, seconds=2, flows=8)
        with pair.streaming(rate=20_000, flows=8) as run:   # while something happens
            pair.a.laggd.ctl("set", "lagg0", "--rr-limit", "2")
        assert run.there.lost == run.back.lost == 0, f"{run.there}; {run.back}"
        pair.conserved()
"""

from lab.cable import Cable
from lab.daemon import OVERLOAD, Daemon, Refused, conserved, overload
from lab.host import CommandError, Host
from lab.lab import Lab, abandoned, remove
from lab.namespace import LinkFacts, Namespace
from lab.pair import End, Pair, Streaming
from lab.ping import Pings, ping
from lab.stream import FlowResult, Stream, StreamResult
from lab.waiting import wait_until

__all__ = [
    "OVERLOAD",
    "Cable",
    "CommandError",
    "Daemon",
    "End",
    "FlowResult",
    "Host",
    "Lab",
    "LinkFacts",
    "Namespace",
    "Pair",
    "Pings",
    "Refused",
    "Stream",
    "StreamResult",
    "Streaming",
    "abandoned",
    "conserved",
    "overload",
    "ping",
    "remove",
    "wait_until",
]
