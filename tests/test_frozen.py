# SPDX-License-Identifier: BSD-2-Clause
"""lagg.frozen makes what dataclasses makes: each claim is held against both."""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import (
    MISSING,
    FrozenInstanceError,
    field,
    fields,
    is_dataclass,
    replace,
)
from enum import Enum
from types import FunctionType, NoneType
from typing import Any, ClassVar, Generic, TypeVar

import pytest

import lagg.frozen
from lagg.frozen import _refuse_to_set as REFUSES
from pictures.rooms import modules

T = TypeVar("T")

MAKERS = (dataclasses, lagg.frozen)


def values(maker: Any) -> dict[str, Any]:  # noqa: ANN401
    """A class of each shape that there is, by name."""

    @maker.dataclass(frozen=True, slots=True)
    class Nothing:
        """No field."""

    @maker.dataclass(frozen=True, slots=True)
    class One:
        """A field."""

        only: float

    @maker.dataclass(frozen=True, slots=True)
    class Many(Generic[T]):
        """Fields of each kind, and what is none."""

        first: T
        self_made: list[int] = field(default_factory=list)
        text: str = "default"
        uncounted: int = field(default=7, compare=False)
        unsaid: int = field(default=8, repr=False)
        LIMIT: ClassVar[int] = 3

        @property
        def twice(self) -> str:
            return self.text * 2

    @maker.dataclass(frozen=True, slots=True)
    class Named:
        """Says itself what it is, and when two are one."""

        name: str

        def __repr__(self) -> str:
            return f"<{self.name}>"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named) and self.name[0] == other.name[0]

        def __hash__(self) -> int:
            return hash(self.name[0])

    @maker.dataclass(frozen=True, slots=True, order=True)
    class Ordered:
        """Has an order."""

        rank: int

    kinds = Nothing, One, Many, Named, Ordered
    return {kind.__name__: kind for kind in kinds}


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def kinds(request: pytest.FixtureRequest) -> dict[str, Any]:
    return values(request.param)


def test_a_value_has_its_fields_by_position_keyword_and_default(
    kinds: dict[str, Any],
) -> None:
    value = kinds["Many"](1, text="x")
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    assert found == {
        "first": 1, "self_made": [], "text": "x", "uncounted": 7, "unsaid": 8,
    }  # fmt: skip
    assert value.twice == "xx"
    assert kinds["Many"].LIMIT == 3
    assert kinds["Many"](1).self_made is not kinds["Many"](1).self_made
    assert not hasattr(value, "__dict__")
    assert kinds["Nothing"]() == kinds["Nothing"]()
    assert kinds["One"].__doc__ == "A field."


@pytest.mark.parametrize(
    ("arguments", "names"),
    [((), {}), ((1, 2, 3, 4, 5, 6), {}), ((1,), {"first": 1}), ((1,), {"other": 1})],
    ids=["none", "too many", "twice", "unknown"],
)
def test_wrong_arguments_are_refused_in_the_same_words(
    arguments: tuple[int, ...], names: dict[str, int]
) -> None:
    said = set()
    for maker in MAKERS:
        with pytest.raises(TypeError) as refused:
            values(maker)["Many"](*arguments, **names)
        said.add(str(refused.value))
    assert len(said) == 1


def test_nothing_is_set_or_deleted(kinds: dict[str, Any]) -> None:
    for value in (kinds["Many"](1), kinds["One"](1), kinds["Named"]("a")):
        for name in (fields(value)[0].name, "stranger", "LIMIT"):
            with pytest.raises((FrozenInstanceError, TypeError)):
                setattr(value, name, 2)
            with pytest.raises((FrozenInstanceError, TypeError)):
                delattr(value, name)
        assert getattr(value, fields(value)[0].name) in {1, "a"}


def test_equal_are_those_of_one_class_whose_counted_fields_are(
    kinds: dict[str, Any],
) -> None:
    many, one = kinds["Many"], kinds["One"]
    assert many(1, uncounted=1) == many(1, uncounted=2)
    assert many(1) != many(2)
    assert many(1, text="x") != many(1)
    assert many(1) != (1, [], "default", 8)
    assert one(1) != kinds["Ordered"](1)
    assert one(1) == one(1.0)
    nan = float("nan")
    assert one(nan) == one(nan)  # as a tuple with it: one object is itself
    assert kinds["Named"]("ab") == kinds["Named"]("ac")


def test_the_hash_is_that_of_what_is_counted(kinds: dict[str, Any]) -> None:
    many = kinds["Many"]
    assert hash(many(1, (), uncounted=1)) == hash(many(1, (), uncounted=2))
    assert hash(many(1, (), "x", 0, 9)) == hash((1, (), "x", 9))
    assert hash(kinds["One"](5)) == hash((5,))
    assert hash(kinds["Nothing"]()) == hash(())
    assert {kinds["Named"]("ab"), kinds["Named"]("ac")} == {kinds["Named"]("a")}
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        hash(many(1))


def test_it_says_what_it_is(kinds: dict[str, Any]) -> None:
    said = repr(kinds["Many"]("a")).rpartition("<locals>.")[2]
    assert said == "Many(first='a', self_made=[], text='default', uncounted=7)"
    assert repr(kinds["Nothing"]()).endswith("Nothing()")
    assert repr(kinds["Named"]("a")) == "<a>"


def test_another_is_made_of_it_and_it_is_matched(kinds: dict[str, Any]) -> None:
    many = kinds["Many"]
    assert replace(many(1, text="x"), first=2) == many(2, text="x")
    with pytest.raises(TypeError):
        replace(many(1), stranger=2)
    match many(1, text="x"):
        case many(first, made, text):
            assert (first, made, text) == (1, [], "x")
        case _:
            pytest.fail("it is matched by its positions")
    assert kinds["Ordered"](1) < kinds["Ordered"](2)


def test_a_copy_is_another_and_equal(kinds: dict[str, Any]) -> None:
    value = kinds["Many"](1, [2], "x", 3, 4)
    shallow, deep = copy(value), deepcopy(value)
    for found in (shallow, deep):
        assert found == value
        assert found is not value
        assert (found.uncounted, found.unsaid) == (3, 4)
    assert shallow.self_made is value.self_made
    assert deep.self_made is not value.self_made


def test_what_it_cannot_make_is_refused_when_the_class_is_made() -> None:
    def kept_out() -> None:
        @lagg.frozen.dataclass(frozen=True, slots=True)
        class Late:
            later: int = field(init=False, default=0)

    def by_keyword() -> None:
        @lagg.frozen.dataclass(frozen=True, slots=True)
        class Keyword:
            word: int = field(kw_only=True)

    def with_a_step() -> None:
        @lagg.frozen.dataclass(frozen=True, slots=True)
        class Step:
            word: int

            def __post_init__(self) -> None:
                raise AssertionError

    makers: Mapping[str, Callable[[], None]] = {
        "Late.later": kept_out, "Keyword.word": by_keyword, "Step.word": with_a_step,
    }  # fmt: skip
    for name, make in makers.items():
        with pytest.raises(TypeError, match=rf"{name}: not with lagg.frozen"):
            make()


# ---- what linters know of dataclasses and not of this -------------------------------


def values_of_laggd() -> Iterator[tuple[str, Any]]:
    """All frozen dataclasses with slots of lagg/, with where they are."""
    for name in set(modules()) - {"__main__", "frozen"}:
        module = importlib.import_module(f"lagg.{name}".rstrip("."))
        for word, kind in vars(module).items():
            ours = isinstance(kind, type) and kind.__module__ == module.__name__
            if (
                ours
                and is_dataclass(kind)
                and "__slots__" in vars(kind)
                and _frozen(kind)
            ):
                yield f"{name}.{word}", kind


def _frozen(kind: Any) -> bool:  # noqa: ANN401
    return kind.__setattr__ is not object.__setattr__


def test_every_value_of_laggd_without_an_order_is_made_cheaply() -> None:
    found = dict(values_of_laggd())
    cheap = {p for p, kind in found.items() if kind.__setattr__ is REFUSES}
    assert len(cheap) > 100
    assert [p for p in found.keys() - cheap if "__lt__" not in vars(found[p])] == []


def test_a_default_that_all_values_of_a_class_share_never_changes() -> None:
    constants = bool, int, float, str, bytes, tuple, frozenset, NoneType, Enum
    assert [
        f"{place}.{each.name}"
        for place, kind in values_of_laggd()
        for each in fields(kind)
        if each.default is not MISSING
        and not isinstance(each.default, (*constants, FunctionType))
        and not _frozen(type(each.default))
    ] == []
