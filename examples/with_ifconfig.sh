#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# For who knows FreeBSD: the lines of lagg(4) as they stand in its manual page.
#
#     sudo examples/with_ifconfig.sh eth1 eth2
#
# laggd must run. Name two interfaces that carry nothing yet.

set -euo pipefail
PATH="$(dirname "$(readlink -f "$0")")/../.venv/bin:$PATH"
(($# == 2)) || { sed -n '3,8s/^# \?//p' "$0"; exit 2; }
first=$1 second=$2

# Under the name ifconfig, laggctl speaks FreeBSD's grammar. On a machine of your own:
# ln -s "$(command -v laggctl)" /usr/local/sbin/ifconfig
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
ln -s "$(command -v laggctl)" "$directory/ifconfig"
PATH="$directory:$PATH"

ifconfig "$first" up
ifconfig "$second" up
ifconfig lagg0 create
ifconfig lagg0 laggproto failover laggport "$first" laggport "$second" \
    192.0.2.10 netmask 255.255.255.0
ifconfig lagg0

# What is better than at home: a protocol switched without losing a frame, ...
ifconfig lagg0 laggproto loadbalance lagghash l3,l4
# ... and MAC, MTU and state put back when a port leaves.
ifconfig lagg0 -laggport "$second"
ifconfig lagg0 laggport "$second"
ifconfig -v lagg0
laggctl sysctl net.link.lagg
