"""A solver whose factors have been fitted to a model, for one list of levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

from unnoise.schedulers.moves import Move, Moves
from unnoise.schedulers.noise import Place
from unnoise.schedulers.solvers.base import Leg, OneLook, Solver


@dataclass(frozen=True)
class Adjusted(Solver):
    """The solver's last move of each step, with a little added to its factors of the latest looks.

    changes: a row for each step; factor j of the step, latest look first, grows by row[j] times the size of the
    step's factors together. They are fitted for one list of levels, walked from its start: on a list of another
    length, or entered in the middle, where another history is held, the solver's own factors stay.
    """

    solver: Solver
    changes: tuple[tuple[float, ...], ...]

    @property
    def order(self) -> int:  # type: ignore[override]
        """The solver's own; fitted factors have none."""
        return self.solver.order

    @property
    def calls(self) -> int:
        """The solver's."""
        return self.solver.calls

    @property
    def takes(self) -> tuple[Place, ...]:
        """As the solver."""
        return self.solver.takes

    def moves(self, leg: Leg) -> Moves:
        """The solver's moves, the last of them changed."""
        *moves, last = self.solver.moves(leg)
        if not isinstance(last, Move) or len(leg.levels) != len(self.changes) + 1:
            return *moves, last
        size = abs(sum(last.of_estimates))
        factors = zip_longest(last.of_estimates, self.changes[leg.index], fillvalue=0.0)
        return *moves, replace(last, of_estimates=tuple(own + size * more for own, more in factors))

    def ending(self, jump: OneLook) -> Solver:
        """The solver's own ending, changed as the other steps."""
        return replace(self, solver=self.solver.ending(jump))
