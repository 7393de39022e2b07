"""The batch of a step: its pictures and words, its times and its noise, all a function of the step's `draws`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unnoise.process import Level, NoiseSchedule
from unnoise.text import Embedding
from unnoise.training import buckets, order, times
from unnoise.training.augmentation import augmented
from unnoise.training.config import LossConfig, TrainConfig
from unnoise.training.data import PictureSet
from unnoise.training.draws import Draws


@dataclass(frozen=True)
class Batch:
    """A stretch of one global batch, in the order of its positions.

    x0, noise, seen: (batch, C, H, W) float32: clean pictures, the noise that the network is asked for, and
    the noise that is added, which differs with input perturbation. level, caption: one a sample. fraction:
    where in the law of times each level came from. weight: (batch,) of each loss, None for 1.
    told: what the captions say, where that is known before the step. sizes: (batch, 6), what Stable Diffusion XL is
    told of each picture's size and cut.
    """

    x0: Tensor
    noise: Tensor
    seen: Tensor
    level: Level
    captions: tuple[str, ...]
    fraction: Tensor
    weight: Tensor | None = None
    told: Embedding | None = None
    sizes: Tensor | None = None

    def part(self, start: int, stop: int) -> Batch:
        """The samples at places start to stop - 1 of this stretch."""
        cut = slice(start, stop)
        weight, sizes = (None if held is None else held[cut] for held in (self.weight, self.sizes))
        told = None if self.told is None else self.told.rows(range(start, stop))
        return Batch(
            self.x0[cut],
            self.noise[cut],
            self.seen[cut],
            self.level.rows(cut),
            self.captions[cut],
            self.fraction[cut],
            weight,
            told,
            sizes,
        )

    def to(self, device: torch.device) -> Batch:
        """The same with its pictures and noise on a device; levels stay on the host."""
        x0, noise = (tensor.to(device, non_blocking=True) for tensor in (self.x0, self.noise))
        seen = noise if self.seen is self.noise else self.seen.to(device, non_blocking=True)
        told = None if self.told is None else self.told.to(device)
        return replace(self, x0=x0, noise=noise, seen=seen, told=told)

    def bent(self, moments: times.SecondMoments, loss: LossConfig, schedule: NoiseSchedule) -> Batch:
        """The same pictures and noise at the levels, and with the weights, of importance sampling."""
        fraction, weight = moments.bend(self.fraction)
        if self.weight is not None:
            weight = weight * self.weight
        level = times.levels(loss, schedule, fraction)
        return replace(self, fraction=fraction, weight=weight, level=level)


def draw(
    config: TrainConfig,
    pictures: PictureSet,
    schedule: NoiseSchedule,
    step: int,
    positions: Sequence[int] | None = None,
) -> Batch:
    """The batch of `step`, counted from 0, at these positions of it (None: all): pictures, words, times, noise."""
    batch = config.run.batch
    draws = Draws(config.run.seed, step, range(batch) if positions is None else positions)
    x0, places, weight = _shown(batch, pictures, draws)
    known = [shown.captions[index] for shown, index in places]
    x0 = augmented(x0, config.data, draws, known)
    captions = _said(config, draws, known)
    told, sizes = None, None
    if pictures.frozen is not None:
        x0, told, sizes = pictures.frozen.read(x0, places, captions, draws, "latent")
    noise, seen = _noise(config.loss, draws, x0.shape[1:])
    fraction = times.fractions(draws, batch, config.loss.stratified)
    level = times.levels(config.loss, schedule, fraction)
    return Batch(x0, noise, seen, level, captions, fraction, weight, told, sizes)


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


def _shown(
    batch: int, pictures: PictureSet, draws: Draws
) -> tuple[Tensor, list[tuple[PictureSet, int]], Tensor | None]:
    """The pictures as they are in the data, of which set each is and which of that, and the weights, see `Batch`."""
    prior = pictures.prior
    if prior is None:
        indices = _indices(draws, batch, pictures)
        x0, shown = pictures.take(indices)
        return x0.float() / 127.5 - 1.0, [(pictures, index) for index in shown], None
    # Positions 0, 2, 4, ... are a batch half as large; each of the others is one of the class, in the same shape.
    half = replace(draws, positions=[position // 2 for position in draws.positions])
    indices = _indices(half, batch // 2, pictures)
    theirs, pool = prior.at(half, batch // 2), prior.shown(pictures.shape_of(indices[0]))
    odd = [bool(position % 2) for position in draws.positions]
    both = zip(odd, indices, theirs, strict=True)
    asked = [(pool, other) if of_class else (pictures, own) for of_class, own, other in both]
    found = [(of, *of.take([index])) for of, index in asked]
    x0 = torch.cat([picture for _, picture, _ in found]).float() / 127.5 - 1.0
    weight = torch.tensor(
        [prior.weight if of_class else 1.0 for of_class in odd], dtype=torch.float64, device="cpu"
    )
    return x0, [(of, index) for of, _, (index,) in found], weight


def _indices(draws: Draws, batch: int, pictures: PictureSet) -> list[int]:
    """The pictures at these positions: of all in one order, or of one bucket."""
    found = pictures.buckets
    if len(found) == 1:
        return order.pictures_at(draws.seed, draws.samples(batch), len(pictures))
    counts = [len(indices) for _, indices in found]
    bucket, places = buckets.batch_at(draws.seed, draws.step, batch, counts, draws.positions)
    return [found[bucket][1][place] for place in places]


def _noise(loss: LossConfig, draws: Draws, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The noise to be predicted and the noise to be added: (positions, C, H, W) each, one tensor where equal."""
    noise = draws.normal("noise", shape)
    if loss.offset_noise:
        noise = noise + loss.offset_noise * draws.normal("offset", (shape[0], 1, 1))
    if not loss.input_perturbation:
        return noise, noise
    return noise, noise + loss.input_perturbation * draws.normal("perturbation", shape)


def _said(config: TrainConfig, draws: Draws, captions: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """One of each picture's captions, or none at all with the probability of caption dropout."""
    # without its word nothing would learn
    dropout = 0.0 if config.word.model else config.loss.caption_dropout
    drawn = zip(captions, draws.uniform("caption-dropout"), draws.uniform("caption"), strict=True)
    return tuple(
        words[int(place * len(words))] if words and kept >= dropout else "" for words, kept, place in drawn
    )
