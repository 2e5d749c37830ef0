# SPDX-License-Identifier: BSD-2-Clause
"""Receive rings that are opened anew: what is refused on the way names the port."""

import asyncio
import errno
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from lagg.errors import LaggError
from lagg.operations.stuck_rings import _close_former
from lagg.plan.shape import Port
from lagg.running.bundle import Bundle


@dataclass
class Refusing:
    """A lagg, and its device, whose forwarder does not let go of rings."""

    calls: list[str] = field(default_factory=list)

    @property
    def device(self) -> "Refusing":
        return self

    def publish_again(self) -> None:
        self.calls.append("publish")

    async def grace(self) -> None:
        self.calls.append("grace")

    def drain_rings(self, slot: int) -> None:
        raise OSError(errno.EBUSY, "it is in use")


def test_rings_that_a_forwarder_keeps_are_a_refusal_that_names_the_port() -> None:
    refusing = Refusing()
    stuck = SimpleNamespace(slot=3, link=SimpleNamespace(name="p3"))
    with pytest.raises(LaggError, match="open its receive ring anew") as caught:
        asyncio.run(_close_former(cast(Bundle, refusing), cast(Port, stuck)))
    assert caught.value.thing == "p3"
    assert caught.value.code == errno.EBUSY
    assert refusing.calls == ["publish", "grace"]
