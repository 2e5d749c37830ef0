#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
uplinks="xn0 xn1"
cat >> /etc/rc.conf <<EOL
hostname="made.example.org"
cloned_interfaces="lagg0"
ifconfig_lagg0="laggproto lacp laggport xn0 laggport xn1"
ifconfig_lagg0_alias0="inet 192.0.2.98/31"
EOL
cat <<'EOF' > /etc/sysconfig/network-scripts/ifcfg-bond4
DEVICE=bond4
BONDING_OPTS="mode=1 miimon=100"
BRIDGE=br4
EOF
tee /etc/sysconfig/network-scripts/ifcfg-em4 >/dev/null <<-EOF
	DEVICE=em4
	MASTER=bond4
	EOF
cat > /etc/motd <<EOF
hunter2hunter2 isn't for everybody
EOF
