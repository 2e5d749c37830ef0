# SPDX-License-Identifier: BSD-2-Clause
"""With mac_policy active a lagg has the MAC of the port that carries.

Owns that another one is followed at once, in turn, whoever made it carry.  Knows not
how a MAC is set.
"""

from functools import partial

from lagg.events import EventKind
from lagg.model import MacPolicy
from lagg.operations import propagate
from lagg.operations.attendant import Attendant
from lagg.running.bundle import Bundle


class ActiveMac(Attendant):
    """Follows the active port of each lagg."""

    NEWS = frozenset({EventKind.ACTIVE_PORT})

    def _look_at(self, bundle: Bundle) -> None:
        if bundle.shape.options.mac_policy is MacPolicy.ACTIVE:
            lagg = bundle.link.ifindex
            self._tasks.begin(self._whole, partial(self._follow, lagg))

    async def _follow(self, lagg: int) -> None:
        bundle = self._laggs.of_tap(lagg)
        if bundle is not None:
            await propagate.follow(self._laggs, bundle)
