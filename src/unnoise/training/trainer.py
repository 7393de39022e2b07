"""The training run: from a folder of pictures to a model, told step by step to whoever iterates.

for event in train(Path("pictures"), Path("run"), config):
    ...
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from unnoise import checkpoints as models
from unnoise.checkpoints import Model
from unnoise.errors import InputError, NonFiniteError
from unnoise.files import expanded
from unnoise.limits import counted
from unnoise.networks import heap
from unnoise.training import (
    batches,
    checkpoints,
    frozen,
    held_out,
    optimizers,
    prior,
    profiles,
    report,
    run_folder,
    samples,
    state,
    tensorboard,
    tuning,
    unread,
    whole,
)
from unnoise.training.build import build_model, check_multiple
from unnoise.training.config import TrainConfig
from unnoise.training.data import PictureSet, Tell, data_notes, open_pictures
from unnoise.training.events import (
    Drawn,
    Event,
    Finished,
    Progress,
    Sampled,
    Saved,
    Skipped,
    Started,
    Stopped,
    Validated,
)
from unnoise.training.inversion import captions_with
from unnoise.training.learner import Learner, StepResult
from unnoise.training.objective import Objective
from unnoise.training.repeats import repeated
from unnoise.training.stopping import stop_requests
from unnoise.training.world import World, join

_UNSEEN = "the held-out pictures"


def train(
    data: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    resume: bool = False,
    reading: Tell | None = None,
) -> Iterator[Event]:
    """Train on the pictures below `data`, into the run folder `out`; a generator of what happens.

    config: None for the defaults, or with `resume` for the run's own. reading: told (done, total) while the
    pictures are first decoded. Ends with `Finished`, or with `Stopped` after a checkpoint when the process was
    asked to stop (SIGTERM, Ctrl-C). Started by torchrun, the processes train as one and the first one writes.

    Raises, before the first step and before anything is written: InputError for settings that do not fit and
    for a folder that exists; DataError for pictures that cannot be used. Later: FileError for a disk that is
    full, NonFiniteError after run.patience bad steps in a row.
    """
    return Trainer(data, out, config, resume, reading).run()


class Trainer:
    """One run. Making it checks everything and reads the pictures; `run` writes and trains.

    A caller that computes without gradients, as services of models do, need not say otherwise for it.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        data: str | Path,
        out: str | Path,
        config: TrainConfig | None = None,
        resume: bool = False,
        reading: Tell | None = None,
    ) -> None:
        self.out = expanded(out)
        self.resume = resume
        self.world = join()
        self.config = self.world.led(lambda: run_folder.agree(self.out, config, resume))
        if self.config.run.tensorboard:
            tensorboard.check()
        optimizers.check(self.config.optimizer, self.config.run.shard)
        device = pick_device(self.config.run.device, self.world)
        run = self.config.run
        self.positions = self.world.stretch(run.batch)
        self.base = tuning.open_base(self.config, device) if self.config.base else None
        self.known = replace(self.config, model=tuning.settled(self.config, self.base))
        self.pictures, self.unseen = open_data(expanded(data), self.known, reading)
        captions = (*self.pictures.captions, *self.unseen.captions)
        words = {caption for each in captions for caption in each}
        begun = self.base or self._begun_with(words)
        self.tuning = tuning.begin(self.config, begun)
        self.model = self.tuning.model
        self._freeze()
        self.unmade = self._unmade()
        if self.base is None:
            check_multiple("data.bucket_step", self.config.data.bucket_step, self.model.network.config.factor)
        self.prompts = samples.prompts_for(run, self.pictures, self.model)
        if run.sample_every:
            samples.check(self.model, self.prompts)
        self.learner = Learner(self.config, self.tuning, device, self.world)
        self.step = self.skipped = self.bad = 0
        self.curve = held_out.Curve()
        self.notes = data_notes(self.pictures, self.unseen, run.batch) + self._notes(words)

    # of a generator it holds while that runs, not for the caller between two events
    @torch.inference_mode(False)
    def run(self) -> Iterator[Event]:
        """Train from the newest complete checkpoint, or from nothing, to the last step."""
        with contextlib.ExitStack() as open_until_the_end:
            open_until_the_end.callback(heap.hand_back)
            events = open_until_the_end.enter_context(contextlib.closing(self._run()))
            boards: list[tensorboard.Board] = []
            for event in events:
                if self.world.leads:
                    if isinstance(event, Started) and self.config.run.tensorboard:
                        boards = [tensorboard.Board(self.out, self.step)]
                        open_until_the_end.callback(boards[0].close)
                    for board in boards:
                        board.see(event)
                    if isinstance(event, Validated | Finished | Stopped):
                        report.write(self.out)
                yield event

    def _run(self) -> Generator[Event, None, None]:
        held = run_folder.hold(self.out) if self.world.leads else contextlib.nullcontext()
        with held, stop_requests() as asked:
            self.world.led(lambda: run_folder.create(self.out, self.config, self.resume))
            yield from self._make_prior(asked.is_set)
            saved = self._take_up()
            self.log = run_folder.Log(self.out, self.step, self.config.run.steps, writes=self.world.leads)
            yield self._started()
            run, schedule = self.config.run, self.model.schedule
            draw = functools.partial(
                batches.draw, self.config, self.pictures, schedule, positions=self.positions
            )
            self._begun, self._since = time.perf_counter(), self.step
            for batch in batches.ahead(draw, self.step, run.steps, run.workers):
                result = self.learner.advance(self.step, batch)
                self.step += 1
                self.bad = 0 if result.applied else self.bad
                if not result.applied:
                    yield self._skipped(result)
                elif self._due(run.log_every):
                    yield self._progress(result)
                yield from self._looked_at()
                stopping = self.world.any(asked.is_set(), self.learner.device)
                if self._due(run.checkpoint_every) or stopping:
                    saved = self._save()
                    yield Saved(self.step, saved)
                if stopping and self.step < run.steps and saved is not None:
                    self.log.write({"event": "stopped", "step": self.step})
                    yield Stopped(self.step, saved)
                    return
            if saved is None or saved.name != f"step-{self.step:06d}":
                yield Saved(self.step, self._save())
            yield Finished(self.step, state.export(self.learner, self.out, len(self.pictures)))

    def _due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.config.run.steps)

    def _freeze(self) -> None:
        """Put before the network what the data goes through first, where the base has such."""
        if self.model.autoencoder is None:
            return
        known = frozen.Frozen(self.tuning.base, self.config.data, text=not self.tuning.reads)
        self.pictures, self.unseen = (replace(each, frozen=known) for each in (self.pictures, self.unseen))

    def _open_prior(self) -> None:
        opened = prior.open_prior(self.config.prior, self.out, self.pictures.shape, self.config.data)
        self.pictures = replace(self.pictures, prior=opened)

    def _unmade(self) -> list[int]:
        """The pictures of the class that are to be made before the first step; others are opened now."""
        wanted = self.world.led(lambda: prior.missing(self.config.prior, self.out))
        if self.config.prior.prompt and not wanted:
            self._open_prior()
        return wanted

    def _make_prior(self, stop: Callable[[], bool]) -> Iterator[Event]:
        total = len(self.unmade)
        for start in range(0, total, prior.TOGETHER):
            yield Drawn(start, total)
            few = self.unmade[start : start + prior.TOGETHER]
            # a few at a time: other processes do not wait for more than they would for a step
            self.world.led(
                functools.partial(prior.make, self.config.prior, self.out, self.tuning.base, few, stop)
            )
        if self.unmade:
            yield Drawn(total, total)
            self._open_prior()

    def _notes(self, words: Iterable[str]) -> list[str]:
        """What a person should know of this run beside its pictures."""
        notes = tuning.notes(self.tuning.base, words)
        latents = self.model.autoencoder is not None
        notes += unread.notes(self.known, self.pictures.captioned, latents, len(self.unseen) > 0)
        if self.unmade:
            made, folder = counted(len(self.unmade), "picture"), self.out / prior.FOLDER
            notes.append(
                f"{made} of '{self.config.prior.prompt}' are made before the first step, into {folder}."
            )
        if self.config.run.shard and not self.learner.sharded:
            notes.append("one process trains alone, so that run.shard divides nothing; start with torchrun.")
        return notes

    def _begun_with(self, words: Iterable[str]) -> Model:
        """A new model; of a run that goes on its checkpoint's, whose vocabulary holds whatever the captions now are.

        `model.start` and `model.words` then are needed no more.
        """
        found = checkpoints.newest(self.out)[0] if self.resume else None
        if found is None:
            return build_model(self.config.model, words, self.config.run.seed)
        return models.load(found.folder / whole.FILE)

    def _take_up(self) -> Path | None:
        """Go to the newest complete checkpoint of the run, when there is one."""
        found, faults = self.world.led(lambda: checkpoints.swept(self.out))
        self.notes += faults
        if found is None:
            return None
        saved = state.read(self.learner, found.folder)
        self.step, self.skipped, self.bad = found.step, saved["skipped"], saved["bad"]
        self.world.led(lambda: profiles.sweep(self.out, self.step))
        seen = self._digests()
        changed = [name for name, digest in saved["folders"].items() if digest != seen.get(name)]
        self.notes += [f"{name} or their captions are not those that the run began with." for name in changed]
        if _UNSEEN not in changed:
            self.curve = held_out.Curve(**saved["held_out"])
        if saved["machine"] != state.machine(self.learner):
            self.notes.append(
                "the run began on another machine or library version: the last digits may differ."
            )
        return found.folder

    def _save(self) -> Path:
        facts = {
            "step": self.step,
            "skipped": self.skipped,
            "bad": self.bad,
            "folders": self._digests(),
            "pictures": len(self.pictures),
            "base": "" if self.base is None else self.base.fingerprint(),
            "held_out": asdict(self.curve),
        }
        return state.save(self.learner, self.out, self.step, facts, self.config.run.keep)

    def _digests(self) -> dict[str, str]:
        """What a resumed run is compared by."""
        sets = {"the pictures": self.pictures, _UNSEEN: self.unseen}
        if self.pictures.prior is not None:
            sets["the pictures of the class"] = self.pictures.prior.pictures
        return {name: pictures.digest for name, pictures in sets.items()}

    def _looked_at(self) -> Iterator[Event]:
        """What is seen of the averaged model after this step: a snapshot, the held-out loss, the sample sheet."""
        run, learner = self.config.run, self.learner
        if learner.profiles and self._due(self.config.optimizer.profile_every):
            snapshot = [learner.whole(profile) for profile in learner.profiles]
            if self.world.leads:
                profiles.write(self.out, self.step, learner.profiles, snapshot)
        validated = len(self.unseen) > 0 and self._due(run.validate_every)
        if validated or self._due(run.sample_every):
            whole = learner.whole(learner.average)
            if self.world.leads:
                model = self.tuning.averaged(whole)
                if validated:
                    yield self._validate(model)
                if self._due(run.sample_every):
                    yield from self._sample(model)

    def _validate(self, model: Model) -> Validated:
        learner = self.learner
        averaged = Objective(self.config.loss, model, learner.objective.dtype).to(learner.device).eval()
        losses = held_out.measure(averaged, self.config, self.unseen, learner.device)
        bits = held_out.bound(averaged, self.config, self.unseen, learner.device)
        each = losses.mean(1)
        self.curve = self.curve.then(self.step, each)
        error = held_out.standard_error(each)
        bands, since = tuple(losses.mean(0).tolist()), self.curve.overfitting_since
        bound = (float(bits.mean()), held_out.standard_error(bits)) if len(bits) else (None, None)
        event = Validated(self.step, float(each.mean()), error, bands, since, *bound)
        self.log.write({"event": "held out", **asdict(event)})
        return event

    def _sample(self, model: Model) -> Iterator[Sampled]:
        """Draw the grid; an average too young to draw with is logged, and is no reason to stop training."""
        path = self.out / "samples" / f"step-{self.step:06d}.png"
        try:
            samples.write_grid(model, self.prompts, path)
        except NonFiniteError as error:
            self.log.write({"step": self.step, "samples": str(error)})
        else:
            yield Sampled(self.step, path)

    def _started(self) -> Started:
        weights = sum(weight.numel() for weight in self.learner.parameters)
        return Started(
            step=self.step,
            steps=self.config.run.steps,
            pictures=len(self.pictures),
            captioned=self.pictures.captioned,
            parameters=weights,
            device=str(self.learner.device),
            precision=self.learner.precision,
            notes=tuple(self.notes),
        )

    def _progress(self, result: StepResult) -> Progress:
        run, now = self.config.run, time.perf_counter()
        speed = round((self.step - self._since) * run.batch / max(now - self._begun, 1e-9), 1)
        self._begun, self._since = now, self.step
        event = Progress(
            self.step, run.steps, result.loss, result.gradient_norm, result.lr, speed, self.skipped
        )
        self.log.write(asdict(event))
        return event

    def _skipped(self, result: StepResult) -> Skipped:
        self.skipped += 1
        self.bad = 0 if result.overflow else self.bad + 1
        event = Skipped(self.step, result.loss, self.bad)
        self.log.write({**asdict(event), "loss": str(result.loss)})
        if self.bad >= self.config.run.patience:
            raise NonFiniteError(
                f"training: the loss or its gradient was not finite in {self.bad} steps in a row, up to step "
                f"{self.step} (loss {result.loss}). Lower optimizer.lr ({self.config.optimizer.lr}) and go on from "
                "a checkpoint with a new run, or look for broken pictures."
            )
        return event


def open_data(data: Path, config: TrainConfig, reading: Tell | None = None) -> tuple[PictureSet, PictureSet]:
    """The pictures to train on, and those held out, an empty set of none. Raises DataError and InputError."""
    shape = config.model.shape
    pictures = open_pictures(data, shape, config.data, reading)
    unseen = pictures.select([])
    if config.data.held_out:
        pictures, unseen = held_out.split(pictures, config.data.held_out)
    elif config.data.held_out_from:
        folder = expanded(config.data.held_out_from)
        unseen = open_pictures(folder, shape, config.data)
        pictures, unseen = held_out.apart(pictures, unseen, folder)
    pictures = repeated(pictures) if config.data.repeats else pictures
    if config.word.model:
        pictures, unseen = (
            replace(each, captions=captions_with(config.word.word, each.captions))
            for each in (pictures, unseen)
        )
    return pictures, unseen


def pick_device(name: str, world: World | None = None) -> torch.device:
    """The device of this name; "auto" is a GPU, else the CPU. Raises InputError when it is not there.

    Of many processes on a machine each takes a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and world is not None and world.size > 1:
            device = torch.device("cuda", world.place % torch.cuda.device_count())
        torch.zeros(1, device=device).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"run.device is '{name}', which is not here: {str(error).splitlines()[0].rstrip('.')}. Use auto or cpu."
        ) from error
    return device
