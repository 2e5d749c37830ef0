#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
set -e
ifs="igc0 igc1"
sysrc -f /etc/rc.conf cloned_interfaces+="lagg0"
for i in $ifs; do
	sysrc ifconfig_$i=up
	members="$members laggport $i"
done
sysrc ifconfig_lagg0="laggproto roundrobin rr_limit 3 $members 192.0.2.40/24" gateway_enable=YES
/sbin/ifconfig lagg0 description spare
pkg install -y tmux
