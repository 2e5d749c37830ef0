# SPDX-License-Identifier: BSD-2-Clause
"""The MAC that a port's probes are from, and that answers come to.

Owns its form.  It is the port's alone, and no interface's: so an answer to it is one to
a probe of this port, and a switch learns by a probe only which way that MAC is.  Were
it the lagg's, a probe by a port that stands by would have the switch send there what is
for the lagg, and an answer would come by whichever port the switch heard last.
"""

from hashlib import blake2b

from lagg.lacp.values import Mac
from lagg.watches import PROBE_OCTET

_REST_BYTES = 5


def probe_mac(home_mac: Mac, slot: int) -> Mac:
    """The address of the port in this slot, which was attached with `home_mac`.

    The same after a restart, so that a switch that counts addresses counts no more.
    """
    seed = f"laggd probe {home_mac} {slot}".encode()
    rest = blake2b(seed, digest_size=_REST_BYTES).digest()
    return bytes([PROBE_OCTET, *rest]).hex(":")
