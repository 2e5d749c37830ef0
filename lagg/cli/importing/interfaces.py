# SPDX-License-Identifier: BSD-2-Clause
"""/etc/network/interfaces, of ifupdown, ifupdown2 and ifupdown-ng.

Owns the grammar of interfaces(5) and where in it a bond is said: in its own stanza, in
those of its ports, or in the commands of either.  Pure: what a file would read besides
is named, not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lagg.cli.importing.bonding import Bonds
from lagg.cli.importing.draft import Draft, Drafts
from lagg.cli.importing.linux import CommandReader
from lagg.cli.importing.shell import commands
from lagg.cli.importing.text import Source, mentions, whole

STAYS = "stays in /etc/network/interfaces"

HARMLESS = frozenset(
    (
        *("auto", "iface", "inet", "manual", "use", "bond", "requires", "bond-slaves"),
        *("bond-members", "slaves", "none"),
    )
)
"""Words that say only what a laggd.toml says by being there."""

_WORDS = ("mapping", "source", "source-directory", "no-auto-down", "no-scripts")
_WITH_OPTIONS = ("iface", "mapping")
_HOOKS_UP = ("pre-up", "up", "post-up")
_HOOKS = (*_HOOKS_UP, "down", "pre-down", "post-down")
_PORTS = ("slaves", "members", "ports")


class _Option(NamedTuple):
    """A line of a stanza."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key} {self.value}".rstrip()


class _Stanza(NamedTuple):
    """From one word that begins a stanza to the next."""

    source: Source
    word: str
    rest: list[str]
    options: list[_Option]

    def __str__(self) -> str:
        """In one line."""
        head = " ".join([self.word, *self.rest])
        return "; ".join([head, *map(str, self.options)])


class _Interface(NamedTuple):
    """All that the stanzas of one name say."""

    name: str
    options: list[_Option]

    @property
    def bonding(self) -> list[tuple[str, str]]:
        """bond-lacp-rate, bond_lacp_rate -> lacp_rate."""
        plain = [(key.replace("-", "_"), value) for key, value in self.options]
        return [
            (key.removeprefix("bond_"), value)
            for key, value in plain
            if key.startswith("bond_")
        ]

    @property
    def master(self) -> str | None:
        """Whose port it is."""
        return dict(self.bonding).get("master")

    @property
    def ports(self) -> list[str]:
        """What it names as its own; the old `slaves`, too."""
        named = [value for key, value in self.bonding if key in _PORTS]
        named += [o.value for o in self.options if o.key in ("slaves", "requires")]
        return [
            port
            for value in named
            for port in value.split()
            if port != "none" and not _is_pattern(value)
        ]

    @property
    def is_bond(self) -> bool:
        """Whether it is one by what it says itself."""
        said = {key for key, _ in self.bonding}
        used = any(o.key == "use" and "bond" in o.value.split() for o in self.options)
        used = used or any(option.key == "slaves" for option in self.options)
        return "master" not in said and (used or bool(said & {*_PORTS, "mode"}))


def _is_pattern(value: str) -> bool:
    """ifupdown2's `glob swp1-4` and `regex swp.*`."""
    return value.split()[:1] in (["glob"], ["regex"])


def read(sources: Iterable[Source], bonds: Bonds, drafts: Drafts) -> None:
    """The bonds of files that belong together."""
    stanzas = [stanza for source in sources for stanza in _stanzas(source)]
    found = {each.name: each for each in _interfaces(stanzas)}
    hooks = CommandReader(bonds)
    for each in found.values():
        if each.is_bond:
            bonds.made(each.name)
        if each.master is not None:
            _join(bonds, each, each.master)
        _run_hooks(hooks, each)
    for each in found.values():
        if each.is_bond or bonds.of(each.name).is_made:
            _add_bond(bonds, each)
        else:
            _note_port(bonds, each)
    hooks.finish(drafts)
    _leave_others(stanzas, bonds, drafts)


# ---- the grammar -------------------------------------------------------------------


def _stanzas(source: Source) -> Iterator[_Stanza]:
    stanza: _Stanza | None = None
    for line in _lines(source.text):
        word, *rest = line.split()
        if word in ("iface", "auto", *_WORDS) or word.startswith("allow-"):
            if stanza is not None:
                yield stanza
            stanza = _Stanza(source, word, rest, [])
        elif stanza is not None and stanza.word in _WITH_OPTIONS:
            value = line.strip()[len(word) :].strip()
            stanza.options.append(_Option(word, value))
        else:
            raise ValueError(f"{source.name}: {word} stands in no stanza")
    if stanza is not None:
        yield stanza


def _lines(text: str) -> Iterator[str]:
    """Lines that go on as one; a comment is a whole line."""
    for line in text.replace("\\\n", " ").split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _interfaces(stanzas: list[_Stanza]) -> list[_Interface]:
    """By name, with what they inherit, without those that are only inherited from."""
    named: dict[str, list[_Stanza]] = {}
    for stanza in stanzas:
        if stanza.word == "iface" and stanza.rest:
            named.setdefault(stanza.rest[0], []).append(stanza)
    parents = {name for own in named.values() for s in own for name in _parents(s)}
    begun = {name for s in stanzas if _begins(s) for name in s.rest}
    known: dict[str, list[_Option]] = {}
    return [
        _Interface(name, _options_of(name, named, known))
        for name in named
        if name in begun or name not in parents
    ]


def _begins(stanza: _Stanza) -> bool:
    return stanza.word == "auto" or stanza.word.startswith("allow-")


def _parents(stanza: _Stanza) -> list[str]:
    """`iface eth0 inherits base`, or ifupdown-ng's line `inherit base`."""
    found = [option.value for option in stanza.options if option.key == "inherit"]
    for word, value in zip(stanza.rest, stanza.rest[1:], strict=False):
        if word == "inherits":
            found.append(value)
    return found


def _options_of(
    name: str, named: Mapping[str, list[_Stanza]], known: dict[str, list[_Option]]
) -> list[_Option]:
    """What its parents say, then what it says itself; `known` are those done before."""
    if name not in known:
        known[name] = []  # for who inherits from himself
        options = [
            o for s in named.get(name, ()) for o in _stanza_options(s, named, known)
        ]
        known[name] = list(dict.fromkeys(options))
    return known[name]


def _stanza_options(
    stanza: _Stanza, named: Mapping[str, list[_Stanza]], known: dict[str, list[_Option]]
) -> list[_Option]:
    own = {option.key for option in stanza.options}
    above = [o for each in _parents(stanza) for o in _options_of(each, named, known)]
    return [option for option in above if option.key not in own] + stanza.options


# ---- what they say -----------------------------------------------------------------


def _join(bonds: Bonds, port: _Interface, master: str) -> None:
    """A port that names its bond may have options for it, too."""
    bond = bonds.made(master)
    bond.draft.add_port(port.name)
    for key, value in port.bonding:
        if key in _PORTS and value != "none":
            bond.draft.note(f"{port.name}: {key} {value}", f"of a port, and {STAYS}")
        elif key == "master" and value != master:
            bond.draft.note(f"{port.name}: {key} {value}", "the last one rules")
    bond.add_weaker(_options(port))


def _options(interface: _Interface) -> list[tuple[str, str]]:
    """Bonding's own."""
    named = (*_PORTS, "master")
    return [(key, value) for key, value in interface.bonding if key not in named]


def _run_hooks(hooks: CommandReader, interface: _Interface) -> None:
    for key, value in interface.options:
        if key in _HOOKS:
            where = f"{interface.name} {key}"
            for command in commands(value, {"IFACE": interface.name}):
                if key in _HOOKS_UP:
                    hooks.take(command, where)
                else:
                    hooks.leave(command, where)


def _add_bond(bonds: Bonds, interface: _Interface) -> None:
    bond = bonds.made(interface.name)
    for port in interface.ports:
        bond.draft.add_port(port)
    for key, value in interface.bonding:
        if key in _PORTS and _is_pattern(value):
            bond.draft.note(f"bond-{key} {value}", "name each port")
    bond.add_options(_options(interface))
    for option in interface.options:
        _add_option(bond.draft, option)


def _is_told(option: _Option) -> bool:
    """Whether it goes another way than the options of any interface."""
    key = option.key
    of_bond = key.startswith(("bond-", "bond_")) or option == _Option("use", "bond")
    return of_bond or key in (*_HOOKS, "inherit", "requires", "slaves")


def _add_option(draft: Draft, option: _Option) -> None:
    key, value = option
    if _is_told(option):
        return
    number = whole(value)
    if key == "mtu" and number is not None:
        draft.set("mtu", number, str(option))
    elif key == "hwaddress" and ":" in value:
        draft.set("mac", value.removeprefix("ether").strip(), str(option))
    else:
        draft.note(str(option), STAYS)


def _note_port(bonds: Bonds, interface: _Interface) -> None:
    """What is said of a port beside its bond."""
    for bond in bonds:
        if interface.name in bond.draft.ports:
            for option in interface.options:
                if not _is_told(option):
                    bond.draft.note(f"{interface.name}: {option}", STAYS)


def _leave_others(stanzas: list[_Stanza], bonds: Bonds, drafts: Drafts) -> None:
    """Stanzas that are of no bond and no port; those on a bond are told in full."""
    made = frozenset(bond.draft.name for bond in bonds)
    for stanza in stanzas:
        head = " ".join([stanza.word, *stanza.rest])
        if stanza.word.startswith("source"):
            drafts.leave(head, "what it reads is not read: give these files, too")
        elif stanza.word == "iface" and set(stanza.rest[:1]) & bonds.names:
            _note_head(stanza, bonds)
        elif stanza.word == "iface" and mentions(str(stanza), made):
            drafts.leave(str(stanza), f"no bond, and {STAYS}")
        elif not _begins(stanza) or not set(stanza.rest) <= bonds.names:
            drafts.leave(head, f"no bond, and {STAYS}")


def _note_head(stanza: _Stanza, bonds: Bonds) -> None:
    """`inet static` and the like, of a bond or a port."""
    name, *words = stanza.rest
    if not set(words) <= {*HARMLESS, "inet6"}:
        for bond in bonds:
            if name == bond.draft.name:
                bond.draft.note(" ".join(words), STAYS)
            elif name in bond.draft.ports:
                bond.draft.note(f"{name}: {' '.join(words)}", STAYS)
