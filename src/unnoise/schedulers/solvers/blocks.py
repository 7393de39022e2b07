"""Single-step solvers told look by look: blocks of three, and what is left over (DPM-Solver "fast")."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.schedulers.grids.ratios import block_sizes
from unnoise.schedulers.moves import Look, Move, Moves, Unknown
from unnoise.schedulers.quadrature import keep, weights
from unnoise.schedulers.solvers.adams import Adams, spread
from unnoise.schedulers.solvers.base import Leg, Solver, finite_unknown

# Looks of the block through which the line leads to its k-th level after the first, by the block's size.
_USES = {1: ((0,),), 2: ((0,), (1,)), 3: ((0,), (0, 1), (0, 2))}


@dataclass(frozen=True)
class Blocks(Solver):
    """DPM-Solver-fast: third-order steps of three looks each, so that any number of looks is used up.

    A step here is one look; the block's later ones begin at its first sample, told from where the sample stands.
    Give it with `grids.BlockLevels`, whose levels are the blocks' own stages; on others the stages are the grid's.
    """

    order = 3
    takes = ()  # noise inside a block is no part of the method

    def moves(self, leg: Leg) -> Moves:
        """One look, one move. Raises InputError for a grid that goes up and down."""
        if leg.index == 0 and _turns(leg.levels):
            raise InputError(
                "DPM fast counts its blocks on a grid that never turns; use one without restarts."
            )
        looks = len(leg.levels) - (2 if leg.levels[-1].sigma == 0.0 else 1)
        place = leg.index
        for size in block_sizes(looks):
            if place < size:
                break
            place -= size
        block = leg.levels[leg.index - place : leg.index - place + size + 1]
        if block[0].alpha == 0.0:
            return Adams(1).moves(leg)
        unknown = finite_unknown("noise", block[0])
        kept, factors = _from_first(unknown, block, place)
        if place:
            before, told = _from_first(unknown, block, place - 1)
            kept /= before
            factors = [factor - kept * had for factor, had in zip(factors, [*told, 0.0], strict=True)]
        return Look(leg.now), Move(kept, tuple(reversed(factors)), unknown)


def _turns(levels: tuple[Level, ...]) -> bool:
    """Whether noise both falls and rises on the way."""
    return len({float(one.ratio) > float(other.ratio) for one, other in pairwise(levels)}) > 1


def _from_first(unknown: Unknown, block: tuple[Level, ...], place: int) -> tuple[float, list[float]]:
    """(factor of the block's first sample, factors of its looks, first look first) of the level after `place`."""
    uses = _USES[len(block) - 1][place]
    found = weights(unknown, "lambda", [block[use] for use in uses], block[0], block[place + 1])
    return keep(unknown, block[0], block[place + 1]), spread(uses, found)
