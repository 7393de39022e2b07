"""A job as a run of a pipeline: what was asked -> steps that are seen -> pictures with their recipes in files."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from unnoise import images
from unnoise.checkpoints.adapters.asked import of_tag
from unnoise.errors import CheckpointError, FileError, InputError, UnnoiseError, out_of_memory
from unnoise.networks.hardware import worth_threads
from unnoise.pipelines.combining import from_text
from unnoise.pipelines.repeat_variant import begin
from unnoise.server.asked import PICTURES, Asked
from unnoise.server.fields import FIELDS
from unnoise.server.held import Held, free
from unnoise.server.job import Job, Made, Seen
from unnoise.server.limits import Limits
from unnoise.server.messages import Begun, Ended
from unnoise.server.previews import Previews
from unnoise.server.problems import problem_of
from unnoise.server.refusals import FieldError
from unnoise.server.reshaping import opened
from unnoise.server.settings import Settings
from unnoise.text.prompts import Prompt

if TYPE_CHECKING:
    from unnoise.checkpoints import Model
    from unnoise.pipelines import Denoising, Result, Step, TextToImage, TwoPasses

_ALL_THREADS = torch.get_num_threads()
_ONE_BY_ONE = "memory did not suffice for all at once; each picture was made alone and decoded in strips"


class Left(Exception):  # noqa: N818 - no error: the job is no longer wanted
    """The job was cancelled."""


@dataclass(frozen=True)
class Bench:
    """What jobs are made with. tell: takes messages for the front. left: whether this job is no longer wanted."""

    settings: Settings
    held: Held
    tell: Callable[[object], None]
    left: Callable[[str], bool]

    def run(self, job: Job) -> Ended:
        """Make the job's pictures. Whatever happens is told in what is returned, and leaves nothing behind."""
        try:
            return Ended(job.id, self._made(job))
        except Left:
            return Ended(job.id)
        except Exception as error:
            hidden = self.settings.folder, self.settings.loras
            problem = problem_of(error, *hidden, names=job.asked.begun)
            if not isinstance(error, UnnoiseError) and not out_of_memory(error):
                # without the message, which may hold a prompt
                traceback.print_tb(error.__traceback__)
                sys.stderr.write(f"{type(error).__name__}\n")
        free()  # only now, as the error held the run and its memory
        return Ended(job.id, problem=problem)

    def _made(self, job: Job) -> tuple[Made, ...]:
        pipe = _with_loras(self._loaded(job), job.asked, self.settings)
        threads = self.settings.threads
        worth = worth_threads(pipe.model.network, job.asked.count)
        torch.set_num_threads(threads or (_ALL_THREADS if worth else 1))
        try:
            return self._pictures(job, pipe, [job.asked], None)
        except Exception as error:
            one_by_one = job.asked.count > 1 or pipe.model.autoencoder is not None
            if not out_of_memory(error) or not one_by_one:
                raise
        free()
        parts = [job.asked.alone(place) for place in range(job.asked.count)]  # in the memory of one
        return self._pictures(job, pipe, parts, True, (_ONE_BY_ONE,))

    def _loaded(self, job: Job) -> TextToImage:
        name = job.asked.model or self.held.cards[0].name
        try:
            return self.held.pipeline(name)
        except (CheckpointError, OSError) as error:  # where its files lie is the owner's business
            sys.stderr.write(f"model '{name}' cannot be loaded: {error}\n")
            raise UnnoiseError(
                f"model '{name}' cannot be loaded any more; the server's log says why."
            ) from error

    def _pictures(
        self,
        job: Job,
        pipe: TextToImage,
        parts: list[Asked],
        tiled: bool | None,
        notes: tuple[str, ...] = (),
    ) -> tuple[Made, ...]:
        """The pictures of these requests, one request after the other. tiled: as `Denoising.result`."""
        begun, previews = time.monotonic(), None
        results = []
        with _before_layers(pipe.model, lambda: self._look(job.id)):
            for place, asked in enumerate(parts):
                run = denoise(pipe, asked, self.settings.limits)
                steps = len(run) * len(parts)
                if previews is None:
                    previews = Previews(asked.show_every, asked.show, steps)
                    self.tell(Begun(steps, (*run.notes, *notes)))
                for step in run:
                    index = place * len(run) + step.index + 1
                    self._look(job.id)
                    self.tell(_seen(step, index, steps, begun, previews))
                results.append(run.result(tiled))
        return tuple(self._save(job, results))

    def _look(self, id: str) -> None:
        if self.left(id):
            raise Left

    def _save(self, job: Job, results: list[Result]) -> Iterator[Made]:
        pairs = [pair for result in results for pair in zip(result.images, result.recipes, strict=True)]
        for place, (picture, recipe) in enumerate(pairs):
            self._look(job.id)
            name = f"{job.id}-{place}.png"
            images.write_png(self.settings.folder / "images" / name, picture, recipe.png_text())
            self.held.told(self.held.name, recipe.model_hash)
            yield Made(name, recipe.to_dict(), recipe.seed, picture.width, picture.height)


@contextlib.contextmanager
def _before_layers(model: Model, look: Callable[[], None]) -> Iterator[None]:
    """Has `look` called before each layer of the autoencoder, and each block of the network.

    A large picture is longer in a step, and longer still in the decoder, than who cancels it likes to wait.
    """
    decoding = () if model.autoencoder is None else model.autoencoder.modules()
    blocks = (block for block in model.network.modules() if next(block.children(), None) is not None)
    with contextlib.ExitStack() as hooks:
        for layer in itertools.chain(blocks, decoding):
            hooks.enter_context(layer.register_forward_pre_hook(lambda *_: look()))
        yield


def denoise(pipe: TextToImage, asked: Asked, limits: Limits) -> Denoising | TwoPasses:
    """The run that makes what is asked for.

    Raises InputError, and FieldError for a picture that cannot be read or that asks for more than the limits.
    """
    options: dict[str, Any] = {name: getattr(asked, name) for name, row in FIELDS.items() if row.common}
    options["guidance"] = _guidance(pipe, asked)
    more = {argument: getattr(asked, name) for argument, name in asked.begun.items()}
    if asked.masked_area:
        more["area"] = "masked"
    pictures = {
        name: opened(name, content) for name in PICTURES if (content := getattr(asked, name)) is not None
    }
    if "init" in pictures:
        _check_size(pictures["init"].size, asked, limits)
    run = begin(pipe, asked.prompt, options, more, second=asked.hires_scale is not None, **pictures)
    work = run.request.width * run.request.height * len(run) * asked.count
    if work > limits.work:
        raise FieldError("steps", limits.too_much(work))
    return run


def _check_size(size: tuple[int, int], asked: Asked, limits: Limits) -> None:
    """A picture's own size is made where none is asked for."""
    left, top, right, bottom = asked.outpaint or (0, 0, 0, 0)
    width, height = asked.width or size[0] + left + right, asked.height or size[1] + top + bottom
    if max(width, height) > limits.side_high:
        raise FieldError(
            "init",
            f"init makes {width}x{height}, and {limits.side_high} pixels a side are taken; give width and height, or "
            "a smaller picture.",
        )


def _guidance(pipe: TextToImage, asked: Asked) -> Any:  # noqa: ANN401 - a number, a rule, or None
    rule = [] if asked.guidance_rescale is None else [f"rescale {asked.guidance_rescale}"]
    if asked.guidance_interval is not None:
        rule.append("interval {} {}".format(*asked.guidance_interval))
    if not rule:
        return asked.guidance
    scale = pipe.model.defaults.guidance if asked.guidance is None else asked.guidance
    return from_text(scale, ", ".join(rule))


def _with_loras(pipe: TextToImage, asked: Asked, settings: Settings) -> TextToImage:
    """The pipeline with the LoRAs of the prompt's tags; the one given stays as it is."""
    tags = Prompt.read(asked.prompt, asked.prompt_style).loras
    if not tags or settings.loras is None:
        return pipe
    loras = [of_tag(tag) for tag in tags]
    try:
        return pipe.with_loras([replace(lora, file=lora.within(settings.loras)) for lora in loras])
    except (InputError, FileError) as error:  # another prompt mends it, whatever is wrong with the file
        raise FieldError("prompt", str(error)) from error


def _seen(step: Step, index: int, steps: int, begun: float, previews: Previews) -> Seen:
    return Seen(
        index=index,
        steps=steps,
        sigma=float(step.start.sigma),
        alpha=float(step.start.alpha),
        log_snr=float(step.start.log_snr),
        previews=previews.of(step, index),
        seconds=time.monotonic() - begun,
    )
