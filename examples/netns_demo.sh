#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The whole of laggd by hand, with nothing but ip(8): two hosts, two cables, two laggs.
# Read it from the top; every command works the same on real NICs.  sudo tools/setup first.

set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
PATH=$PWD/.venv/bin:$PATH
work=$(mktemp -d)

# Everything below lives in two namespaces; at the end, however it comes, they go.
cleanup() {
    kill "${east_pid:-}" "${west_pid:-}" 2>/dev/null || true
    wait
    ip netns del lagg-east 2>/dev/null || true
    ip netns del lagg-west 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- two hosts, two cables ---------------------------------------------------------

ip netns add lagg-east
ip netns add lagg-west
for i in 0 1; do
    ip -n lagg-east link add "eth$i" type veth peer name "eth$i" netns lagg-west
done

# ---- a laggd on each ---------------------------------------------------------------
# It serves the network namespace in which it runs.  On a real host it is a service, and
# neither --socket nor --state-dir is needed.

ip netns exec lagg-east laggd \
    --socket "$work/east.sock" --state-dir "$work/east" 2>"$work/east.log" &
east_pid=$!
ip netns exec lagg-west laggd \
    --socket "$work/west.sock" --state-dir "$work/west" 2>"$work/west.log" &
west_pid=$!

east_lagg() { laggctl --socket "$work/east.sock" "$@"; }
west_lagg() { laggctl --socket "$work/west.sock" "$@"; }

until east_lagg show >/dev/null 2>&1 && west_lagg show >/dev/null 2>&1; do
    kill -0 "$east_pid" "$west_pid" # or the log says why not
    sleep 0.1
done

# ---- a lagg on each ----------------------------------------------------------------
# lagg0 is an interface like any other: it has the MAC and MTU of its first port, and all
# that is left to do is to give it an address.

east_lagg create lagg0 --proto failover --port eth0 --port eth1
west_lagg create lagg0 --proto failover --port eth0 --port eth1
ip -n lagg-east addr add 10.99.0.1/24 dev lagg0
ip -n lagg-west addr add 10.99.0.2/24 dev lagg0

ip netns exec lagg-east ping -q -c 3 -i 0.2 10.99.0.2

# ---- a cable is pulled -------------------------------------------------------------
# The far end goes down, so the near end loses its carrier; eth1 takes over at once.

ip -n lagg-west link set eth0 down
ip netns exec lagg-east ping -q -c 10 -i 0.2 10.99.0.2
east_lagg show lagg0
ip -n lagg-west link set eth0 up

# ---- another protocol, another port, live ------------------------------------------

for side in east_lagg west_lagg; do
    "$side" set lagg0 --proto loadbalance --lagghash l3,l4
done
ip netns exec lagg-east ping -q -c 3 -i 0.2 10.99.0.2

# A detached port is as it was found: its MAC, its MTU, its addresses.
east_lagg detach lagg0 eth1
west_lagg detach lagg0 eth1
ip -n lagg-east -br link show eth1

east_lagg show lagg0
