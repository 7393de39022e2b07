"""What every solver is asked and answers: one leg of the way, turned into moves."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Declared, is_whole, shown
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.grids.base import LOST_RATIO
from unnoise.schedulers.moves import Look, Move, Moves, Unknown
from unnoise.schedulers.noise import Place, Split
from unnoise.schedulers.quadrature import keep


@dataclass(frozen=True)
class Leg:
    """One step that is to be planned.

    now: where the sample stands. split: where to, and with how much fresh noise. past: levels looked at before,
    latest first. schedule: where levels in between are found. index: the step's number from 0. levels: all levels
    of the plan, this step's ends at `index` and `index` + 1. before: where the last step began, and its split;
    None for the first step and after a rise.
    """

    now: Level
    split: Split
    past: tuple[Level, ...]
    schedule: NoiseSchedule
    index: int = 0
    levels: tuple[Level, ...] = ()
    before: tuple[Level, Split] | None = None


class Solver(Declared, abc.ABC):
    """A rule that turns a leg into moves.

    Subclasses are frozen dataclasses, checked when they are made, with a field or property `order`, the order of
    convergence on a smooth problem.
    """

    example = "solvers.Heun()"
    order: int

    @property
    def calls(self) -> int:
        """Network calls a step: one, unless a solver looks more than once."""
        return 1

    @property
    def takes(self) -> tuple[Place, ...]:
        """Where in a step it has room for fresh noise: everywhere, unless a solver says less."""
        return "before", "within", "after"

    @abc.abstractmethod
    def moves(self, leg: Leg) -> Moves:
        """The moves from `leg.now` to `leg.split.down`, and the fresh noise."""

    def ending(self, jump: OneLook) -> Solver:
        """The solver of the jump to clean data, which is `jump` and whatever mends the step before it."""
        return jump


class OneLook(Solver):
    """A solver that looks once and moves once."""

    def moves(self, leg: Leg) -> Moves:
        """One look, one move."""
        return Look(leg.now), self.move(leg)

    @abc.abstractmethod
    def move(self, leg: Leg) -> Move:
        """The move alone, for solvers that look by themselves."""


def finite_unknown(unknown: Unknown, now: Level) -> Unknown:
    """x0 in place of the noise where the signal is lost at `now`: there the noise is x itself and tells nothing.

    From a ratio of thousands one step leads to where the picture stands, and the noise changes by a little on the way:
    by so little times thousands the sample would be wrong.
    """
    return "x0" if unknown == "noise" and float(now.ratio) > LOST_RATIO else unknown


def last_move(unknown: Unknown, factors: Sequence[float], now: Level, split: Split) -> Move:
    """The move that ends a step: to `split.down` by these factors of the estimates, then the fresh noise."""
    return Move(
        keep(unknown, now, split.down, split.eta),
        tuple(factors),
        unknown,
        split.fresh,
        split.large,
        span=split.span,
    )


def check_order(what: str, order: object, largest: int, least: int = 1) -> None:
    """Refuse an order that is not a whole number from `least` to `largest`."""
    if not is_whole(order, least, largest):
        raise InputError(
            f"order is {shown(order)}; {what} has orders {least} to {largest}: give one of these."
        )


def places(unknown: Unknown) -> tuple[Place, ...]:
    """Where a rule for this unknown takes noise: an SDE sharpens the kernel of x0 alone."""
    return ("before", "within", "after") if unknown == "x0" else ("before", "after")
