"""What a comparison of schedulers found: a cell for each scheduler and number of steps, and a sentence about all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from unnoise.evaluation.sets import Interval
from unnoise.limits import counted

ALIKE = 0.95
"""SSIM to the converged picture from which a person sees no difference at a glance."""

REFERENCE = "LMS"
"""Whose many steps make the converged pictures."""


@dataclass(frozen=True)
class Cell:
    """One scheduler at one number of steps.

    calls: network calls a picture; with guidance each asks both halves in one batch. seconds: a picture, at this
    batch; spread: its quartiles over the steps. overhead: seconds a step without the network. error, similarity:
    relative error and SSIM to the converged solution of the same noise; None where fresh noise is drawn, because
    there is no such solution. steadiness: SSIM to the next number of steps. quality: distance of the set. alignment:
    mean agreement of the pictures with their prompts by an encoder; None where none was given. errors: the relative
    error of each picture.
    """

    scheduler: str
    steps: int
    stochastic: bool
    calls: int
    seconds: float
    spread: tuple[float, float]
    overhead: float
    error: float | None
    similarity: float | None
    steadiness: float | None
    quality: Interval
    alignment: float | None = None
    on_front: bool = False
    errors: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """All cells, and what they were measured with. pictures: of each cell, (pictures, channels, height, width).

    converged: the solutions of the same noise, by `reference_steps` steps, which differ from those of half as many by
    `reference_gap`. against: what the quality is a distance to, measure: which distance, of which features.
    """

    cells: tuple[Cell, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance: float | None
    model: str
    against: str
    measure: str
    reference_steps: int
    reference_gap: float
    converged: Tensor = field(repr=False)
    pictures: dict[tuple[str, int], Tensor] = field(repr=False)
    judge: str = ""
    converged_alignment: float | None = None

    @property
    def fewest(self) -> dict[str, int | None]:
        """For each scheduler with a solution, the fewest steps whose pictures are alike to it; None where none is."""
        found: dict[str, int | None] = {}
        for cell in sorted(self.cells, key=lambda cell: -cell.steps):
            if cell.similarity is not None:
                found.setdefault(cell.scheduler, None)
                if cell.similarity >= ALIKE:
                    found[cell.scheduler] = cell.steps
        return found

    @property
    def best(self) -> Cell:
        """Of the cells alike to the converged pictures the one of fewest calls, then least error; else the nearest."""
        nearest = self._nearest
        if not nearest:
            return min(self.cells, key=lambda cell: (cell.quality.value, cell.calls))
        return min(nearest, key=lambda cell: cell.error or 0.0)

    @property
    def _nearest(self) -> list[Cell]:
        """Those alike to the converged pictures for the fewest calls; else all that have such pictures."""
        solved = [cell for cell in self.cells if cell.similarity is not None]
        alike = [cell for cell in solved if (cell.similarity or 0.0) >= ALIKE]
        fewest = min((cell.calls for cell in alike), default=0)
        return [cell for cell in alike if cell.calls == fewest] or solved

    @property
    def ties(self) -> tuple[Cell, ...]:
        """The cells that these pictures do not tell from the best one, which chance may have put before them.

        Those as good as the best in all but the error, where the difference of the errors, picture by picture, is
        within two standard errors of 0; where all draw noise, those whose interval of quality meets the best one's.
        """
        best, nearest = self.best, self._nearest
        if nearest:
            return tuple(cell for cell in nearest if cell is not best and _tied(cell, best))
        high = best.quality.high
        return tuple(cell for cell in self.cells if cell is not best and cell.quality.low <= high)

    @property
    def sentence(self) -> str:
        """What to use, in plain words; where an encoder judged, what shows the prompts best is told beside it."""
        return " ".join(filter(None, (self._by_coherence, self._by_ties, self._by_alignment)))

    @property
    def _by_ties(self) -> str:
        if not self.ties:
            return ""
        named = [f"{cell.scheduler} ({counted(cell.steps, 'step')})" for cell in self.ties]
        named = named if len(named) < 5 else [*named[:3], f"{len(named) - 3} more"]
        shown = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
        return f"These {len(self.seeds)} pictures do not tell it from {shown}: more of them would."

    @property
    def _by_alignment(self) -> str:
        judged = [cell for cell in self.cells if cell.alignment is not None]
        if not judged or self.converged_alignment is None:
            return ""
        best = max(judged, key=lambda cell: cell.alignment or 0.0)
        return (
            f"What was asked for shows best with {best.scheduler} and {counted(best.steps, 'step')}: agreement "
            f"{best.alignment:.2f}, the converged pictures have {self.converged_alignment:.2f}."
        )

    @property
    def _by_coherence(self) -> str:
        best = self.best
        if best.similarity is None:
            return (
                f"Use {best.scheduler} with {counted(best.steps, 'step')}: its pictures are nearest to {self.against} "
                f"({self.measure} {best.quality.value:.3g}). All schedulers here draw fresh noise, so there is no "
                "converged picture to compare with."
            )
        reached = (
            "nothing here needs fewer calls to look converged"
            if best.similarity >= ALIKE
            else "it is the nearest to the converged pictures, but none here reaches them: try more steps"
        )
        return (
            f"Use {best.scheduler} with {counted(best.steps, 'step')} ({counted(best.calls, 'network call')}, "
            f"{_time(best.seconds)} a picture): its pictures have an SSIM of {best.similarity:.3f} to the converged "
            f"ones, and {reached}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pictures."""
        return {
            "sentence": self.sentence,
            "model": self.model,
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            "guidance": self.guidance,
            "quality": f"{self.measure}, to {self.against}; unbiased",
            "reference": {"scheduler": REFERENCE, "steps": self.reference_steps, "gap": self.reference_gap},
            "fewest_steps_alike": self.fewest,
            "encoder": self.judge,
            "converged_alignment": self.converged_alignment,
            "cells": [asdict(cell) for cell in self.cells],
        }


def _tied(cell: Cell, best: Cell) -> bool:
    apart = np.subtract(cell.errors, best.errors)
    return bool(apart.mean() <= 2.0 * apart.std(ddof=1) / math.sqrt(len(apart)))


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
