"""diffusers' PNDM (Runge-Kutta warm-up, or PLMS without) and IPNDM: Adams' weights of equal steps on the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.schedulers.heuristics import EQUAL_STEPS
from unnoise.schedulers.moves import Look, Move, Moves, Unknown
from unnoise.schedulers.presets.ddpm_rules import below
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Rule
from unnoise.schedulers.solvers.adams import spread

_RUNGE_KUTTA = ((1.0,), (1.0, 0.0), (1.0, 0.0, 0.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


@dataclass(frozen=True)
class PNDMRule(Rule):
    """Every time leads to itself minus a fixed stride, which need not be the next time of the path.

    one: whether "before the first entry" is clean data. warm: the first three steps by Runge-Kutta, of four looks
    each; without, the first step is looked at twice (PLMS). velocity: v is weighted, and turned into the noise with
    the level and the sample at which a step begins. A picture entered in the middle begins a level earlier, and
    its second look is where it was to begin: diffusers counts in its list of times, in which the second stands twice.
    """

    one: bool
    warm: bool
    velocity: bool

    def ends(self, path: Path, i: int, known: int) -> tuple[Level, Level]:
        """Down by the stride; warm steps, and the one looked at twice, lead to the next time.

        Where a picture is entered, from the level before; but the second is entered at itself.
        """
        now = path.levels[i - 1 if i > 1 and known == 0 else i]
        if (self.warm and known < 3) or _twice(path, known):
            return now, path.levels[i + 1]
        return now, self._down(path, now)

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks for the first step or four for the first three, one for each other."""
        if self.warm:
            return self._warm(path, i, known)
        now, _ = self.ends(path, i, known)
        to = self._down(path, now)
        if _twice(path, known):
            second = path.levels[max(i, 1)]
            anchor = path.entries[min(int(float(second.time)) + _stride(path), len(path.entries) - 1)]
            first = self._transfer(path, now, to, (1.0,), settles=False)
            return Look(now), first, Look(second), self._transfer(path, anchor, second, (0.5, 0.5))
        places = {1: (0, 2), 2: (0, 1, 3), 3: (0, 1, 2, 4)}.get(known, range(min(known, 3) + 1))
        return Look(now), self._transfer(path, now, to, _at(places))

    def _warm(self, path: Path, i: int, known: int) -> Moves:
        if known != i or path.steps < 4:
            raise InputError(
                f"PNDM's Runge-Kutta warm-up needs a whole run of 4 steps or more, not {path.steps - i + known} of "
                f"{path.steps}; set skip_prk_steps, or give more steps."
            )
        now = path.levels[i]
        if i >= 3:
            places = [0, *range(1, i - 2), *range(i + 1, 14, 4)][:4]
            return Look(now), self._transfer(path, now, self._down(path, now), _at(places))
        second, half = path.levels[i + 1], _stride(path) // 2
        middle = path.entries[int(float(second.time)) + half]
        ends = (path.entries[int(float(now.time)) - half], middle, second, second)
        looks = (now, middle, middle, second)
        moves = [
            self._transfer(path, now, end, row, settles=row is _RUNGE_KUTTA[-1])
            for end, row in zip(ends, _RUNGE_KUTTA, strict=True)
        ]
        return tuple(part for pair in zip(map(Look, looks), moves, strict=True) for part in pair)

    def _down(self, path: Path, now: Level) -> Level:
        return below(path.entries, int(float(now.time)) - _stride(path), self.one)

    def _transfer(
        self, path: Path, now: Level, to: Level, weights: Sequence[float], settles: bool = True
    ) -> Move:
        """The DDIM step by a weighted noise (Liu et al. 2022, eq. 9)."""
        assert path.abar is not None
        product = path.abar[int(float(now.time))]
        after = path.abar[int(float(to.time))] if float(to.time) >= 0.0 else torch.ones_like(product)
        share = product * (1 - after) ** 0.5 + (product * (1 - product) * after) ** 0.5
        kept, of_noise = float((after / product) ** 0.5), -float(after - product) / float(share)
        unknown: Unknown = "noise"
        if self.velocity:
            kept, of_noise = kept + of_noise * float(now.sigma), of_noise * float(now.alpha)
            unknown = "velocity"
        return Move(kept, tuple(of_noise * weight for weight in weights), unknown, settles=settles)


def _twice(path: Path, known: int) -> bool:
    """Whether the step looks twice: the first, unless it is the only one of a whole run."""
    return known == 0 and path.steps > 1


def _stride(path: Path) -> int:
    return len(path.entries) // path.steps


def _at(places: Sequence[int]) -> list[float]:
    """Adams' weights of equal steps, put at these places of the looks, latest first."""
    return spread(places, EQUAL_STEPS[len(places) - 1])


@dataclass(frozen=True)
class IPNDMRule(Rule):
    """The same weights at the levels of a cosine; the first level holds no signal, and its x0 counts as 0."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = path.levels[i], path.levels[i + 1]
        kept = float(to.alpha) / float(now.alpha) if now.alpha > 0.0 else 0.0
        mass = float(to.sigma) - kept * float(now.sigma)
        return Look(now), Move(kept, tuple(mass * weight for weight in EQUAL_STEPS[min(known, 3)]), "noise")
