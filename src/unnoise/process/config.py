"""Noise schedules as plain values, for configuration and model files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from unnoise.errors import InputError
from unnoise.limits import choice, shown, typed
from unnoise.process.continuous import EDM, Cosine, Flow
from unnoise.process.discrete import CURVES, DiscreteVP
from unnoise.process.schedule import NoiseSchedule

Made = TypeVar("Made", bound=NoiseSchedule)

_FORMULAS: dict[str, Callable[..., NoiseSchedule]] = {each.kind: each for each in (Cosine, EDM, Flow)}

SCHEDULE_KINDS = (DiscreteVP.kind, *_FORMULAS)
"""The words that "kind" may be."""


def schedule_from_config(config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule of a mapping such as {"kind": "cosine"}; the inverse of `NoiseSchedule.config`.

    Raises InputError for an unknown kind, an unknown key, or a value out of range.
    """
    values = dict(typed("the schedule", config, Mapping))
    kind = choice("schedule kind", values.pop("kind", None), SCHEDULE_KINDS)
    return _discrete(values) if kind == DiscreteVP.kind else _made(kind, _FORMULAS[kind], values)


def _discrete(values: dict[str, Any]) -> NoiseSchedule:
    curve = choice("curve", values.pop("curve", "linear"), CURVES)
    ends_without_signal = typed("zero_terminal", values.pop("zero_terminal", False), bool)
    make: Callable[..., DiscreteVP] = _tabled if curve == "table" else getattr(DiscreteVP, curve)
    plain = _made(f"discrete_vp with curve {curve}", make, values, "zero_terminal")
    return plain.zero_terminal_snr() if ends_without_signal else plain


def _tabled(table: Sequence[float] = (), steps: int | None = None) -> DiscreteVP:
    betas = typed("table", table, tuple[float, ...], "1e-4,2e-2")
    return DiscreteVP("table", len(betas) if steps is None else steps, table=betas)


def _made(kind: str, make: Callable[..., Made], values: Mapping[str, Any], *more: str) -> Made:
    """`make` of the values. Raises InputError for one that it does not take. more: names that were taken before."""
    taken = inspect.signature(make).parameters
    for name in values:
        if name not in taken:
            raise InputError(
                f"a schedule of kind {kind} has no {shown(name)}; it has {', '.join((*taken, *more))}."
            )
    return make(**values)
