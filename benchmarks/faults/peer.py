"""What diffusers, and accelerate for checkpoints, do with the same inputs: provoked here with their own classes.

Each returns (passed, what was seen). The models are miniatures with random weights. The judgement is that of the case:
an error where one is expected, a picture that is as it should be elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import random
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import durability
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import miniature_sd
from faults.long_forms import traced

Seen = tuple[bool | None, str]
WEIGHTS = "diffusion_pytorch_model.safetensors"
SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "SASolverScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "TCDScheduler",
)


@functools.cache
def pipeline() -> StableDiffusionPipeline:
    return miniature_sd.pipeline("sd1", Path(tempfile.mkdtemp()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(level)


def made(pipe: StableDiffusionPipeline, **options: object) -> np.ndarray:
    asked = {"num_inference_steps": 4, "height": 32, "width": 32, "output_type": "np", **options}
    asked.setdefault("generator", torch.Generator().manual_seed(7))
    with quiet():
        return pipe("a house", **asked).images


def loaded(change: Callable[[dict[str, Tensor]], object] | None = None, data: bytes | None = None) -> object:
    """What `UNet2DConditionModel.from_pretrained` makes of an altered file: the network, or the error."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        pipeline().unet.save_pretrained(folder)
        file = Path(folder) / WEIGHTS
        if change is not None:
            tensors = load_file(file)
            change(tensors)
            save_file(tensors, file)
        if data is not None:
            whole = file.read_bytes()
            file.write_bytes(data if data != b"cut" else whole[: len(whole) // 2])
            if data == b"flip":
                file.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        try:
            return UNet2DConditionModel.from_pretrained(folder, low_cpu_mem_usage=True)
        except Exception as error:
            return error


def told(answer: object) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else "loaded"


def kills() -> Seen:
    with tempfile.TemporaryDirectory() as folder, quiet():
        draw, side = random.Random(0), durability.AccelerateByStep(Path(folder) / "run")
        found = [durability.killed(side, draw) for _ in range(50)]
    return found.count(
        "whole"
    ) == 50, f"accelerate, a folder a step: {found.count('whole')} of 50 kills resumed whole"


def full_disk() -> Seen:
    with tempfile.TemporaryDirectory() as folder, quiet():
        seen = durability.full(durability.AccelerateByStep(Path(folder) / "run"))
    return seen == "told, then whole", f"accelerate, a folder a step: {seen}"


SAVE = """
import sys, torch, diffusers
diffusers.UNet2DModel(block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    layers_per_block=1).save_pretrained(sys.argv[1])
"""


def flushed() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        calls = traced([sys.executable, "-c", SAVE, f"{folder}/model"], Path(folder) / "calls")
    synced = [text for call, text in calls if call == "fsync" and folder in text]
    return bool(synced), f"`save_pretrained`: {len(synced)} fsync"


def not_a_file() -> Seen:
    """A cause is told where the four faults are answered differently."""
    contents = {
        "cut": b"cut",
        "empty": b"",
        "page": b"<!DOCTYPE html><html>404</html>" * 50,
        "zeros": bytes(100_000),
    }
    answers = {name: loaded(data=data) for name, data in contents.items()}
    refused = [answer for answer in answers.values() if isinstance(answer, Exception)]
    sentences = {str(answer).split("/")[0][:60] for answer in refused}
    causes = sum(word in str(answer).lower() for answer, word in zip(
        answers.values(), ("truncat", "empty", "html", "zero"), strict=True))  # fmt: skip
    seen = f"{len(refused)} of 4 refused, the cause told of {causes}: '{min(sentences, default='')}…'"
    return len(refused) == causes == 4, seen


def flipped() -> Seen:
    answer = loaded(data=b"flip")
    return isinstance(answer, Exception), told(answer)


def missing() -> Seen:
    answer = loaded(lambda tensors: tensors.pop("conv_out.bias"))
    if isinstance(answer, Exception):
        return "conv_out.bias" in str(answer), told(answer)
    bias = answer.conv_out.bias
    seen = f"loaded, and that parameter is on the device '{bias.device}'"
    try:
        pipe = StableDiffusionPipeline(
            **{**pipeline().components, "unet": answer}, requires_safety_checker=False
        )
        pipe.set_progress_bar_config(disable=True)
        latents = made(pipe, output_type="latent")
        finite = bool(torch.isfinite(torch.as_tensor(latents)).all())
        kind = "numbers" if finite else "nan"
        seen += f"; what the pipeline gives is whatever its memory held (here {kind})"
    except Exception as error:
        seen += f"; the pipeline raises {type(error).__name__}"
    return False, seen


def other_tensors() -> Seen:
    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[f"model.{name}"] = tensors.pop(name)

    answers = {
        "extra": loaded(lambda tensors: tensors.update(more=torch.zeros(1))),
        "all renamed": loaded(rename),
        "shape": loaded(lambda tensors: tensors.update({"conv_out.bias": torch.zeros(9)})),
    }
    seen = "; ".join(f"{name}: {told(answer)}" for name, answer in answers.items())
    return all(isinstance(answer, Exception) for answer in answers.values()), seen


def not_finite() -> Seen:
    answers = [loaded(lambda t, v=value: t["conv_out.bias"].fill_(v)) for value in (math.nan, math.inf)]
    return all(
        isinstance(answer, Exception) for answer in answers
    ), f"nan: {told(answers[0])}; inf: {told(answers[1])}"


ASKED: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("steps", "num_inference_steps", (0, -1, 1.5, 1001)),
    ("width", "width", (0, 33, -32)),
    ("guidance", "guidance_scale", (math.nan, math.inf)),
    ("eta", "eta", (5.0,)),
    ("pictures", "num_images_per_prompt", (0,)),
)


def numbers() -> Seen:
    """Refused is: a ValueError (TypeError) whose words name the argument."""
    seen, good, total = [], 0, 0
    for field, argument, values in ASKED:
        for value in values:
            total += 1
            try:
                picture = made(pipeline(), **{argument: value})
            except Exception as error:
                named = isinstance(error, ValueError | TypeError) and argument in str(error)
                good += named
                said = "refused" if named else type(error).__name__
            else:
                said = "black picture" if not picture.any() or not np.isfinite(picture).all() else "a picture"
            seen.append(f"{field} {value}: {said}")
    return good == total, f"{good} of {total} refused by name ({'; '.join(seen)})"


def left_finite() -> Seen:
    def at_third(module: nn.Module, given: object, out: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            out[0].fill_(math.nan)

    seen, passed = [], True
    for name, module in (("UNet at step 3", pipeline().unet), ("VAE", pipeline().vae.decoder)):
        calls: list[int] = []
        whole = lambda module, given, out: out.fill_(math.nan)  # noqa: E731
        hook = module.register_forward_hook(at_third if "UNet" in name else whole)
        try:
            picture = made(pipeline(), output_type="pil")[0]
            passed = False
            seen.append(
                f"{name}: {'a black picture' if not np.asarray(picture).any() else 'a picture'}, no error"
            )
        except Exception as error:
            seen.append(f"{name}: {type(error).__name__}")
        finally:
            hook.remove()
    return passed, "; ".join(seen)


def threads() -> Seen:
    good, raised, wrong = 0, 0, 0
    for name in SCHEDULERS:
        with quiet():
            scheduler = getattr(diffusers, name).from_config(pipeline().scheduler.config)
            pipe = StableDiffusionPipeline(
                **{**pipeline().components, "scheduler": scheduler}, requires_safety_checker=False
            )
        pipe.set_progress_bar_config(disable=True)
        verdict = together(pipe)
        good, raised, wrong = (
            good + (verdict == "same"),
            raised + (verdict == "raised"),
            wrong + (verdict == "other"),
        )
    return good == len(
        SCHEDULERS
    ), f"{good} of {len(SCHEDULERS)}: {raised} raise, {wrong} give other pictures silently"


def together(pipe: StableDiffusionPipeline) -> str:
    """Two threads, three times each, against one after the other."""
    ask = lambda place: made_in(pipe, seed=(7, 11)[place], steps=(6, 9)[place])  # noqa: E731
    gate, found, errors = threading.Barrier(2), {0: [], 1: []}, []

    def work(place: int) -> None:
        gate.wait()
        try:
            found[place] += [ask(place) for _ in range(3)]
        except Exception as error:
            errors.append(error)

    with quiet():
        alone = [ask(place) for place in (0, 1)]
        both = [threading.Thread(target=work, args=(place,)) for place in (0, 1)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    if errors:
        return "raised"
    same = all(bool((each - alone[place]).abs().max() <= 1e-6) for place in (0, 1) for each in found[place])
    return "same" if same else "other"


def made_in(pipe: StableDiffusionPipeline, seed: int, steps: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sized = {"height": 32, "width": 32, "output_type": "latent", "num_inference_steps": steps}
    return pipe("a house", generator=generator, **sized).images


def batches() -> Seen:
    """Pictures of four at once beside each alone: by the generator that most code gives, and by one a picture."""
    pipe = pipeline()
    alone = [made(pipe, generator=torch.Generator().manual_seed(seed))[0] for seed in range(4)]
    several = made(
        pipe, generator=[torch.Generator().manual_seed(seed) for seed in range(4)], num_images_per_prompt=4
    )
    one = made(pipe, generator=torch.Generator().manual_seed(0), num_images_per_prompt=4)
    apart = [
        max(float(np.abs(a - b).max()) for a, b in zip(found, alone, strict=True)) for found in (several, one)
    ]
    seen = f"a generator a picture: within {apart[0]:.0e}; one generator: {apart[1]:.2f} apart"
    return max(apart) <= 1e-4, seen


def average() -> Seen:
    weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    ema = EMAModel([weight], decay=0.9999, min_decay=0.9999)
    ema.step([weight])  # its first one copies
    weight.data.fill_(2.0)
    for _ in range(2000):
        ema.step([weight])
    found, wanted = float(ema.shadow_params[0][0]), 2 - 0.9999**2000
    return abs(
        found - wanted
    ) <= 1e-4, f"{found:.4f} after 2,000 updates from 1 towards 2; the closed form is {wanted:.4f}"


ROWS: dict[int, Callable[[], Seen]] = {
    1: kills,
    2: full_disk,
    3: flushed,
    4: not_a_file,
    5: flipped,
    6: missing,
    7: other_tensors,
    8: not_finite,
    16: numbers,
    17: left_finite,
    18: threads,
    19: batches,
    30: average,
}
"""By the number of the case."""
