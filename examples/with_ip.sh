#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# For who knows ip(8) and Linux bonding: each line of theirs, then ours.
#
#     sudo examples/with_ip.sh eth1 eth2
#
# laggd must run. Name two interfaces that carry nothing yet; they may be up.

set -euo pipefail
PATH="$(dirname "$(readlink -f "$0")")/../.venv/bin:$PATH"
(($# == 2)) || { sed -n '3,8s/^# \?//p' "$0"; exit 2; }
first=$1 second=$2

# ip link add bond0 type bond mode active-backup
laggctl create lagg0 --proto failover

# ip link set eth1 down; ip link set eth1 master bond0; ip link set eth1 up; ...
laggctl attach lagg0 "$first" "$second"

# ip link set bond0 mtu 1400; ip addr add 192.0.2.10/24 dev bond0
ip link set lagg0 mtu 1400 # laggd follows with every port
ip addr add 192.0.2.10/24 dev lagg0

# cat /proc/net/bonding/bond0
laggctl show --bonding lagg0

# echo balance-xor > /sys/class/net/bond0/bonding/mode: refused while the bond is up or
# has ports. Here it is one store, under traffic, and no frame is lost.
laggctl set lagg0 --proto loadbalance --lagghash l3,l4

# ip link set eth2 nomaster: eth2 has again the MAC, the MTU and the state it came with.
laggctl detach lagg0 "$second"
laggctl attach lagg0 "$second"

laggctl show lagg0
ip -brief link show lagg0
