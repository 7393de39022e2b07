"""Schedulers side by side at equal seeds: coherence, speed and quality for each number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.alignment import Alignment
from unnoise.evaluation.distances import Features, energy
from unnoise.evaluation.pictures import pixel_features
from unnoise.evaluation.runs import Pipe, Run, Runner
from unnoise.evaluation.sets import Interval
from unnoise.evaluation.similarity import relative_error, structural_similarity
from unnoise.schedulers import names

SCHEDULERS = ("DDPM", "DDIM", "Euler", "Euler a", "Heun", "LMS", "DPM++ 2M", "UniPC")
STEPS = (5, 10, 20, 50)
ALIKE = 0.95
"""SSIM to the converged picture from which a person sees no difference at a glance."""

REFERENCE = "LMS"
"""Whose many steps make the converged pictures."""
_AGREED = 1e-3  # two reference solutions that differ by less are the solution
_RESAMPLES = 40

Told = Callable[[str, int, int], None]
"""Hears what has been made, how many runs are done, of how many."""


@dataclass(frozen=True)
class Cell:
    """One scheduler at one number of steps.

    calls: network calls a picture; with guidance each asks both halves in one batch. seconds: a picture, at this
    batch; spread: its quartiles over the steps. overhead: seconds a step without the network. error, similarity:
    relative error and SSIM to the converged solution of the same noise; None where fresh noise is drawn, because
    there is no such solution. steadiness: SSIM to the next number of steps. quality: energy distance. alignment: mean
    agreement of the pictures with their prompts by an encoder; None where none was given.
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


@dataclass(frozen=True, eq=False)
class Report:
    """All cells, and what they were measured with. pictures: of each cell, (pictures, channels, height, width).

    converged: the solutions of the same noise, by `reference_steps` steps, which differ from those of half as many by
    `reference_gap`. against: what the quality is a distance to.
    """

    cells: tuple[Cell, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance: float | None
    model: str
    against: str
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
        solved = [cell for cell in self.cells if cell.similarity is not None and cell.error is not None]
        if not solved:
            return min(self.cells, key=lambda cell: (cell.quality.value, cell.calls))
        alike = [cell for cell in solved if (cell.similarity or 0.0) >= ALIKE]
        return min(alike or solved, key=lambda cell: (cell.calls if alike else 0, cell.error or 0.0))

    @property
    def sentence(self) -> str:
        """What to use, in plain words; where an encoder judged, what shows the prompts best is told beside it."""
        return f"{self._by_coherence} {self._by_alignment}".rstrip()

    @property
    def _by_alignment(self) -> str:
        judged = [cell for cell in self.cells if cell.alignment is not None]
        if not judged or self.converged_alignment is None:
            return ""
        best = max(judged, key=lambda cell: cell.alignment or -1.0)
        return (
            f"What was asked for shows best with {best.scheduler} and {best.steps} steps: agreement "
            f"{best.alignment:.2f}, the converged pictures have {self.converged_alignment:.2f}."
        )

    @property
    def _by_coherence(self) -> str:
        best = self.best
        if best.similarity is None:
            return (
                f"Use {best.scheduler} with {best.steps} steps: its pictures are nearest to {self.against} "
                f"(energy distance {best.quality.value:.3g}). All schedulers here draw fresh noise, so there is no "
                "converged picture to compare with."
            )
        reached = (
            "nothing here needs fewer calls to look converged"
            if best.similarity >= ALIKE
            else "it is the nearest to the converged pictures, but none here reaches them: try more steps"
        )
        return (
            f"Use {best.scheduler} with {best.steps} steps ({best.calls} network calls, {_time(best.seconds)} a "
            f"picture): its pictures have an SSIM of {best.similarity:.3f} to the converged ones, and {reached}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pictures."""
        return {
            "sentence": self.sentence,
            "model": self.model,
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            "guidance": self.guidance,
            "quality": f"energy distance of pixels to {self.against}, unbiased",
            "reference": {"scheduler": REFERENCE, "steps": self.reference_steps, "gap": self.reference_gap},
            "fewest_steps_alike": self.fewest,
            "encoder": self.judge,
            "converged_alignment": self.converged_alignment,
            "cells": [asdict(cell) for cell in self.cells],
        }


def compare(
    pipe: Pipe,
    prompts: str | Sequence[str],
    *,
    schedulers: Sequence[str] = SCHEDULERS,
    steps: Sequence[int] = STEPS,
    count: int = 16,
    seed: int = 0,
    guidance: float | None = None,
    real: Tensor | None = None,
    judge: Alignment | None = None,
    cache: Path | None = None,
    told: Told | None = None,
) -> Report:
    """Run every scheduler at every number of steps from the same noise, and measure what each trades for what.

    prompts: taken in turn by `count` pictures with seeds from `seed`. real: held-out pictures, uint8 or floats in
    [-1, 1], that the quality is measured against; converged pictures of other seeds when None. judge: an encoder that
    says how well pictures show their prompts. cache: a folder in which finished runs are kept and found again.
    told(what, done, whole) hears of progress.

    Coherence: relative error and SSIM to the converged solution of the same noise, for schedulers that draw none.
    Quality: energy distance of the pixels, for all. Raises InputError for unknown names, an empty list, too few
    pictures, or real pictures of another size.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    _check(texts, schedulers, steps, count)
    wanted = sorted(set(steps))
    runner, seeds = Runner(pipe, texts, guidance, cache), tuple(range(seed, seed + count))
    progress = _Progress(told, 4 + len(schedulers) * len(wanted))
    goal = None if real is None else _real_features(real, pipe.model.shape)
    converged, reference, gap = _converged(runner, seeds, progress)
    if goal is None:
        rounds = -(-max(count, 64) // len(texts))  # every prompt equally often
        others = tuple(range(seed + 1_000_000, seed + 1_000_000 + rounds * len(texts)))
        goal = pixel_features(runner.run(REFERENCE, min(reference, 100), others).pictures)
    progress.made("pictures to compare with")
    cells, pictures = [], {}
    for name in schedulers:
        runs = {}
        for number in wanted:
            runs[number] = runner.run(name, number, seeds)
            pictures[name, number] = runs[number].pictures
            progress.made(f"{name}, {number} steps")
        cells += _cells(runner, name, runs, converged, goal)
    asked = [texts[place % len(texts)] for place in range(count)]
    if judge is not None:
        cells = [
            replace(cell, alignment=_alignment(judge, pictures[cell.scheduler, cell.steps], asked))
            for cell in cells
        ]
    return Report(
        _with_front(cells),
        texts,
        seeds,
        guidance,
        pipe.model.name or "the model",
        "converged pictures of other seeds" if real is None else f"{len(goal)} held-out pictures",
        reference,
        gap,
        converged,
        pictures,
        "" if judge is None else judge.name,
        None if judge is None else _alignment(judge, converged, asked),
    )


@dataclass
class _Progress:
    told: Told | None
    whole: int
    done: int = 0

    def made(self, what: str) -> None:
        self.done += 1
        if self.told is not None:
            self.told(what, min(self.done, self.whole), self.whole)


def _converged(runner: Runner, seeds: tuple[int, ...], progress: _Progress) -> tuple[Tensor, int, float]:
    """The solution of this noise: steps are doubled until twice as many change it by less than a thousandth."""
    before, gap = runner.run(REFERENCE, 100, seeds).pictures, float("inf")
    progress.made("the converged solution")
    for steps in (200, 400, 800):
        now = runner.run(REFERENCE, steps, seeds).pictures
        gap = relative_error(before, now)
        progress.made(f"the converged solution, {steps} steps")
        if gap < _AGREED:
            break
        before = now
    return now, steps, gap


def _cells(runner: Runner, name: str, runs: dict[int, Run], converged: Tensor, goal: Features) -> list[Cell]:
    numbers, cells = sorted(runs), []
    for place, steps in enumerate(numbers):
        run, plan = runs[steps], runner.plan(name, steps)
        count = len(run.pictures)
        quartiles = np.percentile(run.seconds, (25, 50, 75)) * steps / count
        after = runs[numbers[place + 1]].pictures if place + 1 < len(numbers) else None
        solved = not plan.stochastic
        cells.append(
            Cell(
                scheduler=name,
                steps=steps,
                stochastic=plan.stochastic,
                calls=len(plan.looks),
                seconds=float(quartiles[1]),
                spread=(float(quartiles[0]), float(quartiles[2])),
                overhead=runner.overhead(name, steps, count),
                error=relative_error(run.pictures, converged) if solved else None,
                similarity=_mean_ssim(run.pictures, converged) if solved else None,
                steadiness=None if after is None or not solved else _mean_ssim(run.pictures, after),
                quality=_quality(pixel_features(run.pictures), goal),
            )
        )
    return cells


def _alignment(judge: Alignment, pictures: Tensor, asked: Sequence[str]) -> float:
    return float(judge.agreement(pictures, asked).mean())


def _mean_ssim(x: Tensor, y: Tensor) -> float:
    return float(structural_similarity(x, y).mean())


def _quality(made: Features, goal: Features) -> Interval:
    """Energy distance with the interval of half samples, the same halves for every cell."""
    source = np.random.default_rng(0)
    halves = []
    for _ in range(_RESAMPLES):
        x, y = (part[source.permutation(len(part))[: len(part) // 2]] for part in (made, goal))
        halves.append(energy(x, y))
    value, reach = energy(made, goal), 1.96 * float(np.std(halves, ddof=1))
    return Interval(value, value - reach, value + reach)


def _with_front(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, with those marked that no other beats in both calls and error."""

    def beaten(cell: Cell) -> bool:
        return any(
            other.error is not None
            and cell.error is not None
            and other.calls <= cell.calls
            and other.error <= cell.error
            and (other.calls, other.error) != (cell.calls, cell.error)
            for other in cells
        )

    return tuple(replace(cell, on_front=cell.error is not None and not beaten(cell)) for cell in cells)


def _real_features(real: Tensor, shape: tuple[int, int, int]) -> Features:
    if tuple(real.shape[1:]) != tuple(shape):
        raise InputError(
            f"the real pictures are {list(real.shape[1:])}, the model makes {list(shape)}; give pictures of its size."
        )
    if len(real) < 8:
        raise InputError(f"{len(real)} real pictures are too few to compare with; give at least 8.")
    return pixel_features(real)


def _check(prompts: tuple[str, ...], schedulers: Sequence[str], steps: Sequence[int], count: int) -> None:
    if not (prompts and schedulers and steps):
        raise InputError("a comparison needs at least one prompt, one scheduler and one number of steps.")
    if not 4 <= count <= 256:
        raise InputError(f"count is {count}; give 4 to 256 pictures, for example 16.")
    for name in schedulers:
        names.get(name)
    for number in steps:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1000:
            raise InputError(
                f"steps holds {number!r}; give whole numbers from 1 to 1000, for example 5, 10, 20."
            )


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
