"""Everything random in a training step, drawn as a pure function of (seed, step, position in the batch)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.process import Level, NoiseSchedule
from unnoise.training import order, times
from unnoise.training.config import TrainConfig
from unnoise.training.data import PictureSet


@dataclass(frozen=True)
class Batch:
    """One global batch: clean pictures and noise (batch, C, H, W) float32, a level and a caption a sample."""

    x0: Tensor
    noise: Tensor
    level: Level
    captions: tuple[str, ...]

    def part(self, start: int, stop: int) -> Batch:
        """The samples at positions start to stop - 1."""
        cut = slice(start, stop)
        level = Level(
            *(torch.as_tensor(n)[cut] for n in (self.level.time, self.level.alpha, self.level.sigma))
        )
        return Batch(self.x0[cut], self.noise[cut], level, self.captions[cut])


def draw(config: TrainConfig, pictures: PictureSet, schedule: NoiseSchedule, step: int) -> Batch:
    """The batch of `step`, counted from 0: pictures, mirroring, captions, times and noise."""
    seed, batch = config.run.seed, config.run.batch
    indices = order.batch_at(seed, step, batch, len(pictures))
    x0 = pictures.read(indices).float() / 127.5 - 1.0
    if config.data.mirror:
        flips = [randomness.uniform(seed, "mirror", step, position) < 0.5 for position in range(batch)]
        x0[flips] = x0[flips].flip(-1)
    noise = [
        randomness.normal(seed, "noise", step, position, shape=x0.shape[1:]) for position in range(batch)
    ]
    fraction = times.fractions(seed, step, range(batch), batch, config.loss.stratified)
    captions = tuple(
        _caption(config, pictures.captions[i], step, position) for position, i in enumerate(indices)
    )
    return Batch(x0, torch.stack(noise), times.levels(config.loss, schedule, fraction), captions)


def ahead(draw_step: Callable[[int], Batch], start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps start to stop - 1 in order, up to `workers` of them prepared in advance by threads."""
    if workers == 0:
        yield from map(draw_step, range(start, stop))
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Batch]] = deque()
    try:
        for step in range(start, stop):
            waiting.append(pool.submit(draw_step, step))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _caption(config: TrainConfig, captions: tuple[str, ...], step: int, position: int) -> str:
    """One of the picture's captions, or none at all with the probability of caption dropout."""
    seed = config.run.seed
    if (
        not captions
        or randomness.uniform(seed, "caption-dropout", step, position) < config.loss.caption_dropout
    ):
        return ""
    return captions[int(randomness.uniform(seed, "caption", step, position) * len(captions))]
