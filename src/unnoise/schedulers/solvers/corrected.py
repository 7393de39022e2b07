"""Predictor and corrector: each look serves twice, to mend the step that led to it and to make the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from unnoise.limits import choice, typed
from unnoise.schedulers.moves import Look, Move, Moves, Unknown, difference, joined
from unnoise.schedulers.noise import Place
from unnoise.schedulers.quadrature import Quadrature, Variable, coordinate, keep, weights
from unnoise.schedulers.solvers.adams import Adams, distinct, spread
from unnoise.schedulers.solvers.base import Leg, OneLook, Solver, check_order, finite_unknown


@dataclass(frozen=True)
class Corrected(Solver):
    """An Adams solver whose last step is made again once its end has been looked at (Adams-Bashforth-Moulton).

    predictor: goes to the next level. estimates: how many the corrector uses, the new one among them, 1 to 5; its
    order is that number. quadrature: the corrector's, as for Adams; variable and unknown are the predictor's.
    again: look once more at the corrected sample, in place of keeping what was seen at the predicted one (PECE).

    UniPC (Zhao et al. 2023) and SA-Solver (Xue et al. 2023) are settings of it. Fresh noise is that of the step
    which is made again.
    """

    predictor: Adams
    estimates: Annotated[int, (1, 5)] = 2
    quadrature: Quadrature = "exact"
    again: bool = False

    @property
    def order(self) -> int:  # type: ignore[override]
        """The corrector's order, at most one above the predictor's."""
        return min(self.estimates, self.predictor.order + 1)

    @property
    def calls(self) -> int:
        """One, or two where it looks again."""
        return 2 if self.again else 1

    @property
    def takes(self) -> tuple[Place, ...]:
        """That of an SDE of x0: no step is made again whose end was raised since, or which aimed elsewhere."""
        return ("within",) if self.predictor.unknown == "x0" else ()

    def moves(self, leg: Leg) -> Moves:
        """Look, mend the last step, make this one."""
        mended = self.mend(leg)
        if mended is None:
            return self.predictor.moves(leg)
        if not self.again:
            return Look(leg.now), *joined(self.change(leg, mended), self.predictor.move(leg))
        seen_twice = replace(leg, past=(leg.now, *leg.past))
        return Look(leg.now), mended, *self.predictor.moves(seen_twice)

    def ending(self, jump: OneLook) -> Solver:
        """Mend, then jump."""
        return _Ending(self, jump)

    def change(self, leg: Leg, mended: Move) -> Move:
        """What `mended` adds to the predicted sample."""
        assert leg.before is not None
        begin, split = leg.before
        predicted = self.predictor.move(replace(leg, now=begin, split=split, past=leg.past[1:]))
        return Move(1.0, difference(mended.of_estimates, predicted.of_estimates), mended.unknown)

    def mend(self, leg: Leg) -> Move | None:
        """The last step once more, with the look at its end; None where there was none or it began at infinity."""
        if leg.before is None:
            return None
        begin, split = leg.before
        if not math.isfinite(coordinate(self.predictor.variable, float(begin.ratio))):
            return None
        unknown: Unknown = self.predictor.unknown
        if finite_unknown(unknown, begin) != unknown:  # the prediction followed another
            return None
        held = distinct((leg.now, *leg.past), self.estimates)
        nodes, variable = [level for _, level in held], self.predictor.variable
        factors = weights(unknown, variable, nodes, begin, leg.now, split.eta, self.quadrature)
        return Move(
            keep(unknown, begin, leg.now, split.eta),
            tuple(spread([place for place, _ in held], factors)),
            unknown,
            redo=True,
            of_draws=(split.fresh,) if split.fresh > 0.0 else (),
        )


def adams_moulton(order: int = 4, variable: Variable = "angle", unknown: Unknown = "velocity") -> Corrected:
    """Adams' predictor of this order with a corrector of one more; one network call a step.

    In velocity and angle, on the grid Arcsinh, the most accurate solver here for smooth data.
    """
    return Corrected(Adams(order, variable, unknown), order + 1)


def unipc(
    order: int = 2,
    unknown: Unknown = "x0",
    kind: Literal["bh1", "bh2"] = "bh2",
    corrector: bool = True,
) -> Solver:
    """UniPC of order 1 to 4 with its corrector, whose order is one higher (Zhao et al. 2023).

    Its linear equations have one solution from three estimates on: the exact quadrature in lambda. For two they
    are replaced by the factor 1/2, which is where bh1 and bh2 differ.
    """
    predictor = Adams(order, "lambda", unknown, choice("kind", kind, ("bh1", "bh2")))
    return Corrected(predictor, order + 1, kind) if typed("corrector", corrector, bool) else predictor


def sa_solver(predictor: int = 3, corrector: int = 4, again: bool = False) -> Solver:
    """SA-Solver: stochastic Adams of x0 in lambda, predictor order 1 to 4, corrector 1 to 5, 0 for none.

    Give it to a scheduler with noise=Tau(tau), or SDE(tau^2) for all levels (Xue et al. 2023).
    """
    check_order("SA-Solver's corrector", corrector, 5, least=0)
    stepper = Adams(predictor, "lambda", "x0")
    return Corrected(stepper, corrector, again=again) if corrector else stepper


@dataclass(frozen=True)
class _Ending(Solver):
    """The last step of a corrected solver: mend, then jump."""

    solver: Corrected
    jump: OneLook

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.jump.order

    def moves(self, leg: Leg) -> Moves:
        mended, jump = self.solver.mend(leg), self.jump.move(leg)
        if mended is None:
            return Look(leg.now), jump
        return Look(leg.now), *joined(self.solver.change(leg, mended), jump)
