#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Your first lagg, when you know neither ifconfig nor bonding:
#
#     sudo examples/first_lagg.sh eth1 eth2
#
# It makes one interface, lagg0, out of the two that you name. Either of them may fail, be
# unplugged or be taken away while lagg0 goes on. Name two that carry nothing yet, and
# never the one your shell comes through. laggd must run (sudo .venv/bin/laggd &).

set -euo pipefail
PATH="$(dirname "$(readlink -f "$0")")/../.venv/bin:$PATH"
(($# == 2)) || { sed -n '3,11s/^# \?//p' "$0"; exit 2; }
first=$1 second=$2

echo "== 1. The lagg, of the protocol that works with every switch: failover."
laggctl create lagg0 --proto failover --port "$first" --port "$second"

echo "== 2. An address, as for any interface."
ip addr add 192.0.2.10/24 dev lagg0

echo "== 3. How it does. MASTER is the port that is preferred, ACTIVE the one that carries."
laggctl show lagg0

echo "== 4. Who would carry a packet to 192.0.2.20, and who if that port failed?"
laggctl explain lagg0 src=192.0.2.10 dst=192.0.2.20 dmac=02:00:5e:00:53:20

echo "== 5. A port taken away while it works, and put back. Nothing is lost by either."
laggctl detach lagg0 "$second"
laggctl attach lagg0 "$second"

echo "== Ready. Follow it with: laggctl monitor; undo it all with: laggctl destroy lagg0"
