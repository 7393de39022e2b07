"""Arguments of the right kind and within their limits, or a sentence that says which these are.

NumPy's and torch's numbers are numbers as Python's are; what the checks return is always Python's own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import fields
from decimal import Decimal
from functools import cache
from numbers import Integral, Real
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from unnoise.errors import InputError

Positive = Annotated[float, (0.0, math.inf, True)]
"""A field of a dataclass that `as_declared` makes is finite and above 0; the others likewise."""
Finite = Annotated[float, (-math.inf, math.inf)]
Amount = Annotated[float, (0.0, math.inf)]
Share = Annotated[float, (0.0, 1.0)]
Between = Annotated[float, (0.0, 1.0, True)]
Count = Annotated[int, (1, math.inf)]

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_WORDS |= {tuple: "a list, for example 64,128", dict: "a table of settings"}


def is_whole(value: object, low: float = 1, high: float = math.inf) -> bool:
    """Whether it is a whole number from `low` to `high`; true and false are none."""
    found = _plain(value)
    return isinstance(found, Integral) and not isinstance(found, bool) and low <= int(found) <= high


def whole(name: str, value: Any, low: int, high: float = math.inf, example: object = None) -> int:  # noqa: ANN401
    """`value` when it is a whole number from `low` to `high`; else InputError."""
    if not is_whole(value, low, high):
        raise _refused(name, value, "a whole number" + _limits(low, high, ","), example)
    return int(value)


def as_number(value: object) -> float | None:
    """`value` as a float, infinite ones among them; None where it is no number, nan or too large for one."""
    found = _plain(value)
    if isinstance(found, bool) or not isinstance(found, Real | Decimal):
        return None
    try:
        return None if math.isnan(found) else float(found)
    except OverflowError:
        return None


def number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    example: object = None,
    unit: str = "a number",
    strict: bool = False,
) -> float:
    """`value` when it is a finite number from `low` to `high`; else InputError.

    unit: what is to be given. strict: the limits themselves are refused.
    """
    found = as_number(value)
    if found is None or math.isinf(found) or not low <= found <= high or (strict and found in (low, high)):
        told = unit + _limits(low, high, "g")
        if strict:
            told = f"{unit} between {low:g} and {high:g}" if math.isfinite(high) else "a positive number"
        raise _refused(name, value, told, example)
    return found


def choice(name: str, value: object, known: Collection[object], more: str = "") -> None:
    """Raises InputError for what is none of the words known. more: what else may be done."""
    if not any(value == word for word in known):
        raise InputError(f"{name} is {_shown(value)}; give one of {', '.join(map(str, known))}{more}.")


def typed(name: str, value: Any, kind: Any, example: object = None) -> Any:  # noqa: ANN401 - any type's value
    """`value` as a type's own: a number in Python's kind, a list as a tuple, None where it may be; else InputError.

    kind: a class, `X | None`, `tuple[X, ...]`, a Literal, or one of the numbers with limits above.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if type(None) in inner:
        return None if value is None else typed(name, value, inner[0], example)
    if origin is Annotated:
        low, high, *strict = inner[1]
        if inner[0] is int:
            return whole(name, value, low, high, example)
        return number(name, value, low, high, example, strict=bool(strict))
    if origin is Literal:
        choice(name, value, inner)
    elif (
        origin is tuple
        and isinstance(found := _plain(value), Sequence)
        and not isinstance(found, str | bytes)
    ):
        return tuple(typed(name, each, inner[0]) for each in found)
    elif isinstance(plain := origin or kind, type) and plain is not Any:
        return _of_class(name, value, plain, example)
    return value


def as_declared(part: object, prefix: str = "") -> None:
    """Make each field of a frozen dataclass `typed` as it is declared, as its hash and its equality need it.

    prefix: stands before the fields' names in what is said.
    """
    made: Any = type(part)
    for name, kind, usual in _declared(made):
        object.__setattr__(part, name, typed(prefix + name, getattr(part, name), kind, usual))


@cache
def _declared(kind: Any) -> list[tuple[str, Any, float | None]]:  # noqa: ANN401
    """Name, type and, where that is a number and one to learn from, default of each field."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError:  # a class made inside a function, with others that are known there only
        return []
    usual = {each.name: as_number(each.default) for each in fields(kind)}
    return [(name, hints[name], None if value in (0.0, math.inf) else value) for name, value in usual.items()]


def _of_class(name: str, value: Any, kind: type, example: object) -> Any:  # noqa: ANN401
    found: Any = _plain(value) if kind in _WORDS else value
    if kind is str and isinstance(value, PurePath):
        found = str(value)
    if kind is float:
        found = as_number(found)
    fits = is_whole(found, -math.inf) if kind is int else isinstance(found, kind)
    if not fits:
        usual = {int: 10, float: 0.5}.get(kind)
        raise _refused(
            name, value, _WORDS.get(kind, f"a {kind.__name__}"), usual if example is None else example
        )
    return int(found) if kind is int else found


def _plain(value: Any) -> object:  # noqa: ANN401
    """Numbers and arrays of NumPy's and torch's, which are not imported for them, as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _limits(low: float, high: float, form: str) -> str:
    if math.isfinite(high):
        return f" from {low:{form}} to {high:{form}}"
    return f" of at least {low:{form}}" if math.isfinite(low) else ""


def _refused(name: str, value: object, wanted: str, example: object) -> InputError:
    plain = isinstance(example, int | float) and not isinstance(example, bool)
    usual = f"{example:g}" if plain else example
    return InputError(
        f"{name} is {_shown(value)}; give {wanted}{'' if usual is None else f', for example {usual}'}."
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
