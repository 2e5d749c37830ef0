# SPDX-License-Identifier: BSD-2-Clause
"""dataclasses.dataclass, at a quarter of its price for values that are frozen.

Before 3.13 dataclasses compiles six functions for a frozen class, one at a time, and
there are over a hundred of those: two fifths of laggd's start.  Here `__init__` alone
is a text of its own, for its parameters are the fields; equality and hash go by a tuple
of what counts for them, which `attrgetter` makes, and all classes share the rest.

Stands for dataclasses in all rooms, and imports nothing of ours.  Whoever checks types
sees dataclasses itself.  What is not frozen with slots, or has an order, is made by
that; fields(), replace(), copy and `match` work with both.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, FrozenInstanceError, fields
from dataclasses import dataclass as _generated
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(**asked: bool) -> Callable[[type], type]:
        """As that of dataclasses, with the same words."""
        value = asked == {"frozen": True, "slots": True}
        return _value if value else _generated(**asked)


def _value(kind: type) -> type:
    """The class with its slots, and what makes each of it a value."""
    made: Any = _generated(init=False, repr=False, eq=False, slots=True)(kind)
    made.__init__ = _initialiser(made)
    if "__eq__" not in vars(kind):
        made.__eq__, made.__hash__ = _comparison(made)
    if "__repr__" not in vars(kind):
        made.__repr__ = _repr
    made.__reduce__ = _reduce
    made.__setattr__, made.__delattr__ = _refuse_to_set, _refuse_to_delete
    return made  # type: ignore[no-any-return]


def _initialiser(kind: Any) -> Callable[..., None]:  # noqa: ANN401
    """`__init__`, by positions and keywords; TypeError for a field that it cannot."""
    parameters, lines = ["self"], ["pass"]
    known: dict[str, Any] = {"_MISSING": MISSING}
    for each in fields(kind):
        name = value = each.name
        if not each.init or each.kw_only or hasattr(kind, "__post_init__"):
            raise TypeError(f"{kind.__qualname__}.{name}: not with lagg.frozen")
        if each.default_factory is not MISSING:
            known[f"_make_{name}"] = each.default_factory
            parameters.append(f"{name}=_MISSING")
            value = f"_make_{name}() if {name} is _MISSING else {name}"
        elif each.default is not MISSING:
            known[f"_default_{name}"] = each.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        known[f"_put_{name}"] = getattr(kind, name).__set__  # the slot's, past all else
        lines.append(f"_put_{name}(self, {value})")
    exec(f"def made({', '.join(parameters)}):\n  " + "\n  ".join(lines), known)
    made: Callable[..., None] = known["made"]
    made.__name__, made.__qualname__ = "__init__", f"{kind.__qualname__}.__init__"
    made.__annotations__ = {each.name: each.type for each in fields(kind)}
    return made


def _comparison(kind: Any) -> tuple[Callable[..., Any], ...]:  # noqa: ANN401
    """`__eq__`, true for the same class alone, and the hash that belongs to it."""
    names = [each.name for each in fields(kind) if each.compare]
    of = attrgetter(*names) if len(names) > 1 else _of_few(names)

    def equal(self: object, other: object) -> object:
        if type(self) is not type(other):
            return NotImplemented
        return of(self) == of(other)

    return equal, lambda self: hash(of(self))


def _of_few(names: Sequence[str]) -> Callable[[object], tuple[Any, ...]]:
    """A tuple, as an attrgetter of more names than one makes it."""
    return lambda value: tuple(getattr(value, name) for name in names)


def _repr(self: Any) -> str:  # noqa: ANN401
    said = (f"{e.name}={getattr(self, e.name)!r}" for e in fields(self) if e.repr)
    return f"{type(self).__qualname__}({', '.join(said)})"


def _reduce(self: Any) -> tuple[type, tuple[Any, ...]]:  # noqa: ANN401
    """How copy makes another one: by its fields, for none can be set later."""
    return type(self), tuple(getattr(self, each.name) for each in fields(self))


def _refuse_to_set(self: object, name: str, _: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
