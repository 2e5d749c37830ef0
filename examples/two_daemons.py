# SPDX-License-Identifier: BSD-2-Clause
"""Two laggds, each the other's partner: an experiment to start your own from.

The lab (tools/packages/lab) makes two hosts in network namespaces with cables between
them, and takes everything away at the end.  Here: what does a stream notice when one
cable of three is pulled and plugged in again?

    sudo PYTHONPATH=tools/packages .venv/bin/python examples/two_daemons.py
"""

from lab import Lab, Pair

CABLES = 3


def main() -> None:
    """Runs the experiment once for each protocol that survives it."""
    with Lab() as lab:
        pair = Pair(lab, cables=CABLES, patched=True)
        for proto in ("failover", "roundrobin", "loadbalance", "broadcast"):
            pair.ctl("set", "--proto", proto)
            with pair.streaming(rate=5_000, flows=8) as run:
                pair.cables[0].cut()
                pair.wait_until_links(CABLES - 1)
                pair.cables[0].mend()
                pair.wait_until_links(CABLES)
            print(f"{proto}, a to b: {run.there}")
            print(f"{proto}, b to a: {run.back}")
        pair.conserved()
        print(pair.a.laggd.ctl("show"))


if __name__ == "__main__":
    main()
