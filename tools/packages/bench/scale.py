# SPDX-License-Identifier: BSD-2-Clause
"""Many laggs with many ports: what it takes to make, change, watch and destroy them.

Run as `tools/bench scale`.  Each cable ends in a far namespace that only holds it.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import median

from lab import Daemon, Lab
from lab.daemon import LAGGCTL
from lab.host import Host
from lab.waiting import wait_until

IDLE_S = 5.0
ROUNDS = 20
ADOPTIONS = 3
TIMEOUT_S = 1200


def main(words: Sequence[str] | None = None) -> None:
    """Measures one size after the other and prints a row for each."""
    parser = argparse.ArgumentParser(prog="tools/bench scale", description=__doc__)
    parser.add_argument("sizes", nargs="*", default=["10x2", "10x32"], metavar="LxP")
    chosen = parser.parse_args(words)
    print(
        "| laggs x ports | made, s | ms a port | RSS, MB | one set, ms | one reload, ms"
    )
    print("| | carrier seen, ms | idle CPU, % | restarted: away, s | by laggctl, s")
    print("| | killed: answers again, s | CPU of a laggd that has adopted, s |")
    print("| | destroyed, s |")
    for size in chosen.sizes:
        laggs, ports = map(int, size.split("x"))
        with Lab() as lab:
            print(_row(lab, laggs, ports), flush=True)


def _row(lab: Lab, laggs: int, ports: int) -> str:
    near, far = lab.host("near"), lab.host("far")
    plug(near, far, laggs * ports)
    config = near.directory / "laggd.toml"
    config.write_text("")
    daemon = lab.daemon(near, config=config, log_level="warning")
    config.write_text(_toml(laggs, ports, rr_limit=1))
    made_s = _timed(lambda: reload(daemon))
    wait_until(lambda: _all_up(daemon, laggs), TIMEOUT_S, "every lagg has carrier")
    pids = {daemon.pid, daemon.carrier}
    numbers = (
        f"{made_s:.1f}",
        f"{1000 * made_s / (laggs * ports):.1f}",
        f"{sum(map(_rss_mb, pids)):.0f}",
        f"{_median_ms(lambda n: _set(daemon, n)):.1f}",
        f"{_median_ms(lambda n: _change_one(daemon, config, laggs, ports, n)):.1f}",
        f"{_median_ms(lambda n: _carrier(daemon, far, n)):.1f}",
        f"{cpu_percent(pids, IDLE_S):.1f}",
        *_adopted(daemon),
    )
    config.write_text("")
    gone_s = _timed(lambda: reload(daemon))
    return f"| {laggs} x {ports} | {' | '.join(numbers)} | {gone_s:.1f} |"


def plug(near: Host, far: Host, cables: int, *, end: str = "q") -> None:
    """Cables from p0, p1 ... to q0, q1 ..., or what the `end`s are called.

    By ip -batch, for a command each would take minutes.
    """
    batch = near.directory / "batch"
    lines = (
        f"link add p{n} up type veth peer name {end}{n} netns {far.netns}\n"
        for n in range(cables)
    )
    batch.write_text("".join(lines))
    near.run("ip", "-batch", batch, timeout_s=TIMEOUT_S)
    batch.write_text("".join(f"link set {end}{n} up\n" for n in range(cables)))
    far.run("ip", "-batch", batch, timeout_s=TIMEOUT_S)


def _toml(laggs: int, ports: int, *, rr_limit: int) -> str:
    """All the same, but for the rr_limit of the first."""
    names = [
        [f"p{lagg * ports + port}" for port in range(ports)] for lagg in range(laggs)
    ]
    return "".join(
        f"[[lagg]]\nname = 'lagg{number}'\nproto = 'loadbalance'\nports = {its}\n"
        f"rr_limit = {1 if number else rr_limit}\n"
        for number, its in enumerate(names)
    )


def reload(daemon: Daemon) -> None:
    """Applies its configuration; laggctl waits as long as laggd takes."""
    daemon.host.run(LAGGCTL, "--socket", daemon.socket, "reload", timeout_s=TIMEOUT_S)


def _all_up(daemon: Daemon, laggs: int) -> bool:
    records = daemon.records()
    return len(records) == laggs and all(each["link"] == "up" for each in records)


def _set(daemon: Daemon, turn: int) -> None:
    daemon.ctl("set", "lagg0", "--flowid-shift", str(turn % 2))


def _change_one(
    daemon: Daemon, config: Path, laggs: int, ports: int, turn: int
) -> None:
    config.write_text(_toml(laggs, ports, rr_limit=2 + turn))
    daemon.ctl("reload")


def _carrier(daemon: Daemon, far: Host, turn: int) -> None:
    """Until the record tells of a cable that is pulled or plugged."""
    up = ("down", "up")[turn % 2]
    far.set_link("q0", state=up)
    wait_until(lambda: daemon.port("lagg0", "p0")["link"] == up, 10, "it is told")


def _adopted(daemon: Daemon) -> tuple[str, ...]:
    """What it takes that another laggd goes on with all: medians of a few times."""
    rounds = [(*_restarted(daemon), _followed(daemon)) for _ in range(ADOPTIONS)]
    away_s, took_s, cpu_s, killed_s = map(median, zip(*rounds, strict=True))
    return (f"{away_s:.2f}", f"{took_s:.2f}", f"{killed_s:.2f}", f"{cpu_s:.2f}")


def _restarted(daemon: Daemon) -> tuple[float, float, float]:
    """How long control was away and laggctl took; the CPU time of the next one."""
    began_s = time.monotonic()
    away_s = float(daemon.restart()["control_away_s"])
    return away_s, time.monotonic() - began_s, cpu_s(daemon.pid)


def _followed(daemon: Daemon) -> float:
    """From the next one's start on, when one was killed."""
    daemon.kill()
    began_s = time.monotonic()
    daemon.start()
    daemon.records()
    return time.monotonic() - began_s


def _median_ms(act: Callable[[int], None]) -> float:
    return sorted(1000 * _timed(lambda n=n: act(n)) for n in range(ROUNDS))[ROUNDS // 2]  # type: ignore[misc]


def _timed(act: Callable[[], None]) -> float:
    began_s = time.monotonic()
    act()
    return time.monotonic() - began_s


def cpu_percent(pids: Collection[int], seconds: float) -> float:
    """What these processes take together of a CPU, in so much time."""
    before_s, began_s = sum(map(cpu_s, pids)), time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > seconds, 2 * seconds, "time passes")
    return 100 * (sum(map(cpu_s, pids)) - before_s) / (time.monotonic() - began_s)


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
