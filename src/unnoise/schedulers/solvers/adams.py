"""The multistep solver: one look a step, and the memory of those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.process import Level
from unnoise.schedulers.moves import Move, Unknown
from unnoise.schedulers.noise import Place
from unnoise.schedulers.quadrature import Quadrature, Variable, weights
from unnoise.schedulers.solvers.base import Leg, OneLook, check_order, finite_unknown, last_move, places


@dataclass(frozen=True)
class Adams(OneLook):
    """The multistep solver: a polynomial through the latest estimates, integrated exactly.

    That is the (exponential) Adams-Bashforth method. order: how many estimates it uses, 1 to 4; it starts with
    what there is. variable: in what the polynomial is ("sigma", "lambda", "flow", "angle"). unknown: of what
    ("x0", "noise", "flow", "velocity"). quadrature: "exact"; "midpoint" for the polynomial's value at the middle
    of the step; "bh1" and "bh2" for UniPC's two rules, which are short cuts for two estimates and exact for more.

    Euler and DDIM are order 1. LMS is sigma with noise, DEIS lambda with noise (Zhang & Chen 2023), DPM-Solver++
    lambda with x0 (Lu et al. 2022b), and on flow models flow with flow is the plain Adams-Bashforth rule.
    """

    order: int = 1
    variable: Variable = "lambda"
    unknown: Unknown = "x0"
    quadrature: Quadrature = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order("Adams", self.order, 4)

    @property
    def takes(self) -> tuple[Place, ...]:
        """That of an SDE with x0 alone."""
        return places(self.unknown)

    def move(self, leg: Leg) -> Move:
        """The step's move."""
        now, split = leg.now, leg.split
        unknown = finite_unknown(self.unknown, now)
        held = distinct((now, *leg.past), self.order)
        nodes = [level for _, level in held]
        found = weights(unknown, self.variable, nodes, now, split.down, split.eta, self.quadrature)
        return last_move(unknown, spread([place for place, _ in held], found), now, split)


def distinct(levels: Sequence[Level], count: int) -> list[tuple[int, Level]]:
    """The first `count` levels with different ratios, each with its place in the list."""
    held: dict[object, tuple[int, Level]] = {}
    for place, level in enumerate(levels):
        held.setdefault(level.ratio, (place, level))
        if len(held) == count:
            break
    return list(held.values())


def spread(places: Sequence[int], factors: Sequence[float]) -> list[float]:
    """Factors put at their places, latest first, with zeros between."""
    line = [0.0] * (max(places) + 1)
    for place, factor in zip(places, factors, strict=True):
        line[place] = factor
    return line
