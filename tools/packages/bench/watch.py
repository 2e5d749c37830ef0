# SPDX-License-Identifier: BSD-2-Clause
"""Many watched ports: what their link watches cost laggd while nothing happens.

Run as `tools/bench watch`.  Two hosts with a laggd each have the same laggs, cabled
port to port; what is measured is the processor time of one laggd and of its forwarder,
without watches and with them, all found up.
"""

import argparse
from collections.abc import Sequence

from bench.scale import cpu_percent, plug, reload
from lab import Daemon, Lab
from lab.host import Host
from lab.waiting import wait_until

PORTS_OF_ONE = 25
KINDS = ("none", "bfd", "poll")
UP_S = 120


def main(words: Sequence[str] | None = None) -> None:
    """Measures one kind after the other and prints a row for each."""
    parser = argparse.ArgumentParser(prog="tools/bench watch", description=__doc__)
    parser.add_argument("--ports", type=int, default=2 * PORTS_OF_ONE)
    parser.add_argument("--interval-ms", type=int, default=100)
    parser.add_argument("--missed-max", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kind", action="append", choices=KINDS)
    chosen = parser.parse_args(words)
    print("| watch | ports | CPU of laggd, % | of lagg-forwarder, % |")
    print("|---|---|---|---|")
    for kind in chosen.kind or KINDS:
        print(_row(kind, chosen), flush=True)


def _row(kind: str, chosen: argparse.Namespace) -> str:
    ports, seconds = chosen.ports, chosen.seconds
    watch = "" if kind == "none" else _watch(kind, chosen)
    with Lab("bench") as lab:
        near, far = lab.host("near"), lab.host("far")
        plug(near, far, ports, end="p")
        daemons = [_daemon(lab, host, ports, watch) for host in (near, far)]
        for each in daemons:
            wait_until(lambda d=each: _all_up(d, ports, kind), UP_S, "all is up")  # type: ignore[misc]
        laggd = daemons[0]
        spent = [cpu_percent([pid], seconds) for pid in (laggd.pid, laggd.carrier)]
        assert _all_up(laggd, ports, kind), "a watch went down"
    return f"| {kind} | {ports} | {spent[0]:.1f} | {spent[1]:.1f} |"


def _watch(kind: str, chosen: argparse.Namespace) -> str:
    return (
        f"[[lagg.watch]]\nkind = '{kind}'\ninterval_ms = {chosen.interval_ms}\n"
        f"missed_max = {chosen.missed_max}\n"
    )


def _daemon(lab: Lab, host: Host, ports: int, watch: str) -> Daemon:
    """One whose laggs have so many ports each at most."""
    config = host.directory / "laggd.toml"
    config.write_text("")
    daemon = lab.daemon(host, config=config, log_level="warning")
    config.write_text(
        "".join(
            f"[[lagg]]\nname = 'lagg{first // PORTS_OF_ONE}'\nproto = 'loadbalance'\n"
            f"ports = {[f'p{n}' for n in range(ports)[first : first + PORTS_OF_ONE]]}\n"
            f"{watch}"
            for first in range(0, ports, PORTS_OF_ONE)
        )
    )
    reload(daemon)
    return daemon


def _all_up(daemon: Daemon, ports: int, kind: str) -> bool:
    found = [port for lagg in daemon.records() for port in lagg["ports"]]
    watched = [watch["state"] for port in found for watch in port["watch"]]
    return len(found) == ports and watched == ["up"] * (ports * (kind != "none"))


if __name__ == "__main__":
    main()
