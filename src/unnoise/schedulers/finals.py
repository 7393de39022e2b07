"""Final rules: the jump from the last noisy level to the clean sample, or none.

In lambda the clean sample lies at infinity, where a polynomial has no value; a method of any order is left
with a first-order jump there, and its error with a floor. In sigma the end is finite, so the noise, which is
smooth in sigma, can be extrapolated to it with all the estimates that the solver remembers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unnoise.schedulers.quadrature import Variable
from unnoise.schedulers.solvers import Adams, Solver


class FinalRule:
    """How a plan ends. Subclasses are frozen dataclasses."""

    appends_clean = True

    def solver(self, solver: Solver) -> Solver:
        """The solver of the jump to clean data, in place of the plan's."""
        return Adams(order=1)


@dataclass(frozen=True)
class FirstOrder(FinalRule):
    """The last predicted x0 is the sample: what other libraries do, and all that one look can give."""


@dataclass(frozen=True)
class Extrapolate(FinalRule):
    """The solver's order is kept: its polynomial goes on in a variable that is finite at the clean end."""

    variable: Variable = "sigma"

    def solver(self, solver: Solver) -> Solver:
        """Adams of the same order in the noise; one look is enough for a Runge-Kutta solver."""
        if isinstance(solver, Adams):
            return replace(solver, variable=self.variable, unknown="noise", quadrature="exact")
        return Adams(order=1)


@dataclass(frozen=True)
class Stop(FinalRule):
    """No jump: the plan ends at the grid's last level."""

    appends_clean = False
