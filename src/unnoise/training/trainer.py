"""The training run: from a folder of pictures to a model, told step by step to whoever iterates.

for event in train(Path("pictures"), Path("run"), config):
    ...
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from unnoise import checkpoints as models
from unnoise.errors import InputError, NonFiniteError
from unnoise.training import batches, checkpoints, run_folder, samples, state
from unnoise.training.build import build_model
from unnoise.training.config import TrainConfig
from unnoise.training.data import PictureSet, open_pictures
from unnoise.training.events import Event, Finished, Progress, Sampled, Saved, Skipped, Started, Stopped
from unnoise.training.learner import Learner, StepResult
from unnoise.training.stopping import stop_requests


def train(data: Path, out: Path, config: TrainConfig | None = None, resume: bool = False) -> Iterator[Event]:
    """Train on the pictures below `data`, into the run folder `out`; a generator of what happens.

    config: None for the defaults, or with `resume` for the run's own. Ends with `Finished`, or with
    `Stopped` after a checkpoint when the process was asked to stop (SIGTERM, Ctrl-C).

    Raises, before the first step and before anything is written: InputError for settings that do not fit and
    for a folder that exists; DataError for pictures that cannot be used. Later: FileError for a disk that is
    full, NonFiniteError after run.patience bad steps in a row.
    """
    return Trainer(data, out, config, resume).run()


class Trainer:
    """One run. Making it checks everything and reads the pictures; `run` writes and trains."""

    def __init__(
        self, data: Path, out: Path, config: TrainConfig | None = None, resume: bool = False
    ) -> None:
        self.out = Path(out)
        self.resume = resume
        self.config = run_folder.agree(self.out, config, resume)
        device = pick_device(self.config.run.device)
        run, shape = self.config.run, self.config.model.shape
        self.pictures = open_pictures(Path(data), shape, self.config.data)
        words = {caption for captions in self.pictures.captions for caption in captions}
        self.model = build_model(self.config.model, words, run.seed)
        self.learner = Learner(self.config, self.model, device)
        self.step = 0
        self.skipped = 0
        self.notes = _data_notes(self.pictures, run.batch)

    def run(self) -> Iterator[Event]:
        """Train from the newest complete checkpoint, or from nothing, to the last step."""
        with run_folder.hold(self.out), stop_requests() as asked:
            run_folder.create(self.out, self.config, self.resume)
            saved = self._take_up()
            self.log = run_folder.Log(self.out, self.step)
            yield self._started()
            draw = functools.partial(batches.draw, self.config, self.pictures, self.model.schedule)
            run, begun, bad = self.config.run, time.perf_counter(), 0
            since = self.step
            for batch in batches.ahead(draw, self.step, run.steps, run.workers):
                result = self.learner.advance(self.step, batch)
                self.step += 1
                if not result.applied:
                    bad += 1
                    yield self._skipped(result, bad)
                else:
                    bad = 0
                if result.applied and self._due(run.log_every):
                    now = time.perf_counter()
                    yield self._progress(result, (self.step - since) * run.batch / max(now - begun, 1e-9))
                    begun, since = now, self.step
                if self._due(run.checkpoint_every) or asked.is_set():
                    saved = self._save()
                    yield Saved(self.step, saved)
                if self._due(run.sample_every):
                    yield from self._sample()
                if asked.is_set() and self.step < run.steps and saved is not None:
                    yield Stopped(self.step, saved)
                    return
            if saved is None or saved.name != f"step-{self.step:06d}":
                yield Saved(self.step, self._save())
            yield Finished(self.step, self._export())

    def _due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.config.run.steps)

    def _take_up(self) -> Path | None:
        """Go to the newest complete checkpoint of the run, when there is one."""
        checkpoints.sweep(self.out)
        found, faults = checkpoints.newest(self.out)
        self.notes += faults
        if found is None:
            return None
        saved = state.read(self.learner, found.folder)
        self.step, self.skipped = found.step, saved["skipped"]
        if saved["data"] != self.pictures.digest():
            self.notes.append("the pictures or captions are not those that the run began with.")
        if saved["machine"] != state.machine(self.learner):
            self.notes.append(
                "the run began on another machine or library version: the last digits may differ."
            )
        return found.folder

    def _save(self) -> Path:
        write = functools.partial(
            state.write, self.learner, step=self.step, data=self.pictures.digest(), skipped=self.skipped
        )
        return checkpoints.save(self.out, self.step, write, self.config.run.keep).folder

    def _sample(self) -> Iterator[Sampled]:
        """Draw the grid; an average too young to draw with is logged, and is no reason to stop training."""
        path = self.out / "samples" / f"step-{self.step:06d}.png"
        prompts = samples.prompts_for(self.config.run, self.pictures)
        try:
            samples.write_grid(self.learner.averaged(), prompts, path)
        except NonFiniteError as error:
            self.log.write({"step": self.step, "samples": str(error)})
        else:
            yield Sampled(self.step, path)

    def _export(self) -> Path:
        """The averaged model as `RUN/model`; one that an earlier, shorter run left gives way to it."""
        folder = self.out / "model"
        checkpoints.discard(folder)
        return models.save(self.learner.averaged(), folder)

    def _started(self) -> Started:
        weights = sum(weight.numel() for weight in self.learner.parameters)
        words, device = self.pictures.captioned, str(self.learner.device)
        steps = self.config.run.steps
        return Started(self.step, steps, len(self.pictures), words, weights, device, tuple(self.notes))

    def _progress(self, result: StepResult, speed: float) -> Progress:
        steps = self.config.run.steps
        event = Progress(
            self.step, steps, result.loss, result.gradient_norm, result.lr, round(speed, 1), self.skipped
        )
        self.log.write(asdict(event))
        return event

    def _skipped(self, result: StepResult, bad: int) -> Skipped:
        self.skipped += 1
        event = Skipped(self.step, result.loss, bad)
        self.log.write({**asdict(event), "loss": str(result.loss)})
        if bad >= self.config.run.patience:
            raise NonFiniteError(
                f"training: the loss or its gradient was not finite in {bad} steps in a row, up to step {self.step} "
                f"(loss {result.loss}). Lower optimizer.lr ({self.config.optimizer.lr}) and go on from "
                "a checkpoint with a new run, or look for broken pictures."
            )
        return event


def pick_device(name: str) -> torch.device:
    """The device of this name; "auto" is the first GPU, else the CPU. Raises InputError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"run.device is '{name}', which is not here: {str(error).splitlines()[0]} Use auto or cpu."
        ) from error
    return device


def _data_notes(pictures: PictureSet, batch: int) -> list[str]:
    notes = [f"skipped: {sentence}" for sentence in pictures.corrupt[:20]]
    if pictures.corrupt:
        notes.append(f"{len(pictures.corrupt)} corrupt pictures skipped; --strict refuses them instead.")
    if pictures.ignored:
        notes.append(f"{pictures.ignored} files are not pictures and were ignored.")
    if batch > len(pictures):
        notes.append(f"a batch of {batch} shows each of the {len(pictures)} pictures more than once.")
    return notes
