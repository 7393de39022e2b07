"""One check for every argument: numbers of any kind come out as Python's own, the rest is refused by its name."""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
import torch

from unnoise import limits
from unnoise.errors import InputError

SEVENS = (7, np.int64(7), np.uint8(7), torch.tensor(7), np.array(7))
NO_NUMBERS = (
    None,
    True,
    "7",
    b"7",
    [7],
    (),
    {},
    7j,
    np.bool_(True),
    torch.tensor(True),
    torch.ones(2),
    object,
)


@pytest.mark.parametrize("value", SEVENS, ids=repr)
def test_whole_numbers_of_any_kind_are_pythons(value):
    assert type(limits.whole("n", value, 1, 10)) is int
    assert limits.whole("n", value, 7, 7) == 7


@pytest.mark.parametrize(
    "value", [*SEVENS, 7.0, np.float32(7), torch.tensor(7.0), Fraction(7), Decimal(7)], ids=repr
)
def test_numbers_of_any_kind_are_pythons_floats(value):
    assert type(limits.number("x", value)) is float
    assert limits.number("x", value, 7.0, 7.0) == 7.0


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(InputError, match=r"^n is "):
        limits.whole("n", value, 1)
    with pytest.raises(InputError, match=r"^x is "):
        limits.number("x", value)


def test_a_refusal_says_the_limits_and_an_example():
    for refused, said in (
        (lambda: limits.whole("n", 0, 1, 4096, 64), "n is 0; give a whole number from 1 to 4,096, for example 64."),
        (lambda: limits.whole("n", 2.0, 1), "n is 2.0; give a whole number of at least 1."),
        (lambda: limits.number("x", math.inf, 0), "x is inf; give a number of at least 0."),
        (lambda: limits.number("x", 0, 0, strict=True), "x is 0; give a positive number."),
        (lambda: limits.number("x", 1, 0, 1, strict=True), "x is 1; give a number between 0 and 1."),
        (lambda: limits.number("x", 10**400, 0, 1), f"x is 1{'0' * 76}...; give a number from 0 to 1."),
        (lambda: limits.choice("w", "c", ("a", "b")), "w is 'c'; give one of a, b."),
        (lambda: limits.choice("w", [], ("a", "b")), "w is []; give one of a, b."),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == said


@dataclass(frozen=True)
class Part:
    ratio: limits.Positive = 2.0
    end: limits.Positive | None = None
    top: float = math.inf
    times: tuple[float, ...] = ()
    how: Literal["up", "down"] = "up"
    again: bool = False

    def __post_init__(self) -> None:
        limits.as_declared(self)


def test_a_part_holds_what_it_declares():
    part = Part(np.float32(2), torch.tensor(3), math.inf, np.array([2, 1]), "up", np.bool_(False))
    assert part == Part(2.0, 3.0, math.inf, (2.0, 1.0), "up", False)
    assert hash(part) == hash(Part(2, 3, times=[2, 1]))
    assert [type(each) for each in (part.ratio, part.end, *part.times, part.again)] == [float] * 4 + [bool]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ratio": 0.0}, "ratio is 0.0; give a positive number, for example 2."),
        ({"ratio": None}, "ratio is None; give a positive number, for example 2."),
        ({"end": math.nan}, "end is nan; give a positive number."),
        ({"top": "high"}, "top is 'high'; give a number, for example 0.5."),
        ({"times": 3}, "times is 3; give a list, for example 64,128."),
        ({"times": "321"}, "times is '321'; give a list, for example 64,128."),
        ({"times": (1.0, math.nan)}, "times is nan; give a number, for example 0.5."),
        ({"how": "sideways"}, "how is 'sideways'; give one of up, down."),
        ({"again": 1}, "again is 1; give true or false."),
    ],
)
def test_a_part_refuses_the_rest_when_it_is_made(given, said):
    with pytest.raises(InputError) as caught:
        Part(**given)
    assert str(caught.value) == said
