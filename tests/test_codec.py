# SPDX-License-Identifier: BSD-2-Clause
"""Values as JSON and back, and what is refused on the way back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import Annotated

import pytest

from lagg.codec import dumps, loads


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Bits(IntFlag):
    ONE = 1
    FOUR = 4


def even(number: int) -> bool:
    return number % 2 == 0


NONE = Bits(0)


@dataclass(frozen=True, slots=True)
class Inner:
    small: Annotated[int, range(1, 9)]
    big: Annotated[int, even] = 0


@dataclass(frozen=True, slots=True)
class Outer:
    inners: Annotated[tuple[Inner, ...], range(3)] = ()
    pair: tuple[int, str] = (0, "")
    colours: frozenset[Colour] = frozenset()
    bits: Bits = NONE
    maybe: Inner | None = None
    fact: bool | int | Annotated[str, range(4)] = False
    named: Mapping[str, Inner] = field(default_factory=dict)


FULL = Outer(
    inners=(Inner(1), Inner(8, big=4)),
    pair=(-5, 'a "word"\udcff'),
    colours=frozenset({Colour.RED}),
    bits=Bits.ONE | Bits.FOUR,
    maybe=Inner(2),
    fact="yes",
    named={"eth0": Inner(3)},
)


@pytest.mark.parametrize("value", [Outer(), FULL])
def test_a_value_comes_back_as_it_went(value: Outer) -> None:
    assert loads(Outer, dumps(value)) == value


def test_what_is_not_there_has_its_default() -> None:
    assert loads(Outer, '{"pair":[1,"a"]}') == Outer(pair=(1, "a"))


REFUSED = {
    '{"inners":[{"small":1},{"small":9}]}': "inners[1].small: 9 is not in 1 ... 8",
    '{"inners":[{"small":true}]}': "inners[0].small: True is not of type int",
    '{"inners":[{"small":1.0}]}': "inners[0].small: 1.0 is not of type int",
    '{"inners":[{"small":1,"big":3}]}': "inners[0].big: 3 is not what even() takes",
    '{"inners":[{}]}': "inners[0]: 'small' is not a key of Inner, or is missing",
    '{"inners":[1,2,3]}': "inners: [1, 2, 3] is not of length 0 ... 2",
    '{"inners":{}}': "inners: {} is not an array",
    '{"pair":[1]}': "pair: [1] is not an array of 2",
    '{"pair":[1,2]}': "pair[1]: 2 is not of type str",
    '{"colours":["red","red"]}': "colours: ['red', 'red'] is not a set",
    '{"colours":["green"]}': "colours[0]: 'green' is not of Colour",
    '{"colours":[[]]}': "colours[0]: [] is not of Colour",
    '{"bits":8}': "bits: 8 is not of Bits",
    '{"bits":true}': "bits: True is not of Bits",
    '{"maybe":0}': "maybe: 0 is not an object (Inner)",
    '{"fact":"long enough"}': "fact: 'long enough' is not of length 0 ... 3",
    '{"fact":null}': "fact: None is not of type str",
    '{"named":[]}': "named: [] is not an object",
    '{"named":{"eth0":{"small":0}}}': "named.eth0.small: 0 is not in 1 ... 8",
    '{"other":1}': "the value: 'other' is not a key of Outer, or is missing",
    '{"bits":1,"bits":1}': "an object has a key twice",
    '{"bits":NaN}': "bits: nan is not of Bits",
    "[" * 100_000: "nested too deeply",
    "": "Expecting value",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_does_not_fit_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED[text])}"):
        loads(Outer, text)


def test_what_has_no_form_in_json_is_not_written() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        dumps(object())
