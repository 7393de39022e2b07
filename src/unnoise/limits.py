"""Arguments of the right kind and within their limits, or a sentence that says which these are.

NumPy's and torch's numbers are numbers as Python's are; what the checks return is always Python's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from functools import cache
from numbers import Integral, Real
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from unnoise.errors import InputError

Word = TypeVar("Word")
Without = Literal["", "low", "high", "both"]
"""Which of its own limits a number may not be."""

Positive = Annotated[float, (0.0, math.inf, "low")]
"""A field of a dataclass that `as_declared` makes is finite and above 0; the others likewise."""
Finite = Annotated[float, (-math.inf, math.inf)]
Amount = Annotated[float, (0.0, math.inf)]
Share = Annotated[float, (0.0, 1.0)]
ShareAbove = Annotated[float, (0.0, 1.0, "low")]
Between = Annotated[float, (0.0, 1.0, "both")]
BelowOne = Annotated[float, (0.0, 1.0, "high")]
Count = Annotated[int, (1, math.inf)]
Steps = Annotated[int, (1, 1_000_000)]
Bound = Annotated[int, (0, math.inf)]

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_WORDS |= dict.fromkeys((tuple, Sequence), "a list") | dict.fromkeys((dict, Mapping), "a table of settings")
_WORDS |= {Callable: "a function"}
_LARGEST = 10**4300  # Python writes no longer ones
_LONGEST = 2**16  # numbers of an array that are read as a list: an argument, not data


def is_whole(value: object, low: float = 1, high: float = math.inf) -> bool:
    """Whether it is a whole number from `low` to `high` that Python can write; true and false are none."""
    found = _plain(value)
    if isinstance(found, bool) or not isinstance(found, Integral):
        return False
    return low <= int(found) <= high and abs(int(found)) < _LARGEST


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
    except (OverflowError, ValueError):  # ValueError: of Decimal's signalling nan
        return None


def number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    example: object = None,
    unit: str = "a number",
    without: Without = "",
) -> float:
    """`value` when it is a finite number from `low` to `high`; else InputError.

    unit: what is to be given. without: the limits that are themselves refused.
    """
    found = as_number(value)
    if found is None or math.isinf(found) or not low <= found <= high or found in _ends(low, high, without):
        raise _refused(name, value, unit + _limits(low, high, "g", without), example)
    return found


def choice(name: str, value: object, known: Collection[Word], more: str = "") -> Word:
    """The one of the words known that `value` is; else InputError. more: what else may be done."""
    for word in known:
        if isinstance(value, type(word)) and value == word:
            return word
    raise InputError(f"{name} is {shown(value)}; give one of {', '.join(map(str, known))}{more}.")


def typed(name: str, value: Any, kind: Any, example: object = None) -> Any:  # noqa: ANN401 - any type's value
    """`value` as a type's own: a number in Python's kind, a list as a tuple, None where it may be; else InputError.

    kind: a class, a union of kinds, a tuple of one kind or of one each, a Literal, or a number with limits as above.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(name, value, inner, example)
    if origin is Annotated:
        base, (low, high, *without), *unit = inner
        if base is int:
            return whole(name, value, low, high, example)
        return number(name, value, low, high, example, *(unit or [_WORDS[float]]), *without)
    if origin is Literal:
        return choice(name, value, inner)
    if origin in (tuple, Sequence):
        return _listed(name, value, inner if origin is tuple else (*inner, ...), example)
    if origin in (dict, Mapping):
        table = _of_class(name, value, origin, example)
        return {typed(name, key, inner[0]): typed(name, each, inner[1]) for key, each in table.items()}
    return value if kind is Any else _of_class(name, value, origin or kind, example)


def floats(name: str, value: Any, shape: Sequence[int] | None = None, dims: int = 1) -> None:  # noqa: ANN401
    """Refuse what is no tensor of floating numbers, or of another shape, or of fewer dimensions than `dims`."""
    import torch  # names asked of a module that is there, for this stands in loops

    if isinstance(value, torch.Tensor):
        plain = value.is_floating_point() and value.layout is torch.strided
        if plain and (value.shape == shape or (shape is None and value.dim() >= dims)):
            return
        size = f"of shape {list(value.shape)}"
        found = size if plain else f"{value.dtype if value.layout is torch.strided else value.layout} {size}"
        mend = "" if plain else ", as x.float() makes"
    else:
        found, mend = shown(value), ", such as torch.randn makes"
    wanted = "(batch, ...)" if shape is None else f"of shape {list(shape)}"
    raise InputError(f"{name} is {found}; give a Tensor {wanted} of floats{mend}.")


def as_declared(part: object, prefix: str = "") -> None:
    """Make each field of a frozen dataclass `typed` as it is declared, as its hash and its equality need it.

    prefix: stands before the fields' names in what is said.
    """
    made: Any = type(part)
    for name, kind, usual in _declared(made):
        object.__setattr__(part, name, typed(prefix + name, getattr(part, name), kind, usual))


class Declared:
    """What a frozen dataclass is made from that has its fields `as_declared`.

    example: how one is written, for what is said to those who give something else.
    """

    example: ClassVar[str] = ""

    def __post_init__(self) -> None:
        as_declared(self)


def shown(value: object) -> str:
    """`value` for a message: as Python writes it, on one line of 80 signs at most."""
    try:
        text = " ".join(repr(value).split("\n"))  # of a matrix there are several lines
    except Exception:
        text = f"<{type(value).__name__} that cannot be shown>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def counted(number: int, name: str) -> str:
    """How many things, in words: `1 step`, `1,000 steps`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


@cache
def _declared(kind: Any) -> list[tuple[str, Any, object]]:  # noqa: ANN401
    """Name, type and, where there is one to learn from, default of each field."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError:  # a class made inside a function, with others that are known there only
        return []
    return [(each.name, hints[each.name], _example(each.default)) for each in fields(kind)]


def _example(usual: object) -> object:
    """A default as an example: a list's with commas, a number other than 0 as it is, nothing else."""
    if isinstance(usual, tuple) and usual:
        return ",".join(map(str, usual))
    found = as_number(usual)
    return None if found in (0.0, math.inf) else found


def _one_of(name: str, value: Any, kinds: tuple[Any, ...], example: object) -> Any:  # noqa: ANN401
    """`value` as the kind that it is already, else as the first that takes it."""
    if value is None and type(None) in kinds:
        return None
    some = [kind for kind in kinds if kind is not type(None)]
    for kind in some:
        if len(some) == 1 or isinstance(value, _class(kind)):
            return typed(name, value, kind, example)
    for kind in some:
        with suppress(InputError):
            return typed(name, value, kind, example)
    raise _refused(name, value, " or ".join(map(_called, some)), example)


def _listed(name: str, value: Any, kinds: tuple[Any, ...], example: object) -> tuple[Any, ...]:  # noqa: ANN401
    """`value` as a tuple: of the first kind where `...` follows it, else of as many as there are kinds."""
    found = _plain(value)
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise _refused(name, value, _WORDS[tuple], example or "64,128")
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(found)
    if len(found) != len(kinds):
        raise _refused(name, value, f"a list of {len(kinds)}", example)
    return tuple(typed(name, each, kind) for each, kind in zip(found, kinds, strict=True))


def _of_class(name: str, value: Any, kind: type, example: object) -> Any:  # noqa: ANN401
    found: Any = _plain(value) if kind in _WORDS else value
    if kind is str and isinstance(value, PurePath):
        found = str(value)
    if kind is float:
        found = as_number(found)
    fits = is_whole(found, -math.inf) if kind is int else isinstance(found, kind)
    if not fits:
        usual = {int: 10, float: 0.5}.get(kind)
        raise _refused(name, value, _called(kind), usual if example is None else example)
    return int(found) if kind is int else found


def _class(kind: Any) -> Any:  # noqa: ANN401
    """The class of which values of this kind are; none's where it has none."""
    found = get_args(kind)[0] if get_origin(kind) is Annotated else get_origin(kind) or kind
    return found if isinstance(found, type) else ()


def _called(kind: Any) -> str:  # noqa: ANN401
    """In words."""
    if get_origin(kind) is Annotated:
        base, (low, high, *without), *unit = get_args(kind)
        return str((unit or [_WORDS[base]])[0]) + _limits(low, high, "," if base is int else "g", *without)
    found = _class(kind)
    if found in _WORDS or not isinstance(found, type):
        return _WORDS.get(found, str(kind))
    such = f" such as {found.example}" if issubclass(found, Declared) and found.example else ""
    return f"a{'n' if found.__name__[0] in 'AEIOU' else ''} {found.__name__}{such}"


def _plain(value: Any) -> object:  # noqa: ANN401
    """Numbers and arrays of NumPy's and torch's, which are not imported for them, as Python's own.

    What holds no numbers (a class, a meta tensor) and what is too long for an argument stays as it is.
    """
    if isinstance(value, type) or not hasattr(value, "tolist"):
        return value
    with suppress(RuntimeError, TypeError):
        if math.prod(getattr(value, "shape", ())) <= _LONGEST:
            return value.tolist()
    return value


def _ends(low: float, high: float, without: Without) -> tuple[float, ...]:
    return {"": (), "low": (low,), "high": (high,), "both": (low, high)}[without]


def _limits(low: float, high: float, form: str, without: Without = "") -> str:
    if without == "both":
        return f" between {low:{form}} and {high:{form}}"
    if without == "low":
        return f" above {low:{form}}" + (f", up to {high:{form}}" if math.isfinite(high) else "")
    if without == "high":
        return f" of at least {low:{form}} and below {high:{form}}"
    if math.isfinite(high):
        return f" from {low:{form}} to {high:{form}}"
    return f" of at least {low:{form}}" if math.isfinite(low) else ""


def _refused(name: str, value: object, wanted: str, example: object) -> InputError:
    plain = isinstance(example, int | float) and not isinstance(example, bool)
    usual = f"{example:g}" if plain else example
    return InputError(
        f"{name} is {shown(value)}; give {wanted}{'' if usual is None else f', for example {usual}'}."
    )
