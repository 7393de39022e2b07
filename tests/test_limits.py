"""One check for every argument: numbers of any kind come out as Python's own, the rest is refused by its name."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

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
    *(np.float32, np.ndarray, torch.Tensor),
    *(torch.tensor(1.0, device="meta"), torch.eye(2).to_sparse(), np.zeros((1, 2), "i4,i4")),
    *(np.broadcast_to(np.float32(1), 10**12), torch.ones(1).expand(10**12)),
    Decimal("sNaN"),
    10**5000,
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


@pytest.mark.parametrize("value", NO_NUMBERS, ids=limits.shown)
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
        (lambda: limits.number("x", 0, 0, without="low"), "x is 0; give a number above 0."),
        (lambda: limits.number("x", 1, 0, 1, without="both"), "x is 1; give a number between 0 and 1."),
        (lambda: limits.number("x", 1, 0, 1, without="high"), "x is 1; give a number of at least 0 and below 1."),
        (lambda: limits.number("x", 2, 0, 1, without="low"), "x is 2; give a number above 0, up to 1."),
        (lambda: limits.number("x", 10**5000), "x is <int that cannot be shown>; give a number."),
        (lambda: limits.number("x", 10**400, 0, 1), f"x is 1{'0' * 76}...; give a number from 0 to 1."),
        (lambda: limits.choice("w", "c", ("a", "b")), "w is 'c'; give one of a, b."),
        (lambda: limits.choice("w", [], ("a", "b")), "w is []; give one of a, b."),
        (lambda: limits.choice("w", np.arange(2), ("a", "b")), "w is array([0, 1]); give one of a, b."),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == said


@dataclass(frozen=True)
class Part(limits.Declared):
    ratio: limits.Positive = 2.0
    end: limits.Positive | None = None
    top: float = math.inf
    times: tuple[float, ...] = ()
    how: Literal["up", "down"] = "up"
    again: bool = False


def test_a_part_holds_what_it_declares():
    part = Part(np.float32(2), torch.tensor(3), math.inf, np.array([2, 1]), "up", np.bool_(False))
    assert part == Part(2.0, 3.0, math.inf, (2.0, 1.0), "up", False)
    assert hash(part) == hash(Part(2, 3, times=[2, 1]))
    assert [type(each) for each in (part.ratio, part.end, *part.times, part.again)] == [float] * 4 + [bool]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ratio": 0.0}, "ratio is 0.0; give a number above 0, for example 2."),
        ({"ratio": None}, "ratio is None; give a number above 0, for example 2."),
        ({"end": math.nan}, "end is nan; give a number above 0."),
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


@pytest.mark.parametrize("largest", [math.nextafter(1.0, 0.0), 0.99995])
def test_below_one_means_every_number_below_one(largest):
    assert limits.typed("x", largest, limits.BelowOne) == largest


def test_a_choice_is_the_word_itself():
    assert type(limits.choice("w", np.str_("a"), ("a", "b"))) is str


COUNTS = limits.Count | tuple[limits.Count, ...]
KINDS = [
    (7, COUNTS, 7),
    ([7, np.int64(2)], COUNTS, (7, 2)),
    (torch.tensor(7), float | torch.Tensor, torch.tensor(7)),
    (np.float64(7.0), float | torch.Tensor, 7.0),
    (["a", np.int64(1)], tuple[str, int], ("a", 1)),
    ([["a", 1]], tuple[tuple[str, int], ...], (("a", 1),)),
    ("lora.safetensors", str | Path, "lora.safetensors"),
    ({"mid": 1.0}, Mapping[str, float] | Sequence[float], {"mid": 1.0}),
    ([1.0], Mapping[str, float] | Sequence[float], (1.0,)),
    (math.sqrt, Callable[[float], float] | None, math.sqrt),
    (None, Callable[[float], float] | None, None),
    ("anything", Any, "anything"),
]


@pytest.mark.parametrize(("value", "kind", "typed"), KINDS, ids=lambda each: limits.shown(each)[:40])
def test_a_value_of_one_of_several_kinds_is_kept_as_that_one(value, kind, typed):
    found = limits.typed("x", value, kind)
    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("7", COUNTS, "give a whole number of at least 1 or a list."),
        (0, COUNTS, "give a whole number of at least 1."),
        ("7", float | torch.Tensor, "give a number or a Tensor."),
        ((7,), tuple[str, int], "give a list of 2."),
        (7, Mapping[str, float] | Sequence[float], "give a table of settings or a list."),
        (7, Callable[[float], float] | None, "give a function."),
        (np.float32, np.ndarray, "give a ndarray."),
    ],
)  # fmt: skip
def test_a_value_of_none_of_several_kinds_is_refused_with_all_of_them(value, kind, said):
    with pytest.raises(InputError) as caught:
        limits.typed("x", value, kind)
    assert str(caught.value) == f"x is {value!r}; {said}"


def test_one_of_a_thing_is_told_as_one():
    assert [limits.counted(number, "step") for number in (0, 1, 2, 1000)] == [
        "0 steps",
        "1 step",
        "2 steps",
        "1,000 steps",
    ]
