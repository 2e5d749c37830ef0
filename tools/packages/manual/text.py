# SPDX-License-Identifier: BSD-2-Clause
"""What the manual says beyond the parsers and the rules: prose, and nothing else."""

LAGGD = """
`laggd` makes network interfaces that are aggregates of others: FreeBSD's lagg(4) for
Linux, in user space.  A lagg is an ordinary interface, `lagg0`; its frames are carried
to and from its ports over packet sockets.  Ports are attached and detached, and
protocols and options changed, while traffic flows and without losing a frame.

It runs in the foreground, logs to standard error, and serves the network namespace it
was started in.  It needs the capabilities `CAP_NET_ADMIN` and `CAP_NET_RAW`, and
`/dev/net/tun`.
"""

SIGNALS = (
    (
        "`SIGTERM`, `SIGINT`",
        "Every port is put back as it was found: MAC, MTU, up or down, IPv6 state.",
    ),
    ("`SIGHUP`", "As `laggctl reload`; what it did is in the log."),
    ("`SIGUSR2`", "Ends laggd alone: frames flow on, and the next laggd goes on."),
    (
        "`SIGKILL`",
        "As SIGUSR2.  With --inside the laggs vanish at once, and the next start puts"
        " the ports back.",
    ),
)

LAGGD_EXITS = (
    ("`0`", "Ended by a signal, all put back."),
    ("`1`", "Failed; the log says why."),
    ("`2`", "Usage."),
    ("`76`", "Cannot go on with what another laggd has or left; the log says why."),
    ("`77`", "May not: a capability is missing."),
    ("`78`", "Bad configuration; every complaint is in the log."),
)

LAGGD_FILES = (
    ("`/etc/laggd/laggd.toml`", "The configuration, see laggd.toml(5)."),
    ("`/etc/laggd/laggd.d/*.toml`", "More of it, read in the order of their names."),
    (
        "`/run/laggd/laggd.sock`",
        "The control socket, varlink interface org.laggd.Lagg.",
    ),
    (
        "`/usr/share/doc/laggd/OPERATIONS.md`",
        "From day to day: events, drop reasons, metrics, upgrades, and more.",
    ),
    ("`/run/laggd/forwarder.sock`", "Where lagg-forwarder listens."),
    ("`/run/laggd/ports.json`", "What the ports were before they were ports."),
    ("`/run/laggd/trials.json`", "Changes that wait to be confirmed."),
)

LAGGCTL = """
`laggctl` controls laggd(8).  A change is done whole or not at all, and live: no frame
is lost by it.  A refusal is one line that names the thing, the cause and the errno.

Root and the members of the socket's group may connect and change things.  By the
socket that `laggd --read-socket` has, everybody may look, or one group, and nobody
change anything: `laggctl --socket /run/laggd/read.sock show`.
"""

COMMANDS = {
    "show": (
        "Without NAME, and with more than one lagg, a line for each: how many of its"
        " ports carry, which, and why the others do not, cut at the terminal's width."
        "  Of one: whether it carries, by which ports, why not by the others, since"
        " when, and the options that are not the default; `-v`: all that is known."
        "  `--openconfig` has laggs and ports as openconfig-interfaces, -if-aggregate"
        " and -lacp model them, as JSON (RFC 7951); what laggd does not know is left"
        " out."
    ),
    "picture": (
        "Standard output gets an SVG that needs nothing from outside of it: what `show"
        " --tree` draws, each way as thick as the port's share of the frames.  `laggctl"
        " picture lagg0 > lagg0.svg`."
    ),
    "top": (
        "On a terminal it has the screen to itself.  Keys: arrows, PgUp, PgDn, Home,"
        " End scroll; `o` sorts by what leaves, comes in or is lost, or by name; `r`"
        " turns that round; `s` says what a full bar is; `p` hides ports; space holds"
        " still; `h` helps; `q` ends.  It waits for a laggd that restarts."
    ),
    "capture": (
        "Standard output gets an interface block for the lagg and for each port, when"
        " it is attached, and each frame with a comment: direction, bucket, port, and"
        " why it is dropped if it is.  `laggctl capture lagg0 | wireshark -k -i -`"
        " shows them live.  It opens packet sockets, so it needs root, in laggd's"
        " network namespace.  Until laggd notices, within a second, that somebody"
        " listens, short frames leave a port by AF_XDP and are seen at the lagg alone. "
        " It outlives laggd, as `monitor` does, and watches on meanwhile."
    ),
    "monitor": (
        "It outlives laggd: when laggd goes, this is said on standard error, and again"
        " when there is one, whose events follow.  The first of them, `events-lost`,"
        " tells of the gap.  Only where no laggd is when it begins, it exits 3."
    ),
    "balance": (
        "Looks for a second and changes nothing: buckets move by themselves where"
        " `balance_interval_ms` is set, or by `move`.  A port's `share` of the bytes is"
        " in proportion to its speed times its weight; `part` is what it sent.  With"
        " `--dry-run` also which buckets rebalancing would move for this one look, and"
        " what the busiest port would carry then.  `--json` has both.  `--flows S` then"
        " samples what leaves the lagg for S seconds, and names the ten heaviest flows"
        " in the words that `explain` and `pin` take, each with its load, the bounds"
        " that this keeps 19 times of 20 while the load is steady, its bucket and its"
        " port.  For that it needs root, in laggd's network namespace.  It listens for"
        " a twentieth of the time, at random moments, and copies some fifty frames"
        " each time; `flows` of `--json` also says how many it was."
    ),
    "create": (
        "Without a port the lagg is there and has no carrier.  The first port gives"
        " it its MAC and MTU unless they are given."
    ),
    "set": "What is not given stays.  Setting what is set already changes nothing.",
    "attach": "A port of this lagg already is no error.",
    "detach": "A port is put back as it was found.",
    "release": (
        "LACP holds a port off whose partner changed more than three times, each"
        " within ten seconds, while others carry without it; for a minute at most. "
        " This ends it, and forgets the changes.  A port that is not held off is no"
        " error."
    ),
    "explain": (
        "A flow is given by its fields, as a whole Ethernet frame in hexadecimal, or"
        " as a capture file (pcap or pcapng), each frame of which is answered. "
        " Fields are `src=` `dst=` `proto=` `sport=` `dport=` `vlan=` (outer.inner"
        " for two) `smac=` (the lagg's unless given) and `dmac=` (looked up in the"
        " ARP table unless given)."
    ),
    "ifconfig": (
        "`create` `destroy` `laggproto` *P* `laggport` *IF* `-laggport` *IF*"
        " `lagghash` *L* [-]`use_flowid` `flowid_shift` *N* `rr_limit` *N*"
        " [-]`lacp_strict` [-]`lacp_fast_timeout` `ether` *M* `mtu` *N* `up` `down`"
        " *ADDRESS* `netmask` *MASK*, done in the order written.  Without words the"
        " interface is shown as FreeBSD's ifconfig(8) does.  Through a link named"
        " `ifconfig` the command is not needed."
    ),
    "sysctl": (
        "`net.link.lagg.failover_rx_all` is of every lagg at once;"
        " `default_use_flowid`, `default_flowid_shift` and `lacp.default_strict_mode`"
        " count for laggs created from then on, until laggd ends."
    ),
}
"""More than the one line that `--help` has; a command that needs none is not here."""

LAGGCTL_EXITS = (
    ("`0`", "Done."),
    ("`1`", "The daemon refused; nothing has changed."),
    ("`2`", "Usage."),
    (
        "`3`",
        "No daemon answers on the socket; or it died or was replaced before it"
        " answered, and what was asked may be done or not.",
    ),
)

LAGGCTL_EXAMPLES = """
laggctl create lagg0 --proto failover --port eth1 --port eth2
laggctl show lagg0
laggctl set lagg0 --proto loadbalance --lagghash l3,l4
laggctl explain lagg0 src=192.0.2.1 dst=192.0.2.2 proto=tcp dport=443
laggctl detach lagg0 eth2
"""

TOML = """
One table `[[lagg]]` for each lagg.  Unknown keys, duplicates and bad values are refused
together, each with file, key and what is allowed, and then nothing is applied; `laggctl
check` does just that and needs no daemon.
"""

KEYS = {
    "name": "Required: the name of the interface, at most 15 bytes.",
    "proto": (
        "Who carries a frame: `failover` (the first port that is up, the primary"
        " before all), `roundrobin`, `loadbalance` (by flow hash), `lacp` (the same"
        " over the ports that the partner agrees to), `broadcast` (a copy on each"
        " port), `tlb` (loadbalance to a switch that knows no aggregation: each port"
        " sends by a MAC of its own, and the active one alone receives), `alb` (the"
        " same, and each peer is told by which port to send) or `none`."
        "  Default: `failover`."
    ),
    "ports": "A list of interfaces, at most 32; may be empty.",
    "mac": "The lagg's MAC address.  Unless given, a port's: see `mac_policy`.",
    "mtu": "In bytes, 68 to 65521, set on every port.  Unless given, the first port's.",
    "port": (
        "A table for each port that has settings, with the keys of a port below:"
        " `[lagg.port.eth1]`."
    ),
}
"""Every key of a [[lagg]] table that is no option; those have it in their rows."""

TOML_EXAMPLE = """
[[lagg]]
name = "lagg0"
proto = "loadbalance"
ports = ["eth0", "eth1"]
lagghash = ["l3", "l4"]
"""
