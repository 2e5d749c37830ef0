# SPDX-License-Identifier: BSD-2-Clause
"""The options of a port: one row for each, as options.py has those of a lagg.

Owns what may be set for one interface by its name; model.PortOptions is the static twin
of the rows, which has the defaults.  Imports nothing that would cost a command of
laggctl its start-up.
"""

from lagg.option_row import (
    BY_FLOW,
    CARRYING,
    LACP,
    STATIC,
    U16_MAX,
    Kind,
    Option,
    Whole,
)

S32_MAX = 2**31 - 1

WEIGHT_MAX = 255
"""With more a port of weight 1 would have no bucket of a table of 256."""

PORT_OPTIONS: tuple[Option, ...] = (
    Option(
        "lacp_port_priority",
        Whole(0, U16_MAX),
        help="the lower is chosen first",
        sentence="Of a port, 0 to 65535; the lower is chosen first.",
        protos=LACP,
        usual=32768,
    ),
    Option(
        "priority",
        Whole(-S32_MAX - 1, S32_MAX),
        help="higher is better",
        sentence=(
            "Of a port, -2147483648 to 2147483647, 0 by default.  Failover: of the"
            " ports that are usable one with the highest carries.  Roundrobin,"
            " loadbalance and broadcast: ports of one priority are a group, and only"
            " the best with min_links usable ports carries."
        ),
        protos=STATIC,
        usual=0,
    ),
    Option(
        "weight",
        Whole(0, WEIGHT_MAX, zero="speed"),
        help="its share of the frames",
        sentence=(
            "Of a port, 1 to 255, 1 by default, or speed (0), which is 1 for each"
            " Gbit/s of its link.  Flows (with crc32c) and turns are shared in"
            " proportion to the weights of the ports that carry."
        ),
        protos=("roundrobin", *BY_FLOW),
        usual=1,
    ),
    Option(
        "hold",
        Kind.SWITCH,
        help="keep the port out, without loss",
        sentence=(
            "Of a port: nothing is sent by it, what comes in is taken, its link stays."
            "  With lacp the partner is told at once that it is not in sync, and sends"
            " elsewhere.  Also of the last port, which ends the lagg's carrier."
        ),
        protos=CARRYING,
        usual=False,
    ),
    Option(
        "hold_link",
        Kind.WORD,
        metavar="L",
        help="held: up, the link stays; down, so that a static partner leaves",
        sentence=(
            "Of a port, what its link is while it is held.  up: it stays.  down: it is"
            " set down once nothing is sent by it any more, so that a partner that is"
            " not told otherwise sends elsewhere; with lacp the partner is told, and"
            " it stays."
        ),
        protos=STATIC,
        usual="up",
    ),
)
"""The options of one interface, kept also while it is no port."""
