"""Settings within their limits, or a sentence that says which these are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unnoise.errors import InputError


def number(name: str, value: float, low: float, high: float, example: str) -> None:
    """Raises InputError for a number outside low to high, or not finite."""
    if not math.isfinite(value) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {value}; give a number {limits}, for example {example}.")


def choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises InputError for a word that is none of the choices."""
    if value not in choices:
        raise InputError(f"{name} is '{value}'; give one of {', '.join(choices)}.")
