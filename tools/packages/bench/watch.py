# SPDX-License-Identifier: BSD-2-Clause
"""Many watched ports: what their link watches cost laggd while nothing happens.

Run as `tools/bench watch`.  Two hosts with a laggd each have the same laggs, cabled
port to port; what is measured is the processor time of one laggd and of its forwarder,
without watches and with them, all found up.
"""

import argparse
import time
from collections.abc import Sequence

from bench.scale import cpu_s, reload
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
        _plug(near, far, ports)
        daemons = [_daemon(lab, host, ports, watch) for host in (near, far)]
        for each in daemons:
            wait_until(lambda d=each: _all_up(d, ports, kind), UP_S, "all is up")  # type: ignore[misc]
        laggd = daemons[0]
        spent = [_percent(pid, seconds) for pid in (laggd.pid, laggd.carrier)]
        assert _all_up(laggd, ports, kind), "a watch went down"
    return f"| {kind} | {ports} | {spent[0]:.1f} | {spent[1]:.1f} |"


def _watch(kind: str, chosen: argparse.Namespace) -> str:
    return (
        f"[[lagg.watch]]\nkind = '{kind}'\ninterval_ms = {chosen.interval_ms}\n"
        f"missed_max = {chosen.missed_max}\n"
    )


def _plug(near: Host, far: Host, ports: int) -> None:
    """By ip -batch, for a command each would take minutes."""
    batch = near.directory / "batch"
    lines = (
        f"link add p{n} up type veth peer name p{n} netns {far.netns}\n"
        for n in range(ports)
    )
    batch.write_text("".join(lines))
    near.run("ip", "-batch", batch, timeout_s=UP_S)
    batch.write_text("".join(f"link set p{n} up\n" for n in range(ports)))
    far.run("ip", "-batch", batch, timeout_s=UP_S)


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


def _percent(pid: int, seconds: float) -> float:
    began_s, before_s = time.monotonic(), cpu_s(pid)
    wait_until(lambda: time.monotonic() - began_s > seconds, 2 * seconds, "time passes")
    return 100 * (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


if __name__ == "__main__":
    main()
