"""Final rules: the jump from the last noisy level to the clean sample, or none.

In lambda the clean sample lies at infinity, where a polynomial has no value; a method of any order is left
with a first-order jump there, and its error with a floor. In sigma the end is finite, so the noise, which is
smooth in sigma, can be extrapolated to it with all the estimates that the solver remembers.
"""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.schedulers.noise import NoiseRule
from unnoise.schedulers.quadrature import Variable
from unnoise.schedulers.solvers import Adams, Corrected, Solver
from unnoise.schedulers.solvers.corrected import with_predictor


class FinalRule:
    """How a plan ends. Subclasses are frozen dataclasses."""

    appends_clean = True

    def solver(self, solver: Solver, noise: NoiseRule) -> Solver:
        """The solver of the jump to clean data, in place of the plan's; a corrector stays."""
        return with_predictor(solver, Adams(order=1))


@dataclass(frozen=True)
class FirstOrder(FinalRule):
    """The last predicted x0 is the sample: what other libraries do, and all that one look can give."""


@dataclass(frozen=True)
class Extrapolate(FinalRule):
    """The solver's order is kept: its polynomial goes on in a variable that is finite at the clean end."""

    variable: Variable = "sigma"

    def solver(self, solver: Solver, noise: NoiseRule) -> Solver:
        """Adams of the same order in the noise, through the latest looks at different levels."""
        order = solver.predictor.order if isinstance(solver, Corrected) else solver.order
        if noise.stochastic:
            order = 1
        return with_predictor(solver, Adams(min(order, 4), self.variable, "noise"))


@dataclass(frozen=True)
class Stop(FinalRule):
    """No jump: the plan ends at the grid's last level."""

    appends_clean = False
