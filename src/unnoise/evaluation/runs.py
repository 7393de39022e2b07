"""Runs of a pipeline, timed step by step and kept on disk, so that a broken comparison goes on where it stopped."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from unnoise import files
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Plan, Scheduler, names


class Pipe(Protocol):
    """What a comparison needs of a pipeline; `pipelines.TextToImage` is one."""

    model: Any

    @property
    def denoise(self) -> Callable[..., Iterator[Any]]:
        """(prompts, *, seeds, steps, scheduler, guidance) -> the run's steps, each with x, the sample after it."""


@dataclass(frozen=True, eq=False)
class Run:
    """pictures: float32 (pictures, channels, height, width). seconds: of each step, for all pictures together."""

    pictures: Tensor
    seconds: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Runner:
    """Makes runs of one pipeline with fixed prompts and guidance; finished ones come from `cache`.

    A run is known by the model's weights and adapters, what its numbers mean and in what they are computed, the size of
    its samples, the prompts, the seeds, the guidance, the scheduler's parts and the steps. Of weights that have no file
    nothing is kept.
    """

    pipe: Pipe
    prompts: tuple[str, ...]
    guidance: float | None = None
    cache: Path | None = None

    def plan(self, scheduler: str | Scheduler, steps: int) -> Plan:
        """The numbers of such a run."""
        return names.get(scheduler).plan(self.pipe.model.schedule, steps)

    def run(self, scheduler: str | Scheduler, steps: int, seeds: Sequence[int]) -> Run:
        """The finished run; prompts are repeated in turn over the seeds."""
        path = self._path(scheduler, steps, seeds)
        if path and (kept := _read(path)):
            return kept
        prompts = [self.prompts[place % len(self.prompts)] for place in range(len(seeds))]
        steps_of = self.pipe.denoise(
            prompts, seeds=list(seeds), steps=steps, scheduler=scheduler, guidance=self.guidance
        )
        seconds, last, before = [], None, time.perf_counter()
        for step in steps_of:
            now = time.perf_counter()
            seconds.append(now - before)
            before, last = now, step.x
        assert last is not None
        made = Run(last.detach().float().cpu().clone(), tuple(seconds))
        if path:
            _write(path, made)
        return made

    def overhead(self, scheduler: str | Scheduler, steps: int, count: int) -> float:
        """Seconds a step that the scheduler itself takes, its network answering at once; the least of three runs."""
        plan, shape = self.plan(scheduler, steps), self.pipe.model.shape
        x = torch.zeros(count, *shape, dtype=torch.float32, device="cpu")
        source = NoiseSource(tuple(range(count)))
        taken = []
        for _ in range(3):
            before = time.perf_counter()
            for _ in plan.run(lambda x, level: x, x, source):
                pass
            taken.append(time.perf_counter() - before)
        return min(taken) / steps

    def _path(self, scheduler: str | Scheduler, steps: int, seeds: Sequence[int]) -> Path | None:
        if self.cache is None or not self._weights:
            return None
        model = self.pipe.model
        beside = [one.told for one in (*model.adapters, *model.taught, *model.companions)]
        run = [self.prompts, list(seeds), self.guidance, repr(names.get(scheduler)), steps]
        meant = [repr(model.schedule), model.prediction, model.clip, model.engine, str(model.network.dtype)]
        facts = [self._weights, beside, meant, model.clip_skip, list(model.shape), *run]
        digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()
        return self.cache / f"{digest}.npz"

    @functools.cached_property
    def _weights(self) -> str:
        """Their file's hash, for which all of it is read; "" where there is none."""
        return str(self.pipe.model.fingerprint())


def _read(path: Path) -> Run | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return Run(torch.from_numpy(kept["pictures"]), tuple(kept["seconds"].tolist()))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # a missing or damaged one is made
        return None


def _write(path: Path, run: Run) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, pictures=run.pictures.numpy(), seconds=np.array(run.seconds))
    files.write_bytes(path, buffer.getvalue())
