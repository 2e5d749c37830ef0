# SPDX-License-Identifier: BSD-2-Clause
"""A reload as values: from what runs and what the files say to what is to be done.

Owns what counts as a difference, and its wording.  Pure: nothing is asked or done here;
operations/apply.py applies a Diff.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace

from lagg.frozen import dataclass
from lagg.model import LaggChange, LaggConfig, PortOptions, differences, words

_NOT_ONE_SETTING = ("name", "ports", "options", "port_options")
"""Fields of LaggConfig that are told in another way than by their two values."""


@dataclass(frozen=True, slots=True)
class LaggDiff:
    """One lagg that stays: what it is and what it is to be."""

    before: LaggConfig
    after: LaggConfig

    @property
    def name(self) -> str:
        """The lagg's name."""
        return self.before.name

    @property
    def change(self) -> LaggChange | None:
        """What is to be set; None when there is nothing to set."""
        before, after = self.before, self.after
        changed = tuple(
            (key, now) for key, _, now in differences(before.options, after.options)
        )
        found = LaggChange(
            proto=after.proto if after.proto is not before.proto else None,
            mac=after.mac if after.mac != before.mac else None,
            mtu=after.mtu if after.mtu != before.mtu else None,
            options=changed,
            port_options=LaggChange.of_port_options(
                before.port_options, after.port_options
            ),
        )
        return None if found == LaggChange() else found

    @property
    def released(self) -> tuple[str, ...]:
        """Which of "mac" and "mtu" files no longer fix: the first port's again."""
        return tuple(
            key
            for key in ("mac", "mtu")
            if getattr(self.after, key) is None and getattr(self.before, key)
        )

    @property
    def leaving(self) -> tuple[str, ...]:
        """The ports to take out."""
        return _without(self.before.ports, self.after.ports)

    @property
    def coming(self) -> tuple[str, ...]:
        """The ports to attach, or to wait for."""
        return _without(self.after.ports, self.before.ports)

    @property
    def reordered(self) -> bool:
        """Whether the ports that stay come in another order."""
        stay = _without(self.before.ports, self.leaving)
        return stay != _without(self.after.ports, self.coming)


@dataclass(frozen=True, slots=True)
class Diff:
    """All that a reload is to do; a lagg that is in no part is not touched."""

    destroy: tuple[LaggConfig, ...] = ()
    create: tuple[LaggConfig, ...] = ()
    change: tuple[LaggDiff, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every lagg that it is about."""
        named = (*self.destroy, *self.create)
        changed = (each.name for each in self.change)
        return (*changed, *(each.name for each in named))

    @property
    def moving(self) -> frozenset[str]:
        """The ports that go from one lagg to another."""
        coming = {port for each in self.change for port in each.coming}
        return frozenset(coming.union(*(each.ports for each in self.create)))


def diff(
    running: Mapping[str, LaggConfig],
    said: Mapping[str, LaggConfig],
    wanted: Sequence[LaggConfig],
) -> Diff:
    """From laggs as they run, and what the files said last, to what they say now.

    All by name.  A running lagg that the files never named is not theirs, and stays.
    """
    names = {config.name for config in wanted}
    both = [config for config in wanted if config.name in running]
    pairs = [
        LaggDiff(running[c.name], _settled(running[c.name], said.get(c.name), c))
        for c in both
    ]
    return Diff(
        destroy=tuple(
            running[name] for name in running if name in said and name not in names
        ),
        create=tuple(config for config in wanted if config.name not in running),
        # Of a lagg made by hand the order of its ports is the files' from now on.
        change=tuple(
            pair for pair in pairs if pair.before != pair.after or pair.name not in said
        ),
    )


def way_back(
    running: Mapping[str, LaggConfig],
    before: Mapping[str, LaggConfig],
    created: Collection[str],
) -> Diff:
    """From laggs as they run to what they were `before` a change; all by name."""
    return Diff(
        destroy=tuple(running[name] for name in created if name in running),
        create=tuple(before[name] for name in before if name not in running),
        change=tuple(
            LaggDiff(running[name], config)
            for name, config in before.items()
            if name in running and running[name] != config
        ),
    )


def _settled(
    running: LaggConfig, said: LaggConfig | None, wanted: LaggConfig
) -> LaggConfig:
    """`wanted` with what it leaves open as it runs.

    A MAC or MTU that no file ever said stays as somebody set it (networkd, ip(8)).  One
    that a file said, and says no more, is the first port's again.
    """
    open_keys = {
        key: getattr(running, key)
        for key in ("mac", "mtu")
        if getattr(wanted, key) is None and (said is None or getattr(said, key) is None)
    }
    seed = wanted.options.hash_seed
    if seed is None:
        seed = running.options.hash_seed
    return replace(
        wanted,
        options=replace(wanted.options, hash_seed=seed),
        **open_keys,
    )


def _without(ports: Sequence[str], others: Collection[str]) -> tuple[str, ...]:
    return tuple(port for port in ports if port not in others)


def report_lines(done: Diff, waiting: Collection[str]) -> tuple[str, ...]:
    """A line for each thing a reload did; `waiting`: ports that are not there yet."""
    return (
        *(f"{config.name}: destroyed" for config in done.destroy),
        *(line for each in done.change for line in _change_lines(each, waiting)),
        *(line for each in done.create for line in _create_lines(each, waiting)),
    )


def _create_lines(config: LaggConfig, waiting: Collection[str]) -> Iterator[str]:
    yield f"{config.name}: created, laggproto {config.proto.value}"
    yield from _coming_lines(config.name, config.ports, waiting)


def _change_lines(each: LaggDiff, waiting: Collection[str]) -> Iterator[str]:
    for port in each.leaving:
        yield f"{each.name}: port {port}: detached"
    if each.reordered:
        yield f"{each.name}: ports: in the order {words(each.after.ports)}"
    for key, was, now in _settings(each):
        yield f"{each.name}: {key}: {words(was)} -> {words(now)}"
    yield from _coming_lines(each.name, each.coming, waiting)


def _coming_lines(
    name: str, ports: Sequence[str], waiting: Collection[str]
) -> Iterator[str]:
    for port in ports:
        there = "not there yet, waited for" if port in waiting else "attached"
        yield f"{name}: port {port}: {there}"


def _settings(each: LaggDiff) -> Iterator[tuple[str, object, object]]:
    """Each setting that differs: its key, what it was, what it is to be."""
    before, after = each.before, each.after
    for field in fields(LaggConfig):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if field.name not in _NOT_ONE_SETTING and was != now:
            yield field.name, was, now
    yield from differences(before.options, after.options)
    changed = LaggChange.of_port_options(before.port_options, after.port_options)
    for port, options in changed.items():
        old = before.port_options.get(port, PortOptions())
        for name, value in options:
            yield f"port {port}: {name}", getattr(old, name), value
