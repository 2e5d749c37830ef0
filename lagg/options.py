# SPDX-License-Identifier: BSD-2-Clause
"""The options of a lagg: one row for each, with all that is said of it.

Owns an option's key, what its value may be, the protocols it counts for, and its words
on the command line, in FreeBSD's programs and in the manual.  Rules, schema, records,
flags, pages and completions are made from the rows; model.Options is their static twin,
which has the defaults.  Every option may change while a lagg runs.  Imports nothing
that would cost a command of laggctl its start-up.
"""

from lagg.option_row import (
    BY_FLOW,
    CARRYING,
    ELECTS,
    LACP,
    STATIC,
    U16_MAX,
    FreeBSD,
    Kind,
    Option,
    Whole,
)
from lagg.rx_options import RX_OPTIONS

PORTS_MAX = 32
"""Ports in one lagg, as lagg(4)'s LAGG_MAX_PORTS."""

U32_MAX = 2**32 - 1

FLOWID_SHIFT_MAX = 31
"""As lagg(4): a flow id has 32 bits."""

PORT_OFFSET_MAX = U16_MAX - PORTS_MAX
"""A port number has 16 bits, and the ports of a lagg have 1 to 32 without it."""

FALLBACK_S_MAX = 3600

DELAY_MS_MAX = 3_600_000
"""An hour: nobody waits for a port longer."""

ROUNDS_MAX = 255
"""How often anything is announced, as bonding's num_grat_arp and resend_igmp."""

ANNOUNCE_MS_MAX = 300_000
"""As bonding's peer_notif_delay."""

OPTIONS: tuple[Option, ...] = (
    Option(
        "altname",
        Kind.NAMES,
        metavar="A,...",
        help="all its alternative names, as ip(8) shows them; '': none",
        sentence=(
            "A list of other names for it, as `ip link property add` gives them: at"
            " most 32, each of at most 127 bytes.  One that any interface has already"
            " is refused.  Names that others gave it stay.  laggctl(8) takes any of"
            " them in place of the lagg's name; on its command line the list has"
            " commas."
        ),
        usual=(),
    ),
    Option(
        "mac_policy",
        Kind.WORD,
        metavar="M",
        help="whose MAC it has: stable, primary (as lagg(4)), active or own",
        sentence=(
            "Whose MAC the lagg has when `mac` is not given: `stable`, that of the"
            " first port, kept when this port leaves, so that nobody has to learn"
            " another; or `primary`, always the primary's, as lagg(4) and `laggctl"
            " ifconfig` do it.  With two others each port keeps its own MAC, for NICs"
            " that refuse another: `active`, with failover alone, that of the port that"
            " carries; `own`, one as with `stable`, which ports let in beside theirs."
        ),
        usual="stable",
    ),
    Option(
        "up_delay_ms",
        Whole(0, DELAY_MS_MAX),
        help="a port whose link comes is used so much later",
        sentence=(
            "Milliseconds, 0 to 3600000, after which a port is used whose link has"
            " come.  At once while no other port is usable."
        ),
        protos=CARRYING,
        usual=0,
    ),
    Option(
        "down_delay_ms",
        Whole(0, DELAY_MS_MAX),
        help="a port whose link goes is left so much later",
        sentence=(
            "Milliseconds, 0 to 3600000, after which a port is left whose link has"
            " gone.  Until then another stands in for it, frame by frame; without any"
            " they are dropped, as `tx-down`."
        ),
        protos=CARRYING,
        usual=0,
    ),
    Option(
        "damping",
        Kind.SWITCH,
        help="keep a port out that flaps, until it is steady",
        sentence=(
            "A port that loses its link a third time within some 5 seconds is kept out"
            " until it has not for 5 to 20, as routers damp an interface; the last that"
            " could carry never is.  Off by default, as lagg(4)."
        ),
        protos=CARRYING,
        usual=False,
    ),
    *RX_OPTIONS,
    Option(
        "watch",
        Kind.WATCHES,
        metavar="W",
        help="as arp,target=192.0.2.1,interval_ms=100; repeated: several; '': none",
        sentence=(
            "A list of tables, `[[lagg.watch]]`, that find the path behind a port dead"
            " though its carrier lives; nothing is given to it then.  `kind` is `arp`,"
            " `ns` (IPv6), `bfd` or `poll`; `target` an address on the link, or a list"
            " of which any may answer; `missed_max` probes (3), one each `interval_ms`"
            " (1000), are without answer; `vlan` an id, or outer and inner one; `ports`"
            " all unless given; `init_wait_ms` before the first; `source` an address"
            " that nobody has; `target_mac` whose answers alone count; `answer` `port`,"
            " or `lagg`: by any, as with lacp.  `bfd`: with `target` and `source`, the"
            " lagg's, that of RFC 7130; without, Open vSwitch's."
        ),
        protos=CARRYING,
        usual=(),
    ),
    Option(
        "watch_policy",
        Kind.WORD,
        metavar="P",
        help="all or any: how many watches must find a port's path alive",
        sentence="How many of a port's watches must find its path alive.",
        protos=CARRYING,
        usual="all",
    ),
    Option(
        "primary",
        Kind.NAME,
        metavar="IF",
        help="failover, tlb, alb: the preferred port; '': the first",
        sentence=(
            "Failover, tlb and alb: the port that is preferred, by its name, whatever"
            " priorities say.  `''`, the default: as lagg(4), the first port."
        ),
        protos=ELECTS,
    ),
    Option(
        "reselect",
        Kind.WORD,
        metavar="R",
        help="a preferred port that is back carries: always, better or failure",
        sentence=(
            "When a port that is preferred (`primary`, `priority`, lagg(4)'s first) and"
            " usable again takes over: `always`; when it is `better`, that is faster,"
            " or as fast and of full duplex; or only on `failure` of the port that"
            " carries.  A primary carries once it is named or attached, whatever this"
            " says.  With a static spread it speaks of groups of one priority, and"
            " `better` of the speeds of their ports together."
        ),
        protos=STATIC,
        usual="always",
    ),
    Option(
        "min_links",
        Whole(1, PORTS_MAX),
        help="with fewer usable ports nothing is carried",
        sentence=(
            "1 to 32.  With fewer usable ports the lagg has no carrier.  Roundrobin,"
            " loadbalance and broadcast: that many of one `priority`; the group of the"
            " highest that has enough carries.  With lacp the larger of it and"
            " `lacp_min_links` counts."
        ),
        protos=CARRYING,
        usual=1,
    ),
    Option(
        "announce_count",
        Whole(0, ROUNDS_MAX),
        help="how often another way to it is announced; 0: never",
        sentence=(
            "How often, 0 to 255, the network is told when another port or group"
            " carries, a port is out, or the MAC is another: by gratuitous ARP and"
            " neighbour advertisement for all addresses of the lagg and of what stands"
            " on it, and a frame from each other MAC behind it."
        ),
        protos=CARRYING,
        usual=1,
    ),
    Option(
        "announce_interval_ms",
        Whole(0, ANNOUNCE_MS_MAX),
        help="between two announcements",
        sentence="Milliseconds, 0 to 300000, from one of these to the next.",
        protos=CARRYING,
        usual=200,
    ),
    Option(
        "rejoin_count",
        Whole(0, ROUNDS_MAX),
        help="how often multicast groups are reported then; 0: never",
        sentence=(
            "How often, 0 to 255 and every 200 ms, the multicast groups of it and of"
            " what stands on it are reported (IGMP, MLD) when other ports carry."
        ),
        protos=CARRYING,
        usual=1,
    ),
    Option(
        "lagghash",
        Kind.LAYERS,
        metavar="L",
        help="as l2,l3,l4; with inner: those inside of tunnels",
        sentence=(
            "The header layers by which flows are told apart: one or more of `l2`, `l3`"
            " and `l4`.  With `inner` beside them they are those of the innermost frame"
            " or packet that VXLAN, GENEVE, GRE (NVGRE), IP in IP, MPLS (8 labels),"
            " PPPoE or GTP-U carry, up to four in each other, if they are not"
            " fragmented.  Off by default, as lagg(4)."
        ),
        protos=BY_FLOW,
        freebsd=FreeBSD(word="lagghash"),
        usual=("l2", "l3", "l4"),
    ),
    Option(
        "hash",
        Kind.WORD,
        metavar="H",
        help="crc32c or fnv1",
        sentence=(
            "The function over them: `crc32c`, with 256 buckets that move as few flows"
            " as possible, or `fnv1`, FreeBSD's, modulo the number of ports."
        ),
        protos=BY_FLOW,
        usual="crc32c",
    ),
    Option(
        "hash_seed",
        Whole(0, U32_MAX),
        help="random unless given",
        sentence=(
            "0 to 4294967295.  Routers in series want different ones: with one seed all"
            " flows that the first sends by one port would take one port of the next as"
            " well.  Unless given, drawn at creation."
        ),
        protos=BY_FLOW,
    ),
    Option(
        "hash_symmetric",
        Kind.SWITCH,
        help="both directions of a flow take one port",
        sentence=(
            "Both directions of a flow have one hash: of each pair of MACs, addresses"
            " and ports the order does not count.  What passes a lagg both ways takes"
            " one port then; both ends of a link agree on it with the same `lagghash`,"
            " `hash`, `hash_seed` and order of ports.  Off by default, as lagg(4)."
        ),
        protos=BY_FLOW,
        usual=False,
    ),
    Option(
        "pin",
        Kind.PINS,
        metavar="N=IF,...",
        help="buckets that stay on a port, as 17=eth1; '': none",
        sentence=(
            "A list of buckets (0 to 255) with the port that each stays on while that"
            ' carries, as `"17=eth1"`; else it goes as all others, and comes back.'
            "  `laggctl pin` adds to it.  Which flows are in a bucket depends on"
            " `lagghash` and `hash_seed`; with `hash` `fnv1` no bucket can stay."
        ),
        protos=BY_FLOW,
        usual=(),
    ),
    Option(
        "balance_interval_ms",
        Whole(0, DELAY_MS_MAX),
        help="buckets move for their load so often; 0: never",
        sentence=(
            "Milliseconds, 0 to 3600000, after each of which a port that sent far more"
            " than its share of the bytes, by speed and weight, gives buckets away: as"
            " few as help.  0, the default: never.  Less than 100 counts as 100."
        ),
        protos=BY_FLOW,
        usual=0,
    ),
    Option(
        "use_flowid",
        Kind.SWITCH,
        help="kept for lagg(4)'s sake; a TAP gives no flow id",
        sentence="Kept for lagg(4)'s sake; a TAP gives no flow id.",
        protos=("loadbalance",),
        freebsd=FreeBSD(
            word="use_flowid", flag="USE_FLOWID", bit=0x1, knob="default_use_flowid"
        ),
        usual=False,
    ),
    Option(
        "flowid_shift",
        Whole(0, FLOWID_SHIFT_MAX),
        help="bits by which a flow id is shifted",
        sentence="0 to 31; as `use_flowid`.",
        protos=("loadbalance",),
        freebsd=FreeBSD(word="flowid_shift", knob="default_flowid_shift"),
        usual=16,
    ),
    Option(
        "rr_limit",
        Whole(0, U32_MAX, zero="random"),
        help="frames a turn; 0 or random: each by any port",
        sentence=(
            "Roundrobin: frames by each port in its turn, 1 to 4294967295; 0 (on the"
            " command line also `random`) is no turn at all: each frame takes a port"
            " drawn by chance, by `weight`, as with bonding's packets_per_slave 0."
        ),
        protos=("roundrobin",),
        freebsd=FreeBSD(word="rr_limit"),
        usual=1,
    ),
    Option(
        "dedup",
        Kind.SWITCH,
        help="broadcast: of a frame's copies only the first goes up",
        sentence=(
            "Broadcast: of the copies of a frame that come by several ports the first"
            " goes up, and those that come by others within 100 ms count as"
            " `duplicate`.  Equal frames that one port brings all go up.  Segments that"
            " a port's GRO has merged otherwise than another's are no copies.  Off by"
            " default, as lagg(4)."
        ),
        protos=("broadcast",),
        usual=False,
    ),
    Option(
        "failover_rx_all",
        Kind.SWITCH,
        help="failover: receive from every port",
        sentence=(
            "Failover: accept frames from every port, not from the active one alone."
            "  With groups of ports by `priority`: from every group."
        ),
        protos=("failover",),
        freebsd=FreeBSD(knob="failover_rx_all", every_lagg=True),
        usual=False,
    ),
    Option(
        "lacp_strict",
        Kind.SWITCH,
        help="carry nothing without a partner",
        sentence="Carry frames only by ports with a partner that agrees.",
        protos=LACP,
        freebsd=FreeBSD(
            word="lacp_strict",
            flag="LACP_STRICT",
            bit=0x10,
            knob="lacp.default_strict_mode",
        ),
        usual=True,
    ),
    Option(
        "lacp_fast_timeout",
        Kind.SWITCH,
        help="have the partner send every second, not every 30",
        sentence=(
            "Ask the partner for a LACPDU every second and give it up after three, in"
            " place of 30 and 90."
        ),
        protos=LACP,
        freebsd=FreeBSD(word="lacp_fast_timeout", flag="LACP_FAST_TIMO", bit=0x80),
        usual=False,
    ),
    Option(
        "lacp_active",
        Kind.SWITCH,
        help="speak first; without it only to an active partner",
        sentence="Send LACPDUs without being asked; false is passive.",
        protos=LACP,
        usual=True,
    ),
    Option(
        "lacp_system_priority",
        Whole(0, U16_MAX),
        help="the lower decides",
        sentence="0 to 65535; the end with the lower one decides.",
        protos=LACP,
        usual=32768,
    ),
    Option(
        "lacp_system",
        Kind.MAC,
        metavar="M",
        help="auto: the lagg's MAC",
        sentence="The system's MAC address.  Unless given, the lagg's.",
        protos=LACP,
    ),
    Option(
        "lacp_key",
        Whole(0, U16_MAX),
        help="0: from the speed",
        sentence="1 to 65535; 0 derives it from lagg and speed.",
        protos=LACP,
        usual=0,
    ),
    Option(
        "lacp_port_offset",
        Whole(0, PORT_OFFSET_MAX),
        help="added to port numbers: two hosts as one system",
        sentence=(
            "0 to 65503, added to the port numbers in LACPDUs.  Two hosts with one"
            " `lacp_system`, `lacp_system_priority` and key are one partner to a switch"
            " if their port numbers differ: a lagg has at most 32, so 0 and 32 will do."
        ),
        protos=LACP,
        usual=0,
    ),
    Option(
        "ad_select",
        Kind.WORD,
        metavar="A",
        help="stable, bandwidth, count or port-priority",
        sentence=(
            "Which aggregator is active when several could be: `stable`, `bandwidth`,"
            " `count` or `port-priority`."
        ),
        protos=LACP,
        usual="stable",
    ),
    Option(
        "lacp_max_ports",
        Whole(1, PORTS_MAX),
        help="in use; more are on standby",
        sentence="1 to 32 ports carry; more are standby.",
        protos=LACP,
        usual=PORTS_MAX,
    ),
    Option(
        "lacp_min_links",
        Whole(1, PORTS_MAX),
        help="with fewer nothing is carried",
        sentence="With fewer ports that carry, the lagg has no carrier.",
        protos=LACP,
        usual=1,
    ),
    Option(
        "lacp_fallback_timeout",
        Whole(0, FALLBACK_S_MAX),
        help="seconds without a partner until one port carries",
        sentence=(
            "Seconds without any partner after which one port carries all the same; 0"
            " is never."
        ),
        protos=LACP,
        usual=0,
    ),
    Option(
        "lacp_coupled",
        Kind.SWITCH,
        help="collect and distribute at once",
        sentence=(
            "Collect and distribute at once, as a partner without independent control"
            " wants."
        ),
        protos=LACP,
        usual=False,
    ),
    Option(
        "lacp_txtest",
        Kind.SWITCH,
        help="send no LACPDU",
        sentence="For tests: send no LACPDU.",
        protos=LACP,
        freebsd=FreeBSD(word="lacp_txtest", flag="LACP_TXTEST", bit=0x20),
        usual=False,
    ),
    Option(
        "lacp_rxtest",
        Kind.SWITCH,
        help="ignore every LACPDU",
        sentence="For tests: hear no LACPDU.",
        protos=LACP,
        freebsd=FreeBSD(word="lacp_rxtest", flag="LACP_RXTEST", bit=0x40),
        usual=False,
    ),
)
"""A lagg's options, in the order in which files, records and pages have them."""
