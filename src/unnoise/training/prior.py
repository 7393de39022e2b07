"""Pictures of a class that a model knows, shown beside those of the one thing that it learns (DreamBooth)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unnoise import images
from unnoise.checkpoints import Model
from unnoise.files import expanded
from unnoise.training.config import DataConfig
from unnoise.training.data import PictureSet, open_pictures
from unnoise.training.draws import Draws
from unnoise.training.order import pictures_at
from unnoise.training.tuning_config import PriorConfig

FOLDER = "class"
TOGETHER = 4
"""Pictures made at once."""


@dataclass(frozen=True)
class Prior:
    """pictures: of the class, their caption is the prompt. weight: of their loss."""

    pictures: PictureSet
    weight: float

    def at(self, draws: Draws, batch: int) -> list[int]:
        """Which of them stand at these positions of a step's `batch` pictures of the class."""
        return pictures_at(draws.seed, draws.samples(batch), len(self.pictures), -1)  # no bucket is -1

    def shown(self, shape: tuple[int, int, int]) -> PictureSet:
        """The pictures in the shape of a batch."""
        same = shape == self.pictures.shape
        return self.pictures if same else replace(self.pictures, shape=shape, cache=None)


def open_prior(config: PriorConfig, run: Path, shape: tuple[int, int, int], data: DataConfig) -> Prior:
    """The pictures of the class as they stand in their folder. Raises DataError as `open_pictures`."""
    plain = DataConfig(caption=config.prompt, strict=data.strict, cache_mb=data.cache_mb)
    folder = expanded(config.pictures) if config.pictures else run / FOLDER
    return Prior(open_pictures(folder, shape, plain), config.weight)


def missing(config: PriorConfig, run: Path) -> list[int]:
    """Numbers of the pictures that are to be made; none where a folder of them is given."""
    if not config.prompt or config.pictures:
        return []
    return [number for number in range(config.count) if not _path(run, number).is_file()]


def make(
    config: PriorConfig, run: Path, base: Model, numbers: Sequence[int], stop: Callable[[], bool]
) -> None:
    """Draw these few pictures of the class with the model as it is, each with its number as its seed, into RUN/class.

    They are written one by one, so that a run that was cut goes on with those that are left. Raises KeyboardInterrupt
    where `stop` is true.
    """
    from unnoise.pipelines import TextToImage

    pipe = TextToImage(base)
    steps, guidance = config.steps or None, config.guidance or None
    if stop():
        raise KeyboardInterrupt
    with _at_rest(base):
        made = pipe([config.prompt] * len(numbers), seeds=numbers, steps=steps, guidance=guidance)
    for number, picture in zip(numbers, made.images, strict=True):
        images.write_png(_path(run, number), picture)


@contextlib.contextmanager
def _at_rest(model: Model) -> Iterator[None]:
    """A block in which the networks, which may be those that learn, drop nothing out."""
    learning = [part for part in model.parts.values() if part.training]
    try:
        for part in learning:
            part.eval()
        yield
    finally:
        for part in learning:
            part.train()


def _path(run: Path, number: int) -> Path:
    return run / FOLDER / f"{number:05d}.png"
