ns=lab
ip netns add $ns
ip -n $ns link add agg type bond mode active-backup num_grat_arp 5
for port in left right; do
    ip link set $port netns $ns
    ip netns exec $ns /sbin/ip link set "$port" master agg
done
ip -netns $ns link set agg up
cat > /tmp/psk <<EOF
hunter2hunter2 isn't a command
EOF
