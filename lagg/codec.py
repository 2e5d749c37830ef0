# SPDX-License-Identifier: BSD-2-Clause
"""Frozen dataclasses as JSON text and back, held to what their types say.

Owns one rule for each kind of type: numbers, words, enumerations by value, tuples and
frozen sets as arrays, mappings and dataclasses as objects.  `Annotated[int, range(9)]`
bounds a number, and the length of anything else; a predicate there is asked.  What
comes in is a stranger's: it fits the types to the last field, or it is a ValueError
that names the place.  Knows no value in particular; docs/adr/0017 says why it is ours.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum, Flag
from functools import cache
from types import GenericAlias, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")

Reader = Callable[[Any], Any]
"""Makes a value of what JSON says, or raises _Refused."""

_WORD_CHARS_MAX = 60
"""How much of a refused value is quoted."""


class _Refused(ValueError):
    """What is wrong; on its way out each place it was found in comes before it."""

    def __init__(self, found: object, wanted: str) -> None:
        self.why = f"{repr(found)[:_WORD_CHARS_MAX]} is not {wanted}"
        self.path = ""

    def under(self, place: str | int) -> "_Refused":
        dot = "." if self.path and not self.path.startswith("[") else ""
        word = f"[{place}]" if isinstance(place, int) else place
        self.path = f"{word}{dot}{self.path}"
        return self

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: {self.why}"


def dumps(value: object) -> str:
    """A value as JSON, in ASCII, without blanks.

    A mapping has words as keys.  TypeError for what no type here can hold.
    """
    return json.dumps(value, default=_plain, separators=(",", ":"))


def loads(kind: type[T], text: str | bytes) -> T:
    """What dumps() made of a value of this type.  ValueError for anything else."""
    read: Callable[[Any], T] = _reader(cast(Any, kind))
    try:
        return read(json.loads(text, object_pairs_hook=_each_once))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _plain(value: object) -> object:
    """One level of a value, as json's own encoder takes it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    names = _names(cast(Any, type(value)))
    return {name: getattr(value, name) for name in names}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} has no form in JSON")
    return tuple(each.name for each in fields(kind))


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


# ---- readers -----------------------------------------------------------------------


@cache
def _reader(kind: Any) -> Reader:
    origin = get_origin(kind)
    if origin is not None:
        return _ORIGINS[origin](kind)
    if is_dataclass(kind):
        return _dataclass(kind)
    return _enumeration(kind) if issubclass(kind, Enum) else _scalar(kind)


def _scalar(kind: type) -> Reader:
    def read(found: Any) -> Any:
        if type(found) is not kind:  # a bool is no int
            raise _Refused(found, f"of type {kind.__name__}")
        return found

    return read


def _enumeration(kind: type[Enum]) -> Reader:
    types = {type(each.value) for each in kind}
    known: dict[object, Enum] = {each.value: each for each in kind}
    closed = "_missing_" not in vars(kind)
    if issubclass(kind, Flag):  # any of them together
        known = {bits: kind(bits) for bits in range((~kind(0)).value + 1)}

    def read(found: Any) -> Any:
        if type(found) not in types or (closed and found not in known):
            raise _Refused(found, f"of {kind.__name__}")
        return known[found] if found in known else kind(found)

    return read


def _dataclass(kind: Any) -> Reader:
    hints = get_type_hints(kind, include_extras=True)
    readers = {name: _reader(hints[name]) for name in _names(kind)}
    required = {
        each.name
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    }

    def read(found: Any) -> Any:
        if type(found) is not dict:
            raise _Refused(found, f"an object ({kind.__name__})")
        if not required <= found.keys() <= readers.keys():
            wrong = (found.keys() - readers.keys()) | (required - found.keys())
            raise _Refused(min(wrong), f"a key of {kind.__name__}, or is missing")
        values = {}
        for name, value in found.items():
            values[name] = _inside(name, readers[name], value)
        return kind(**values)

    return read


def _inside(place: str | int, reader: Reader, found: object) -> Any:
    try:
        return reader(found)
    except _Refused as error:
        raise error.under(place) from None


def _annotated(kind: Any) -> Reader:
    inner, *bounds = get_args(kind)
    read_inner, (bound,) = _reader(inner), bounds
    if not isinstance(bound, range):
        return _asked(read_inner, bound)
    words = f"{bound.start} ... {bound.stop - 1}"

    def read(found: Any) -> Any:
        if type(found) is int:
            if found not in bound:
                raise _Refused(found, f"in {words}")
        # Before what is in it is looked at, for there may be much.
        elif type(found) in {list, str, dict} and len(found) not in bound:
            raise _Refused(found, f"of length {words}")
        return read_inner(found)

    return read


def _asked(read_inner: Reader, predicate: Callable[[Any], bool]) -> Reader:
    def read(found: Any) -> Any:
        value = read_inner(found)
        if not predicate(value):
            raise _Refused(found, f"what {predicate.__name__}() takes")
        return value

    return read


def _union(kind: Any) -> Reader:
    kinds = get_args(kind)
    readers = [_reader(each) for each in kinds if each is not NoneType]
    optional = len(readers) < len(kinds)

    def read(found: Any) -> Any:
        if found is None and optional:
            return None
        for reader in readers[:-1]:
            try:
                return reader(found)
            except _Refused:
                pass
        return readers[-1](found)

    return read


def _tuple(kind: Any) -> Reader:
    kinds = get_args(kind)
    any_length = len(kinds) == 2 and kinds[1] is ...
    readers = [_reader(each) for each in kinds if each is not ...]

    def read(found: Any) -> Any:
        if type(found) is not list:
            raise _Refused(found, "an array")
        wanted = readers * len(found) if any_length else readers
        if len(wanted) != len(found):
            raise _Refused(found, f"an array of {len(wanted)}")
        pairs = zip(wanted, found, strict=True)
        return tuple(
            [_inside(n, reader, each) for n, (reader, each) in enumerate(pairs)]
        )

    return read


def _set(kind: Any) -> Reader:
    (each,) = get_args(kind)
    read_tuple = _tuple(GenericAlias(tuple, (each, ...)))

    def read(found: Any) -> Any:
        value = frozenset(read_tuple(found))
        if len(value) != len(found):
            raise _Refused(found, "a set: it has something twice")
        return value

    return read


def _mapping(kind: Any) -> Reader:
    read_key, read_value = map(_reader, get_args(kind))

    def read(found: Any) -> Any:
        if type(found) is not dict:
            raise _Refused(found, "an object")
        return {
            _inside(key, read_key, key): _inside(key, read_value, value)
            for key, value in found.items()
        }

    return read


_ORIGINS: Mapping[Any, Callable[[Any], Reader]] = {
    Annotated: _annotated,
    Union: _union,
    UnionType: _union,
    tuple: _tuple,
    frozenset: _set,
    Mapping: _mapping,
}
