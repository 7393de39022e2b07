"""What training does not see: loss and bound of held-out pictures, with noise and times that never change.

Two validations differ by the network alone, so their difference can be judged picture by picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.errors import InputError, NonFiniteError
from unnoise.evaluation import bits_per_dim
from unnoise.evaluation.pictures import spread
from unnoise.evaluation.subject import Draw, keyed
from unnoise.limits import counted
from unnoise.process import NoiseSchedule
from unnoise.training import times
from unnoise.training.batches import Batch
from unnoise.training.config import TrainConfig
from unnoise.training.data import PictureSet
from unnoise.training.draws import Draws
from unnoise.training.objective import Objective

BANDS = 8
LEAST = 8
"""Pictures below which a mean difference has no error bar to speak of."""
_MOST = 256


def split(pictures: PictureSet, share: float) -> tuple[PictureSet, PictureSet]:
    """The pictures to train on and those to hold out: a function of their names, so a longer folder keeps its split.

    Raises InputError when too few are left on either side.
    """
    count = round(share * len(pictures))
    if count < LEAST or count >= len(pictures):
        raise InputError(
            f"data.held_out is {share}: {count} of {len(pictures)} pictures; hold out at least {LEAST} and not all, "
            "with a larger share or more pictures."
        )
    by_name = sorted(
        range(len(pictures)), key=lambda i: (randomness.uniform(0, f"held-out {pictures.paths[i].name}"), i)
    )
    held = set(by_name[:count])
    rest = [index for index in range(len(pictures)) if index not in held]
    return pictures.select(rest), pictures.select(sorted(held))


def apart(pictures: PictureSet, unseen: PictureSet, folder: Path) -> tuple[PictureSet, PictureSet]:
    """The pictures to train on, which do not lie in the folder of held-out ones, and those of the folder.

    Held-out ones that lie among the others have the words that they would have there: a table above their folder, or
    the folder's own name, may say them.

    Raises InputError where too few are held out, or none is left.
    """
    if len(unseen) < LEAST:
        raise InputError(
            f"data.held_out_from has {counted(len(unseen), 'picture')}; give a folder with at least {LEAST}."
        )
    held = folder.resolve()
    parents = {path.parent for path in pictures.paths}
    within = {parent: parent.resolve().is_relative_to(held) for parent in parents}
    rest = [index for index, path in enumerate(pictures.paths) if not within[path.parent]]
    among = {*range(len(pictures))} - {*rest}
    words = {pictures.paths[index].resolve(): pictures.captions[index] for index in among}
    each = zip(unseen.paths, unseen.captions, strict=True)
    told = replace(unseen, captions=tuple(words.get(path.resolve(), own) for path, own in each))
    if not rest:
        raise InputError(
            f"data.held_out_from is '{folder}', in which all pictures to train on lie; give another folder."
        )
    return pictures.select(rest) if among else pictures, told


def batches(
    config: TrainConfig, pictures: PictureSet, schedule: NoiseSchedule
) -> Iterator[tuple[int, Batch]]:
    """The fixed batches: (band, batch), bands of equal probability under the law of times, cleanest first.

    At most 256 pictures, bucket by bucket, each once in each band with a level and a noise of its own.
    """
    shown = _shown(pictures)
    for band in range(BANDS):
        for chosen in _parts(config, shown):
            yield band, _fixed(config, shown, schedule, band, chosen)


@torch.no_grad()
def measure(objective: Objective, config: TrainConfig, pictures: PictureSet, device: torch.device) -> Tensor:
    """Loss of each picture in each band: float64, on the host, shape (pictures, BANDS). `objective` is in eval mode."""
    rows: list[list[Tensor]] = [[] for _ in range(BANDS)]
    for band, batch in batches(config, pictures, objective.model.schedule):
        rows[band].append(objective.errors(batch.to(device)).double().cpu())
    return torch.stack([torch.cat(row) for row in rows], dim=1)


@torch.no_grad()
def bound(objective: Objective, config: TrainConfig, pictures: PictureSet, device: torch.device) -> Tensor:
    """The continuous-time bound of each picture, bits/dim (Kingma et al. 2021): float64, on the host.

    Eight looks a picture, at log-SNRs and with noises that stay; the float64 arithmetic takes a batch at a time. Empty
    for models of latents, whose bound is none of the picture's, and where it is not finite.
    """
    if objective.model.autoencoder is not None:
        return torch.zeros(0, dtype=torch.float32, device="cpu")
    shown, found = _shown(pictures), []
    for chosen in _parts(config, shown):
        batch = _fixed(config, shown, objective.model.schedule, 0, chosen).to(device)
        try:
            likelihood = bits_per_dim(
                objective.model.diffuser,
                batch.x0,
                "vdm",
                calls=BANDS,
                conditioning=objective.conditioning(batch),
                seed=config.run.seed,
                batch=len(chosen),
                draw=_noise_of(config.run.seed, chosen, batch.x0.shape[1:]),
            )
        except NonFiniteError:
            return torch.zeros(0, dtype=torch.float32, device="cpu")
        found.append(likelihood.each)
    return torch.cat(found)


def _shown(pictures: PictureSet) -> PictureSet:
    """At most 256 of them, evenly over the names: the first would often be of one folder, of one kind."""
    return pictures.select(spread(len(pictures), _MOST))


def _parts(config: TrainConfig, pictures: PictureSet) -> Iterator[Sequence[int]]:
    """The pictures' places, bucket by bucket, as many at a time as a step takes at once."""
    size = config.run.batch // config.run.accumulate
    for _, indices in pictures.buckets:
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def _noise_of(seed: int, chosen: Sequence[int], shape: Sequence[int]) -> Draw:
    """Each picture's own noise, wherever it stands in a part."""
    source = keyed(seed, shape)
    return lambda purpose, place, number: source(purpose, chosen[place], number)


def _fixed(
    config: TrainConfig, pictures: PictureSet, schedule: NoiseSchedule, band: int, chosen: Sequence[int]
) -> Batch:
    draws = Draws(config.run.seed, band, chosen)
    read, shown = pictures.take(chosen)
    x0 = read.float() / 127.5 - 1.0
    captions = tuple(pictures.captions[i][0] if pictures.captions[i] else "" for i in shown)
    told, sizes = None, None
    if pictures.frozen is not None:
        places = [(pictures, i) for i in shown]
        x0, told, sizes = pictures.frozen.read(x0, places, captions, draws, "held-out latent")
    noise = draws.normal("held-out noise", x0.shape[1:])
    inside = torch.tensor(draws.uniform("held-out time"), dtype=torch.float64, device="cpu")
    fraction = ((band + inside) / BANDS).clamp(1e-9, 1.0 - 1e-9)
    level = times.levels(config.loss, schedule, fraction)
    return Batch(x0, noise, noise, level, captions, fraction, told=told, sizes=sizes)


@dataclass(frozen=True)
class Curve:
    """The held-out curve so far: its lowest point, and whether it has turned.

    The rule: training over-fits since the step of the lowest mean when two validations in a row lie above it
    by at least one percent of it and by three standard errors of the mean difference over pictures. A new lowest
    point takes the verdict back.

    step, best: of the lowest point, with the loss of each picture. rises: validations in a row that lie above. A
    checkpoint holds these three.
    """

    step: int = 0
    best: Sequence[float] = ()
    rises: int = 0

    @property
    def overfitting_since(self) -> int | None:
        """The step of the lowest point once the curve has turned, else None."""
        return self.step if self.rises >= 2 else None

    def then(self, step: int, losses: Tensor) -> Curve:
        """The curve with one more validation; losses: (pictures,). One that is not finite says nothing."""
        mean = float(losses.mean())
        if not math.isfinite(mean):
            return self
        lowest = sum(self.best) / max(1, len(self.best))
        if len(self.best) != len(losses) or mean < lowest:
            return Curve(step, losses.tolist())
        above = losses - losses.new_tensor(self.best)
        sure = float(above.mean()) > 3.0 * standard_error(above)
        much = float(above.mean()) > 0.01 * lowest
        return Curve(self.step, self.best, self.rises + 1 if sure and much else 0)


def standard_error(values: Tensor) -> float:
    """Of the mean of independent values (n,), n at least 2."""
    return float(values.std()) / math.sqrt(len(values))
