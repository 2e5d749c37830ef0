# SPDX-License-Identifier: BSD-2-Clause
"""What another laggd has, or left, on its way to be this one's.

Owns the order: looked at, claimed, looked at for what has changed, ours, acted for.
Who gives up before it is ours has changed nothing, and whoever had it goes on.  From
the claim on nobody acts, and for 2 s at most: all that takes long comes before.

That no two laggds act is held twice: by the forwarder, which knows one owner, and by
the lock of the state directory, which is free only when who had it writes no more.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lagg
from lagg.errors import LaggError, UnlikeError, logged
from lagg.forwarder.datapath import ForwarderDatapath
from lagg.forwarder.keeper import Keeper
from lagg.forwarder.wire import layout
from lagg.frozen import dataclass
from lagg.kernel.netlink import DeafPorts, Netlink
from lagg.kernel.proc import uptime_s
from lagg.life import Succession
from lagg.model import Tuning
from lagg.operations.adopt import Left, LeftLagg, adopt, adopt_device
from lagg.operations.laggs import Laggs
from lagg.paths import FORWARDER_SOCKET
from lagg.ports.originals import StateFile
from lagg.ports.takeover import Takeover
from lagg.records import HalfRecord
from lagg.running.bundle import Bundle

log = logging.getLogger(__name__)

LOCK_S = 60.0
"""For a laggd that was told that it is replaced to let go, which it does at once; one
that is stopped just then does not, and there is no way back."""

ADOPTIONS = "adoptions"
"""The memory that counts the laggds which went on with another one's laggs."""

_COUNT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Apart:
    """How a laggd comes by the process of its own that carries its frames."""

    replace: bool = False  # also from a laggd that lives
    on_owned: Callable[[], object] = lambda: None  # all is this one's from then on
    forwarder: Path | None = None  # where a supervisor has one listen; else we start it


class Claim:
    """One laggd's claim.  Event loop's thread only."""

    def __init__(
        self, keeper: Keeper, file: StateFile, apart: Apart, *, alone: bool
    ) -> None:
        """`alone`: no other laggd lives."""
        self.keeper = keeper
        self._file = file
        self._apart = apart
        self._alone = alone

    @classmethod
    def of(cls, state_dir: Path, file: StateFile, apart: Apart) -> "Claim":
        """To be claimed by look().  LaggError: another laggd has it and keeps it."""
        path = apart.forwarder or state_dir / FORWARDER_SOCKET
        alone = _is_alone(path, file, apart)
        keeper = Keeper.open(path, may_start=apart.forwarder is None)
        return cls(keeper, file, apart, alone=alone)

    async def take_over(
        self, left: Left, netlink: Netlink, deaf: DeafPorts
    ) -> Takeover:
        """The ports as they were left; if no lagg was, those of the dead are put back.

        Waits for nothing when another laggd waits for us.
        """
        if self._alone and not left.laggs:
            return await Takeover.after_the_dead(netlink, deaf, self._file)
        return left.take_over(netlink, deaf, self._file)

    def look(self) -> Left:
        """Claims all that is there.  LaggError: we cannot have it; it all goes on."""
        with self._remedy():
            self._require_layout()
        seen = None if self._alone else self._seen()
        as_listed = self.keeper.claim()
        if self._alone:
            self.keeper.commit()
        if not as_listed:
            (seen or Left((), self.keeper.left)).close()
            seen = None
            self.keeper.list_again()
        with self._remedy():
            return Left.of(self.keeper.left, seen)

    def _require_layout(self) -> None:
        ours = layout()
        if self.keeper.layout != ours:
            its = f"version {self.keeper.version}, layout {self.keeper.layout:08x}"
            cause = f"the memory that it shares is another one's: {its}, not {ours:08x}"
            raise LaggError("lagg-forwarder", cause, errno.EPROTO)

    def _seen(self) -> Left | None:
        """What there is, while another laggd goes on to change it."""
        try:
            return Left.of(self.keeper.left).opened()
        except LaggError as error:  # it may just be writing: it is looked at again
            log.debug("%s", error)
            return None

    @contextmanager
    def _remedy(self) -> Iterator[None]:
        """Adds what to do to a refusal."""
        try:
            yield
        except LaggError as error:
            remedy = f"kill -9 {self.keeper.pid} (lagg-forwarder) and start laggd anew"
            if not self._alone:
                remedy = "stop laggd, then start it"
            cause = f"{error.cause}; frames go on; to give up every lagg: {remedy}"
            kind = UnlikeError if error.code == errno.EPROTO else LaggError
            raise kind(error.thing, cause, error.code) from error

    def adopt(self, laggs: Laggs, left: LeftLagg, tuning: Tuning) -> Bundle:
        """Takes in one lagg.  LaggError: nothing has happened to it."""
        which = left.lagg, left.slots, tuning.busy_poll_us
        datapath = ForwarderDatapath.resumed(self.keeper, *which)
        with self._remedy():
            return adopt(laggs, left, adopt_device(left, tuning, datapath))

    def complete(self) -> None:
        """From now on all is ours.  LaggError: it is another laggd's again."""
        if not self._alone:
            self.keeper.commit()
            self._file.lock(LOCK_S)
        self._apart.on_owned()
        self.keeper.watch()
        self.keeper.end_unclaimed()
        self._renew()

    def _renew(self) -> None:
        """Has frames carried by a forwarder of this version, if it can be had."""
        if self.keeper.version == lagg.__version__:
            return
        log.warning("lagg-forwarder is of version %s", self.keeper.version)
        if self.keeper.may_start:
            with logged(log.warning, "it goes on: %s"):
                self.keeper.renew()
                log.info("one of version %s goes on", self.keeper.version)
        else:
            log.warning("no frame is lost by: systemctl restart lagg-forwarder")

    def succession(self, adopted: int) -> Succession:
        """What there is to tell once it acts.  LaggError."""
        away_s = time.monotonic() - self.keeper.alone_since_s
        return Succession(
            lambda: _record(self.keeper),
            _count_adoption(self.keeper) if adopted else 0,
            round(away_s, 3) if adopted else None,
        )


def _is_alone(path: Path, file: StateFile, apart: Apart) -> bool:
    try:
        file.lock()
    except LaggError as error:
        if error.code != errno.EBUSY or not apart.replace:
            raise
        if Keeper.is_there(path):
            return False
        cause = "its laggd runs with --inside: stop it, then start one without"
        raise LaggError(str(path), cause, errno.EBUSY) from error
    return True


def require_none_left(state_dir: Path) -> None:
    """LaggError (EBUSY): a laggd has left laggs there, and they carry frames."""
    pid = Keeper.needed(state_dir / FORWARDER_SOCKET)
    if pid is not None:
        cause = f"lagg-forwarder (pid {pid}) carries what a laggd has left"
        remedy = "start laggd without --inside, which goes on with it"
        raise LaggError(str(state_dir), f"{cause}: {remedy}", errno.EBUSY)


def _record(keeper: Keeper) -> HalfRecord:
    return {
        "version": keeper.version,
        "pid": keeper.pid,
        "uptime_s": _uptime_s(keeper.pid),
        "deaths": keeper.deaths,
        "answers": not keeper.ailments(),
    }


def _uptime_s(pid: int) -> int:
    """0 of one that has just died, of which we are yet to be told."""
    try:
        return uptime_s(pid)
    except LaggError:
        return 0


def _count_adoption(keeper: Keeper) -> int:
    """The number of this one, of all that followed each other."""
    kept = keeper.left.get(ADOPTIONS)
    memory = os.memfd_create(f"laggd:{ADOPTIONS}") if kept is None else kept
    count = int.from_bytes(os.pread(memory, _COUNT_BYTES, 0), "little") + 1
    os.pwrite(memory, (count % (1 << 62)).to_bytes(_COUNT_BYTES, "little"), 0)
    keeper.lend(ADOPTIONS, memory)
    return count
