"""Schedulers side by side at equal seeds: coherence, speed and quality for each number of steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.alignment import Alignment
from unnoise.evaluation.cells import REFERENCE, Cell, Report
from unnoise.evaluation.distances import Features, energy, kernel
from unnoise.evaluation.pictures import check_range, pixel_features
from unnoise.evaluation.runs import Pipe, Run, Runner
from unnoise.evaluation.sets import Interval, half_samples, interval
from unnoise.evaluation.similarity import each_error, relative_error, structural_similarity
from unnoise.files import expanded
from unnoise.limits import counted, typed, whole
from unnoise.schedulers import ToTolerance, names

SCHEDULERS = ("DDPM", "DDIM", "Euler", "Euler a", "Heun", "LMS", "DPM++ 2M", "UniPC")
STEPS = (5, 10, 20, 50)
_AGREED = 1e-3  # two reference solutions that differ by less are the solution
_RESAMPLES = 40

Told = Callable[[str, int, int], None]
"""Hears what has been made, how many runs are done, of how many."""


def compare(
    pipe: Pipe,
    prompts: str | Sequence[str],
    *,
    schedulers: str | Sequence[str] = SCHEDULERS,
    steps: int | Sequence[int] = STEPS,
    count: int = 16,
    seed: int = 0,
    guidance: float | None = None,
    real: Tensor | None = None,
    features: Callable[[Tensor], Features] | None = None,
    named: str = "features",
    judge: Alignment | None = None,
    cache: str | Path | None = None,
    told: Told | None = None,
) -> Report:
    """Run every scheduler at every number of steps from the same noise, and measure what each trades for what.

    prompts: taken in turn by `count` pictures with seeds from `seed`. real: held-out pictures, uint8 or floats in
    [-1, 1], that the quality is measured against; converged pictures of other seeds when None. features, named: from
    uint8 pictures to what the quality is a distance of, such as an `Encoder`, and its name. judge: an encoder that
    says how well pictures show their prompts. cache: a folder in which finished runs are kept and found again.
    told(what, done, whole) hears of progress.

    Coherence: relative error and SSIM to the converged solution of the same noise, for schedulers that draw none.
    Quality, for all: the energy distance of the pixels, or the unbiased kernel distance (KID) of `features`. Raises
    InputError for unknown names, an empty list, too few pictures, real pictures of another size, or latents that no
    encoder can look at.
    """
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    schedulers = (schedulers,) if isinstance(schedulers, str) else schedulers
    numbers = [steps] if isinstance(steps, int | np.integer) else list(steps)
    _check(texts, schedulers, numbers, count)
    # no picture asks for more prompts: neither do those compared with
    wanted, texts = sorted(set(numbers)), texts[:count]
    runner = Runner(pipe, texts, guidance, None if cache is None else expanded(cache))
    seeds = tuple(range(seed, seed + count))
    every, done = 4 + len(schedulers) * len(wanted), itertools.count(1)

    def made(what: str) -> None:
        if told is not None:
            told(what, min(next(done), every), every)

    measure = _Measure(features, named, pipe.model.shape[0])
    goal = None if real is None else measure.of(_checked(real, pipe.model.shape))
    converged, reference, gap = _converged(runner, seeds, made)
    if goal is None:
        goal = measure.of(_others(runner, min(reference, 100), seed + 1_000_000, count))
    made("pictures to compare with")
    asked = [texts[place % len(texts)] for place in range(count)]

    def alignment(shown: Tensor) -> float | None:
        return None if judge is None else float(judge.agreement(shown, asked).mean())

    cells: list[Cell] = []
    pictures = {}
    for name in schedulers:
        runs = {}
        for number in wanted:
            runs[number] = runner.run(name, number, seeds)
            pictures[name, number] = runs[number].pictures
            made(f"{name}, {counted(number, 'step')}")
        cells += _cells(runner, name, runs, converged, goal, measure, alignment)
    return Report(
        cells=_with_front(cells),
        prompts=texts,
        seeds=seeds,
        guidance=guidance,
        model=pipe.model.name or "the model",
        against="converged pictures of other seeds" if real is None else f"{len(goal)} held-out pictures",
        measure=measure.name,
        reference_steps=reference,
        reference_gap=gap,
        converged=converged,
        pictures=pictures,
        judge="" if judge is None else judge.name,
        converged_alignment=alignment(converged),
    )


@dataclass(frozen=True)
class _Measure:
    """The distance between sets of pictures: energy of pixels, or the kernel distance of features."""

    features: Callable[[Tensor], Features] | None
    named: str
    channels: int

    def __post_init__(self) -> None:
        if self.features is not None and self.channels not in (1, 3):
            raise InputError(
                f"the model's samples are latents of {self.channels} channels, which {self.named} cannot look at; "
                "leave the features out."
            )

    @property
    def name(self) -> str:
        return (
            "energy distance of pixels" if self.features is None else f"kernel distance (KID) of {self.named}"
        )

    def of(self, pictures: Tensor) -> Features:
        if self.features is None:
            return pixel_features(pictures)
        if pictures.dtype != torch.uint8:
            pictures = ((pictures + 1.0) * 127.5).round().to(torch.uint8)
        return np.asarray(self.features(pictures), dtype=np.float64)

    def between(self, made: Features, goal: Features) -> Interval:
        """With the interval of half samples, the same halves for every cell."""
        far = energy if self.features is None else kernel
        halves = [far(x, y) for x, y in half_samples(made, goal, _RESAMPLES)]
        return interval(far(made, goal), halves)


def _converged(
    runner: Runner, seeds: tuple[int, ...], made: Callable[[str], None]
) -> tuple[Tensor, int, float]:
    """The solution of this noise: steps are doubled until twice as many change it by less than a thousandth."""
    before = runner.run(REFERENCE, 100, seeds).pictures
    made("the converged solution")
    for steps in (200, 400, 800):
        now = runner.run(REFERENCE, steps, seeds).pictures
        gap = relative_error(before, now)
        made(f"the converged solution, {steps} steps")
        if gap < _AGREED:
            break
        before = now
    return now, steps, gap


def _others(runner: Runner, steps: int, seed: int, count: int) -> Tensor:
    """Converged pictures of other seeds, at least 64, every prompt equally often; about `count` are made at once."""
    words = len(runner.prompts)
    together, whole = max(1, count // words) * words, -(-max(count, 64) // words) * words
    starts = range(0, whole, together)
    runs = [
        runner.run(REFERENCE, steps, range(seed + start, seed + min(start + together, whole)))
        for start in starts
    ]
    return torch.cat([run.pictures for run in runs]).clamp(-1.0, 1.0)


def _cells(
    runner: Runner,
    name: str,
    runs: dict[int, Run],
    converged: Tensor,
    goal: Features,
    measure: _Measure,
    alignment: Callable[[Tensor], float | None],
) -> Iterator[Cell]:
    """Of one scheduler. runs: by their numbers of steps, fewest first."""
    following: list[Run | None] = [*list(runs.values())[1:], None]
    for (steps, run), after in zip(runs.items(), following, strict=True):
        plan, count = runner.plan(name, steps), len(run.pictures)
        quartiles = np.percentile(run.seconds, (25, 50, 75)) * steps / count
        solved = not plan.stochastic
        yield Cell(
            scheduler=name,
            steps=steps,
            stochastic=plan.stochastic,
            calls=len(plan.looks),
            seconds=float(quartiles[1]),
            spread=(float(quartiles[0]), float(quartiles[2])),
            overhead=runner.overhead(name, steps, count),
            error=relative_error(run.pictures, converged) if solved else None,
            similarity=_mean_ssim(run.pictures, converged) if solved else None,
            steadiness=_mean_ssim(run.pictures, after.pictures) if solved and after else None,
            quality=measure.between(measure.of(run.pictures.clamp(-1.0, 1.0)), goal),
            alignment=alignment(run.pictures),
            errors=tuple(each_error(run.pictures, converged)) if solved else (),
        )


def _mean_ssim(x: Tensor, y: Tensor) -> float:
    return float(structural_similarity(x, y).mean())


def _with_front(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, with those marked that no other beats in both calls and error."""
    solved = [(cell.calls, cell.error) for cell in cells if cell.error is not None]

    def on_front(cell: Cell) -> bool:
        calls, error = cell.calls, cell.error
        return error is not None and not any(
            one[0] <= calls and one[1] <= error and one != (calls, error) for one in solved
        )

    return tuple(replace(cell, on_front=on_front(cell)) for cell in cells)


def _checked(real: Tensor, shape: tuple[int, int, int]) -> Tensor:
    typed("real", real, Tensor)
    if tuple(real.shape[1:]) != tuple(shape):
        raise InputError(
            f"the real pictures are {list(real.shape[1:])}, the model makes {list(shape)}; give pictures of its size."
        )
    if len(real) < 8:
        raise InputError(f"{len(real)} real pictures are too few to compare with; give at least 8.")
    check_range(real)
    return real


def _check(prompts: tuple[str, ...], schedulers: Sequence[str], steps: Sequence[int], count: int) -> None:
    if not (prompts and schedulers and steps):
        raise InputError("a comparison needs at least one prompt, one scheduler and one number of steps.")
    whole("count", count, 4, 256, 16)
    for name in schedulers:
        if isinstance(names.get(name), ToTolerance):
            raise InputError(
                f"{name} fits its steps to one picture, and {count} are compared; leave it out, or use DPM fast."
            )
    for number in steps:
        whole("steps", number, 1, 1000, 20)
