"""Noise schedules as plain values, for configuration and model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unnoise.errors import InputError
from unnoise.process.continuous import EDM, Cosine, Flow
from unnoise.process.discrete import DiscreteVP
from unnoise.process.schedule import NoiseSchedule

_CURVES = ("linear", "scaled_linear", "cosine", "sigmoid", "table")


def _discrete(curve: str = "linear", **values: Any) -> DiscreteVP:  # noqa: ANN401 - checked by the constructors
    if curve not in _CURVES:
        raise InputError(f"curve is {curve!r}; give one of {', '.join(_CURVES)}.")
    zero_terminal = values.pop("zero_terminal", False)
    if curve == "table":
        plain = DiscreteVP.from_betas(tuple(values["table"]))
    else:
        values.pop("table", None)
        plain = getattr(DiscreteVP, curve)(**values)
    return plain.zero_terminal_snr() if zero_terminal else plain


_KINDS: dict[str, Callable[..., NoiseSchedule]] = {
    "discrete_vp": _discrete,
    "cosine": Cosine,
    "edm": EDM,
    "flow": Flow,
}

SCHEDULE_KINDS = tuple(_KINDS)
"""The words that "kind" may be."""


def schedule_from_config(config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule of a mapping such as {"kind": "cosine"}; the inverse of `NoiseSchedule.config`.

    Raises InputError for an unknown kind, an unknown key, or a value out of range.
    """
    values = dict(config)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError(f"schedule kind is {kind!r}; give one of {', '.join(SCHEDULE_KINDS)}.")
    try:
        return _KINDS[kind](**values)
    except (TypeError, KeyError) as error:
        raise InputError(f"the values {values} do not describe a {kind} schedule: {error}.") from error
