"""Noise schedules as plain values, for configuration and model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unnoise.errors import InputError
from unnoise.limits import choice, shown, typed
from unnoise.process.continuous import EDM, Cosine, Flow
from unnoise.process.discrete import CURVES, DiscreteVP
from unnoise.process.schedule import NoiseSchedule


def _discrete(curve: str = "linear", zero_terminal: bool = False, **values: Any) -> DiscreteVP:  # noqa: ANN401 - checked by the constructors
    choice("curve", curve, CURVES)
    zero_terminal = typed("zero_terminal", zero_terminal, bool)
    plain = (_tabled if curve == "table" else getattr(DiscreteVP, curve))(**values)
    return plain.zero_terminal_snr() if zero_terminal else plain


def _tabled(table: Sequence[float], steps: int | None = None) -> DiscreteVP:
    return DiscreteVP(
        "table", len(table) if steps is None else steps, table=typed("table", table, tuple[float, ...])
    )


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
    values = dict(typed("the schedule", config, Mapping))
    kind = values.pop("kind", None)
    make = _KINDS[choice("schedule kind", kind, SCHEDULE_KINDS)]
    try:
        return make(**values)
    except InputError:
        raise
    except TypeError as error:
        raise InputError(
            f"{', '.join(map(shown, values)) or 'nothing'} cannot describe a {kind} schedule; give what "
            f"config() returns, such as {make().config()}."
        ) from error
