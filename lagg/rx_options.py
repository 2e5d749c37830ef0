# SPDX-License-Identifier: BSD-2-Clause
"""The options of a lagg that are about what comes in: rows of options.OPTIONS.

Owns whose frames a port brings that are none of the lagg's.
"""

from lagg.option_row import CARRYING, Kind, Option

RX_OPTIONS: tuple[Option, ...] = (
    Option(
        "loop_guard",
        Kind.SWITCH,
        help="keep a port out by which the lagg's own frames come back",
        sentence=(
            "A port by which frames come back that the lagg sent is kept out until none"
            " has come for 5 seconds, and up to 320 if they come again; the last that"
            " could carry never is.  They are dropped in any case, as `own-source`."
            "  Off by default, as lagg(4), which takes them for somebody's."
        ),
        protos=("failover", "roundrobin", "loadbalance", "broadcast"),
        usual=False,
    ),
    Option(
        "link_local",
        Kind.WORD,
        metavar="L",
        help="LLDP, STP, EAPOL: stay on their port, or pass as with lagg(4)",
        sentence=(
            "What becomes of frames to 01-80-C2-00-00-00 to -0F (LLDP, STP, EAPOL,"
            " PTP), which speak of one cable.  `stay`, the default: whoever listens on"
            " the port has them, and the lagg does not (`link-local`).  `pass`: they go"
            " up, as with lagg(4), for a bridge on the lagg with STP.  PAUSE never"
            " does; LACP's are LACP's."
        ),
        protos=CARRYING,
        usual="stay",
    ),
)
"""In the order in which files, records and pages have them."""
