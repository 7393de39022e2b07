"""What a likelihood came to, with its error bar, its parts and how it was reckoned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import NonFiniteError


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A cost per number of the data: smaller is a better fit.

    value: mean over the pictures. error: its standard error over pictures, nan for one. terms: what adds up to
    the value. calls: network calls a picture. estimator: which of the estimates this is. conventions: sentences
    that another figure must share to be compared with this one. unit: "bits/dim", or what it is for numbers that
    are no grey levels. each: (pictures,) float64. profile: (log-SNR, bits) of every step, where all were taken.
    """

    value: float
    error: float
    terms: Mapping[str, float]
    calls: float
    pictures: int
    estimator: str
    conventions: tuple[str, ...] = ()
    unit: str = "bits/dim"
    each: Tensor = field(default_factory=lambda: torch.zeros(0, device="cpu"), repr=False)
    profile: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        places = 2
        if math.isfinite(self.error) and self.error > 0.0:
            places = min(6, max(2, -math.floor(math.log10(self.error))))
        parts = " + ".join(f"{name} {value:.{places}f}" for name, value in self.terms.items())
        calls = f"{self.calls:.4g} call{'' if self.calls == 1 else 's'} a picture"
        bar = f" ± {self.error:.{places}f}" if math.isfinite(self.error) else " (one picture, no error bar)"
        return f"{self.value:.{places}f}{bar} {self.unit} ({self.estimator}) = {parts}, {calls}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `each` and `profile` as lists."""
        return vars(self) | {
            "error": self.error if math.isfinite(self.error) else None,
            "terms": dict(self.terms),
            "conventions": list(self.conventions),
            "each": self.each.tolist(),
            "profile": [list(pair) for pair in self.profile],
        }


def per_nat(unit: str) -> float:
    """How much of the unit a nat is."""
    return 1.0 if unit.startswith("nats") else 1.0 / math.log(2.0)


def summarise(
    parts: Mapping[str, Tensor],
    *,
    calls: float,
    estimator: str,
    conventions: tuple[str, ...],
    unit: str = "bits/dim",
    profile: tuple[tuple[float, float], ...] = (),
) -> Likelihood:
    """The result of parts, each (pictures,) in nats per number of the data.

    Raises NonFiniteError, naming the part and the picture, where one left the finite numbers.
    """
    scale = per_nat(unit)
    for name, part in parts.items():
        bad = (~part.isfinite()).nonzero().flatten().tolist()
        if bad:
            raise NonFiniteError(
                f"the {name} term of the likelihood is not finite for picture {bad[0]} ({len(bad)} of {len(part)}); "
                "look at that picture, and at the model's variance."
            )
    each = torch.stack([part.double() for part in parts.values()]).sum(0) * scale
    count = len(each)
    error = float(each.std()) / math.sqrt(count) if count > 1 else math.nan
    terms = {name: float(part.mean()) * scale for name, part in parts.items()}
    return Likelihood(
        float(each.mean()), error, terms, calls, count, estimator, conventions, unit, each, profile
    )
