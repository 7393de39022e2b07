"""From a prompt to pictures: text -> embedding, keyed noise -> the scheduler's steps -> pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unnoise import checkpoints
from unnoise.checkpoints.building import check_dtype
from unnoise.networks.hardware import SMALL, fast_dtype, numbers, usable
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import Guidance
from unnoise.pipelines.denoising import Denoising, called
from unnoise.pipelines.merging import TokenMerging
from unnoise.pipelines.options import check_kind
from unnoise.pipelines.request import check
from unnoise.schedulers import Scheduler


class TextToImage(Adaptable):
    """A model that makes pictures from prompts, in pixels or in the latents of its autoencoder.

    A call takes the arguments of `denoise` and gives the run's result. Nothing is kept between calls, so threads
    may share one. All arguments but the prompt are optional; the model's card has the defaults.
    """

    def denoise(
        self,
        prompt: str | Sequence[str] = "",
        *,
        negative: str | Sequence[str] = "",
        steps: int | None = None,
        guidance: float | Guidance | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        width: int | None = None,
        height: int | None = None,
        count: int = 1,
        scheduler: str | Scheduler | None = None,
        compat: str | None = None,
        noise: str | None = None,
        variation: tuple[int, float] | None = None,
        latents: Tensor | None = None,
        prompt_style: str = "a1111",
        clip_skip: int | None = None,
        cache: float | str | FeatureCache | None = None,
        merge: float | str | TokenMerging | None = None,
        show_every: int | None = None,
    ) -> Denoising:
        """A run to pictures of a prompt, or of each prompt of a list: an iterator of Step, each with `preview()`.

        negative: what the picture should not be; one, or one for each prompt. steps: from noise to picture, 1 to 1,000.
        guidance: how strongly to follow the prompt, 0 to 100; 1 asks the network once, other values twice; or a
        `Guidance`. seed: picture i of the call has seed + i, and is the same picture when asked for alone; random when
        None. seeds: one for each instead. width, height: in pixels. cache: reuses deep features between looks, faster
        and approximate: radians, such as 0.15, or a `FeatureCache`. merge: attends over fewer tokens, faster for large
        pictures and approximate: the share that is merged, such as 0.5, or a `TokenMerging`. count: pictures of each
        prompt, 1 to 256. scheduler: a name (`unnoise schedulers`) or a Scheduler. compat: "diffusers", "k-diffusion",
        "a1111" or "comfyui" for that program's values of a name. noise: "torch" or "cuda" for the start that other
        programs draw of a seed; see `start_noise`. variation: another seed, and how far the start is moved to its
        noise, 0 (not at all) to 1: pictures alike. Where it is moved all have `seed`, and the other counts on. latents:
        unit noise to start from instead of the seed's, (pictures, channels, height, width); with an autoencoder, of its
        latents. prompt_style: how weights are written, "a1111", "comfyui", "compel" or "plain". clip_skip: the layer of
        the text encoder that is read, counted from the end as A1111 does: 1 the last, 2 the one before (diffusers calls
        that clip_skip=1); the model's own when None. show_every: display the predicted picture after every so many
        steps and the last while the result is made, in the notebook or the terminal.

        Raises InputError for an argument that makes no sense, here and before the first step is asked for,
        NonFiniteError when the network leaves the finite numbers.
        """
        check_kind(self.model, "text")
        request = check(
            self.model,
            prompt,
            negative=negative,
            steps=steps,
            guidance=guidance,
            seed=seed,
            seeds=seeds,
            width=width,
            height=height,
            count=count,
            scheduler=scheduler,
            compat=compat,
            noise=noise,
            variation=variation,
            latents=latents,
            prompt_style=prompt_style,
            clip_skip=clip_skip,
            cache=cache,
            merge=merge,
            show_every=show_every,
        )
        return Denoising(self.model, request, request.scheduler.plan(self.model.schedule, request.steps))

    __call__ = called(denoise)


def load(
    name_or_path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    prediction: str | None = None,
    engine: str = "torch",
) -> TextToImage:
    """A pipeline from a shipped model's name, a model folder, a training run, or a Stable Diffusion checkpoint.

    The checkpoint is a diffusers folder, a .safetensors file, a .ckpt that holds nothing but tensors, or on the Hugging
    Face hub: `owner/name[/file][@revision][:variant]`, fetched (extra `hub`) where its cache does not have it. dtype,
    device: what suits the model's size and this machine when None. prediction: as `checkpoints.load` takes it.
    engine: as `TextToImage.with_engine` takes it.
    Raises InputError for an unknown name, CheckpointError for files that cannot be accounted for.
    """
    blueprint = checkpoints.recognise(name_or_path, prediction)
    if blueprint is not None:
        device, dtype = _suited(blueprint.parameters()["network"], device, dtype)
        return TextToImage(blueprint.load(dtype, device)).with_engine(engine)
    model = checkpoints.load(name_or_path, prediction=prediction)
    device, dtype = _suited(numbers(model.network), device, dtype)
    for part in model.parts.values():
        part.to(device=device, dtype=dtype)
    return TextToImage(model).with_engine(engine)


def _suited(
    parameters: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[torch.device | str, torch.dtype]:
    """Where a network of that many numbers runs best, and in what. Raises InputError for what cannot be."""
    usable(device)
    if dtype is not None:
        check_dtype(dtype)
    small = parameters < SMALL
    if device is None:
        device = "cuda" if not small and torch.cuda.is_available() else "cpu"
    if dtype is None:
        dtype = torch.float32 if small else fast_dtype(device)
    return device, dtype
