# SPDX-License-Identifier: BSD-2-Clause
"""Which machine each kind of watch has."""

from collections.abc import Callable, Mapping

from lagg.watchers.arp import arp
from lagg.watchers.bfd import Bfd
from lagg.watchers.ns import ns
from lagg.watchers.poll import Poll
from lagg.watchers.watcher import Ends, Watcher
from lagg.watches import LinkWatch, WatchKind, WatchState

Maker = Callable[[LinkWatch, Ends, WatchState], Watcher]
"""Makes a machine for a watch that begins in this state: INIT on a port that carries,
DOWN on one that is yet to be proved, UP when another laggd found it so."""

MAKERS: Mapping[WatchKind, Maker] = {
    WatchKind.ARP: arp,
    WatchKind.NS: ns,
    WatchKind.BFD: Bfd,
    WatchKind.POLL: Poll,
}
