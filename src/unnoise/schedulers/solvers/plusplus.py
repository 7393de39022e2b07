"""CFG++: guidance that stays on the data's surface (Chung et al. 2025, alg. 2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from unnoise.errors import InputError
from unnoise.schedulers.moves import Look, Move, Moves
from unnoise.schedulers.solvers.adams import Adams
from unnoise.schedulers.solvers.base import Leg, OneLook, Solver


@dataclass(frozen=True)
class CFGPlusPlus(Solver):
    """The guided clean sample, noised again by what the network says without the prompt.

    At first order x_to = alpha_to x_0 + sigma_to eps_0, with the guided x_0 and the unguided eps_0. That is the
    unguided process' own step and a shift by alpha_to (x_0 - x_0 unguided); with a solver of higher order the first
    part is that solver's. Guidance is the paper's lambda, and where 1 is usual elsewhere, 0.6 to 1 is strong here.

    solver: of the unguided process, in terms of x0.
    """

    solver: Adams = field(default_factory=Adams)
    order = 1  # of the whole; the unguided part has the solver's

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver.unknown != "x0":
            raise InputError(
                f"the solver's unknown is {self.solver.unknown}; CFG++ steps in terms of x0: give Adams()."
            )

    def moves(self, leg: Leg) -> Moves:
        """The unguided step without the unguided x0 at its end, then the guided x0 there, and the fresh noise."""
        whole, alpha = self.solver.move(leg), float(leg.split.down.alpha)
        first, *others = whole.of_estimates
        unguided = Move(whole.of_x, (first - alpha, *others), "unguided")
        return Look(leg.now), unguided, replace(whole, of_x=1.0, of_estimates=(alpha,))

    def ending(self, jump: OneLook) -> Solver:
        """The last guided x0: those before belong to other samples than the unguided process leads to."""
        return Adams(1)
