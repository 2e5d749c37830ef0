# SPDX-License-Identifier: BSD-2-Clause
"""org.laggd.Lagg as one client may call it: the methods and errors of the interface.

Owns what a call takes, who may make it, and what it needs of lagg.operations; asks
these to do it.  Knows no socket and no kernel.
"""

import errno
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from typing import Protocol

from lagg.config.files import ConfigError, to_toml
from lagg.config.requests import (
    parse_create,
    parse_frame,
    parse_lagg_name,
    parse_manner,
    parse_port_names,
    parse_set,
    parse_spot,
    parse_time,
)
from lagg.control.messages import (
    BalanceJson,
    BucketJson,
    EventJson,
    ExplanationJson,
    OptionsChangeJson,
    OutcomeJson,
    PlacedJson,
    PortOptionsChangeJson,
    balance_json,
    bucket_json,
    event_json,
    explanation_json,
    outcome_json,
    placed_json,
)
from lagg.control.monitors import Monitors
from lagg.control.varlink import (
    TypedVarlinkErrorReply,
    VarlinkInterface,
    description_of,
    refusal,
    varlinkmethod,
)
from lagg.errors import LaggError
from lagg.events import Asker, Event
from lagg.life import Life, Succession
from lagg.model import FOR_GOOD, Health, LaggChange, LaggConfig, Manner
from lagg.plan.balance_report import Report
from lagg.plan.explain import Bucket, Explanation
from lagg.plan.outcome import Outcome
from lagg.plan.pins import Placed, Spot
from lagg.records import (
    DaemonRecord,
    LaggRecord,
    OptionsRecord,
    TrialRecord,
    options_record,
)
from lagg.tasks import asked

_log = logging.getLogger(__name__)

LOOK_MS = 1000
"""For how long a load is looked at."""

Reload = Callable[[Manner], Awaitable[Outcome]]
"""Answers a line for each change.  May raise LaggError or ConfigError."""


class Operations(Protocol):
    """What the socket needs of lagg.operations.  Every method may raise LaggError."""

    adopted: int
    """Laggs that another laggd had, and that go on."""

    succession: Succession
    """Who carries their frames, and who had them before."""

    async def leave(self) -> None:
        """Ends this process and leaves all for the next, or raises LaggError."""

    async def create(self, config: LaggConfig, manner: Manner = FOR_GOOD) -> Outcome:
        """Makes a lagg with its ports, or changes nothing."""

    async def destroy(self, name: str) -> None:
        """Puts its ports back and removes it."""

    async def set(
        self, name: str, change: LaggChange, manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Applies the whole change, or none of it."""

    async def attach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Adds all these ports, or none."""

    async def detach(
        self, name: str, ports: Sequence[str], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Removes all these ports, or none."""

    async def release(self, name: str, ports: Sequence[str]) -> None:
        """Ends the hold of these ports, or of none."""

    async def reload(
        self, wanted: Sequence[LaggConfig], manner: Manner = FOR_GOOD
    ) -> Outcome:
        """Makes what runs be this, or changes nothing; a line for each change."""

    async def confirm(self, name: str | None, *, revert: bool) -> tuple[str, ...]:
        """Ends the trial of a lagg, or all; the names of their laggs."""

    def trials(self) -> tuple[TrialRecord, ...]:
        """The changes that wait to be confirmed."""

    async def running(self) -> tuple[LaggConfig, ...]:
        """What would make all that runs anew."""

    async def records(self, name: str | None) -> tuple[LaggRecord, ...]:
        """The record of one lagg, or of all."""

    async def explain(self, name: str, frame: bytes) -> Explanation:
        """Which port of a lagg carries this frame, under the running snapshot."""

    async def buckets(self, name: str) -> tuple[Bucket, ...]:
        """Frames sent by each bucket of a lagg's flow table."""

    async def balance(self, name: str, look_ms: int) -> Report:
        """How a lagg's load is shared, and what would move for it."""

    async def pin(self, name: str, spot: Spot, port: str, for_ms: int | None) -> Placed:
        """Has a bucket stay on a port, for good or for a time."""

    async def unpin(self, name: str, spot: Spot) -> Placed:
        """Has a bucket stay nowhere."""

    async def move(self, name: str, spot: Spot, port: str) -> Placed:
        """Moves a bucket once."""

    def subscribe(self, sink: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `sink` in the event loop with each event until the result is called."""

    def health(self) -> Health:
        """How laggs and workers are; cheap."""

    async def close(self) -> None:
        """Puts every port back."""


class Refused(TypedVarlinkErrorReply, interface="org.laggd.Lagg"):
    """The request was refused and nothing has changed: which thing, why, errno."""

    class Parameters:
        """As `laggctl` prints them: "thing: cause (errno_name)"."""

        thing: str
        cause: str
        errno: int
        errno_name: str


class BadConfiguration(TypedVarlinkErrorReply, interface="org.laggd.Lagg"):
    """The files are not a configuration, and nothing has changed."""

    class Parameters:
        """A line for each thing that is wrong: file, key, what is allowed."""

        complaints: list[str]


class LaggInterface(VarlinkInterface, name="org.laggd.Lagg"):
    """Link aggregation as FreeBSD's lagg(4), changed while traffic flows.

    Every change is done whole or not at all. Who may connect may read; root and
    members of the socket's group may change, unless the socket only reads.
    """

    errors = (Refused, BadConfiguration)

    def __init__(
        self,
        commands: Operations,
        deny: str | None,
        asker: Asker,
        monitors: Monitors,
        reload: Reload,
        defaults: dict[str, object],
        life: Life,
    ) -> None:
        """For the client `asker`; `deny` says why it may change nothing, if so."""
        self._reload = reload
        self._life = life
        self._commands = commands
        self._deny = deny
        self._asker = asker
        self._monitors = monitors
        self._defaults = defaults

    @varlinkmethod
    async def Create(
        self,
        *,
        name: str,
        proto: str | None = None,
        ports: list[str] | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        options: OptionsChangeJson | None = None,
        port: dict[str, PortOptionsChangeJson] | None = None,
        dry_run: bool = False,
    ) -> OutcomeJson:
        """Makes a lagg with its ports."""
        with self._change(name):
            wanted = _wanted(
                options, proto=proto, mac=mac, mtu=mtu, ports=ports, port=port
            )
            config = parse_create(name, {**self._defaults, **wanted})
            manner = parse_manner(name, dry_run, None)
            return outcome_json(await self._commands.create(config, manner))

    @varlinkmethod(return_parameter="options")
    async def Defaults(
        self, *, options: OptionsChangeJson | None = None
    ) -> OptionsRecord:
        """What an option is that Create does not give; sets some, until laggd ends."""
        if options is not None:
            with self._change("defaults"):
                wanted = _wanted(options)
                parse_set("defaults", wanted)
                self._defaults.update(wanted)
        return options_record(parse_create("defaults", self._defaults).options)

    @varlinkmethod
    async def Destroy(self, *, name: str) -> None:
        """Puts the ports of a lagg back and removes it."""
        with self._change(name):
            await self._commands.destroy(parse_lagg_name(name))

    @varlinkmethod
    async def Set(
        self,
        *,
        name: str,
        proto: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        active: str | None = None,
        hold_for_ms: dict[str, int] | None = None,
        options: OptionsChangeJson | None = None,
        port: dict[str, PortOptionsChangeJson] | None = None,
        dry_run: bool = False,
        confirm_ms: int | None = None,
    ) -> OutcomeJson:
        """Changes what is given and leaves the rest; live."""
        with self._change(name):
            basics = {"proto": proto, "mac": mac, "mtu": mtu, "port": port}
            state = {"active": active, "hold_for_ms": hold_for_ms}
            wanted = _wanted(options, **basics, **state)
            change = parse_set(name, wanted)
            manner = parse_manner(name, dry_run, confirm_ms)
            return outcome_json(await self._commands.set(name, change, manner))

    @varlinkmethod
    async def Attach(
        self,
        *,
        name: str,
        ports: list[str],
        dry_run: bool = False,
        confirm_ms: int | None = None,
    ) -> OutcomeJson:
        """Adds ports; one that is there already stays as it is."""
        with self._change(name):
            wanted = parse_port_names(name, ports)
            manner = parse_manner(name, dry_run, confirm_ms)
            return outcome_json(await self._commands.attach(name, wanted, manner))

    @varlinkmethod
    async def Detach(
        self,
        *,
        name: str,
        ports: list[str],
        dry_run: bool = False,
        confirm_ms: int | None = None,
    ) -> OutcomeJson:
        """Removes ports and puts them back as they were found."""
        with self._change(name):
            wanted = parse_port_names(name, ports)
            manner = parse_manner(name, dry_run, confirm_ms)
            return outcome_json(await self._commands.detach(name, wanted, manner))

    @varlinkmethod
    async def Release(self, *, name: str, ports: list[str]) -> None:
        """LACP no longer holds these ports off, whose partner changed too often."""
        with self._change(name):
            await self._commands.release(name, parse_port_names(name, ports))

    @varlinkmethod
    async def Reload(
        self, *, dry_run: bool = False, confirm_ms: int | None = None
    ) -> OutcomeJson:
        """Makes what runs be what the files say; a line for each change."""
        with self._change("reload"):
            try:
                manner = parse_manner("reload", dry_run, confirm_ms)
                return outcome_json(await self._reload(manner))
            except ConfigError as error:
                raise BadConfiguration(
                    complaints=[*map(str, error.complaints)]
                ) from error

    @varlinkmethod(return_parameter="laggs")
    async def Confirm(
        self, *, name: str | None = None, revert: bool = False
    ) -> list[str]:
        """Keeps the change of a lagg that is on trial, or all; or reverts it now."""
        with self._change(name or "confirm"):
            wanted = None if name is None else parse_lagg_name(name)
            return [*await self._commands.confirm(wanted, revert=revert)]

    @varlinkmethod(return_parameter="toml")
    async def Save(self) -> str:
        """All that runs, as a file that a reload of changes nothing."""
        return to_toml(await self._commands.running())

    @varlinkmethod(return_parameter="laggd")
    async def Status(self) -> DaemonRecord:
        """Laggd itself: version, pid, and since when."""
        return {**self._life.record(), "trials": [*self._commands.trials()]}

    @varlinkmethod(return_parameter="laggs")
    async def List(self, *, name: str | None = None) -> list[LaggRecord]:
        """The record of the lagg of this name, or of every lagg."""
        with _refusals():
            wanted = None if name is None else parse_lagg_name(name)
            return [*await self._commands.records(wanted)]

    @varlinkmethod(return_parameter="explanation")
    async def Explain(self, *, name: str, frame: str) -> ExplanationJson:
        """Which port an Ethernet frame (in hexadecimal; its head is enough) takes."""
        with _refusals():
            wanted, bytes_ = parse_lagg_name(name), parse_frame(name, frame)
            return explanation_json(await self._commands.explain(wanted, bytes_))

    @varlinkmethod(return_parameter="buckets")
    async def Buckets(self, *, name: str) -> list[BucketJson]:
        """Frames sent by each bucket of the flow table since the lagg was created."""
        with _refusals():
            found = await self._commands.buckets(parse_lagg_name(name))
            return [bucket_json(each) for each in found]

    @varlinkmethod(return_parameter="balance")
    async def Balance(self, *, name: str, look_ms: int = LOOK_MS) -> BalanceJson:
        """Each port's load in a look, and what would move for it; changes nothing."""
        with _refusals():
            wanted, look = parse_lagg_name(name), parse_time(name, look_ms)
            return balance_json(await self._commands.balance(wanted, look or LOOK_MS))

    @varlinkmethod(return_parameter="placed")
    async def Pin(
        self,
        *,
        name: str,
        port: str,
        bucket: int | None = None,
        frame: str | None = None,
        for_ms: int | None = None,
    ) -> PlacedJson:
        """Keeps a bucket, or that of a frame, on a port while that carries."""
        with self._change(name):
            spot, time_ms = parse_spot(name, bucket, frame), parse_time(name, for_ms)
            (wanted,) = parse_port_names(name, [port])
            return placed_json(await self._commands.pin(name, spot, wanted, time_ms))

    @varlinkmethod(return_parameter="placed")
    async def Unpin(
        self, *, name: str, bucket: int | None = None, frame: str | None = None
    ) -> PlacedJson:
        """Keeps a bucket nowhere."""
        with self._change(name):
            spot = parse_spot(name, bucket, frame)
            return placed_json(await self._commands.unpin(parse_lagg_name(name), spot))

    @varlinkmethod(return_parameter="placed")
    async def Move(
        self,
        *,
        name: str,
        port: str,
        bucket: int | None = None,
        frame: str | None = None,
    ) -> PlacedJson:
        """Moves a bucket once; it stays until buckets are dealt anew."""
        with self._change(name):
            spot = parse_spot(name, bucket, frame)
            (wanted,) = parse_port_names(name, [port])
            return placed_json(await self._commands.move(name, spot, wanted))

    @varlinkmethod(return_parameter="event", delay_generator=False)
    async def Monitor(self) -> AsyncIterator[EventJson | None]:
        """Events as they happen. The first reply has none: it says that they follow."""
        with _refusals(), self._monitors.queue(self._commands.subscribe) as events:
            yield None
            while True:
                yield event_json(await events.get())

    @contextmanager
    def _change(self, thing: str) -> Iterator[None]:
        if self._deny is not None:
            _log.warning("%s: a change was refused: %s", thing, self._deny)
            raise refusal(thing, self._deny, errno.EPERM)
        with _refusals(), asked(self._asker):
            yield


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what an operation raises into what a client reads."""
    try:
        yield
    except LaggError as error:
        raise refusal(error.thing, error.cause, error.code) from error


def _wanted(
    options: OptionsChangeJson | None, **basics: object
) -> Mapping[str, object]:
    """The fields that a request gives, by the keys of the configuration file."""
    named = {key: value for key, value in basics.items() if value is not None}
    chosen = {} if options is None else dict(options)
    return named | {key: each for key, each in chosen.items() if each is not None}


def idl() -> str:
    """The interface in varlink's language, as packaging/org.laggd.Lagg.varlink."""
    return description_of(LaggInterface)


if __name__ == "__main__":
    print(idl(), end="")
