"""What each side does in one call of a work. Everything is imported inside: a side pays for its own imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from full_size.models import Place

Call = Callable[[], Any]
PROMPT, NEGATIVE = "a red apple on a wooden table", "blurry"
GUIDANCE = 7.5


class Shown(Exception):  # noqa: N818 - not an error: how the first step is enough
    """The first step was made."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Ours:
    """unnoise. dtype: None for what it takes by itself."""

    def __init__(self, where: Place, dtype: torch.dtype | None) -> None:
        from unnoise.networks import fast_dtype

        self.where, self.dtype = where, dtype or fast_dtype()

    def _part(self, name: str) -> Any:
        from unnoise import checkpoints
        from unnoise.checkpoints.blueprint import fill
        from unnoise.networks import heap

        heap.keep_freed()  # as a run of a large model does
        found = checkpoints.recognise(self.where.folder)
        assert found is not None
        return fill(found.parts[name], self.dtype, "cpu", found.unused)

    def unet(self) -> Call:
        """One step: the network asked with and without a prompt, in one batch, and the two combined."""
        return self._guided(self._part("network"))

    def _guided(self, network: Any) -> Call:
        from unnoise.pipelines.guidance import Condition, Guided

        config, side = network.config, self.where.made.side
        pooled = noise(2, config.pooled_width, seed=2) if config.pooled_width else None
        with torch.inference_mode():
            memory = network.remember(noise(2, 77, config.text_width, seed=1))
        guided = Guided(network, Condition(memory, pooled), GUIDANCE)
        x, time = noise(1, 4, side, side), torch.tensor([500.0])
        return lambda: guided(x, time)

    def vae(self) -> Call:
        """One picture of latents."""
        network, side = self._part("autoencoder"), self.where.made.side
        latents = noise(1, 4, side, side)
        return lambda: network.decode(network.unscaled(latents))

    def text(self) -> Call:
        """Hidden states of two prompts."""
        network = self._part("text_encoder")
        tokens = torch.randint(0, 49406, (2, 77), generator=torch.Generator().manual_seed(0))
        return lambda: network(tokens).hidden

    def _pipe(self) -> Any:
        import unnoise

        return unnoise.load(self.where.folder, dtype=self.dtype)

    def picture(self, steps: int) -> Call:
        """One picture from a prompt."""
        pipe = self._pipe()
        options = {"negative": NEGATIVE, "steps": steps, "guidance": GUIDANCE, "scheduler": "DDIM", "seed": 1}
        return lambda: pipe(PROMPT, width=self.where.pixels, height=self.where.pixels, **options)

    def first_step(self) -> None:
        """The whole model, loaded, and the first of twenty steps."""
        run = self._pipe().denoise(
            PROMPT, negative=NEGATIVE, steps=20, guidance=GUIDANCE, scheduler="DDIM", seed=1
        )
        next(run)

    def load(self) -> object:
        """The whole model in memory."""
        import unnoise

        return unnoise.load(self.where.file, dtype=self.dtype)


class Theirs:
    """diffusers, eager. channels_last: its faster memory format here."""

    def __init__(self, where: Place, dtype: torch.dtype, channels_last: bool) -> None:
        self.where, self.dtype, self.channels_last = where, dtype, channels_last

    def _ready(self, network: Any) -> Any:
        return network.to(memory_format=torch.channels_last) if self.channels_last else network

    def _part(self, kind: str, folder: str) -> Any:
        import diffusers

        options = {"subfolder": folder, "variant": "fp16", "torch_dtype": self.dtype}
        return self._ready(getattr(diffusers, kind).from_pretrained(self.where.folder, **options).eval())

    def unet(self) -> Call:
        """One step: the network asked with and without a prompt, in one batch, and the two combined."""
        network = self._part("UNet2DConditionModel", "unet")
        config, side = network.config, self.where.made.side
        x, time = noise(1, 4, side, side).to(self.dtype), torch.tensor(500)
        text = noise(2, 77, config.cross_attention_dim, seed=1).to(self.dtype)
        more = None
        if config.addition_embed_type:
            width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * 2)
            more = {"text_embeds": noise(2, width, seed=2).to(self.dtype), "time_ids": sizes.to(self.dtype)}

        def call() -> Tensor:
            out = network(torch.cat([x] * 2), time, encoder_hidden_states=text, added_cond_kwargs=more).sample
            without, given = out.chunk(2)
            return without + GUIDANCE * (given - without)

        return call

    def vae(self) -> Call:
        """One picture of latents."""
        network, side = self._part("AutoencoderKL", "vae"), self.where.made.side
        latents = noise(1, 4, side, side).to(self.dtype)
        return lambda: network.decode(latents / network.config.scaling_factor).sample

    def text(self) -> Call:
        """Hidden states of two prompts."""
        import transformers

        options = {"subfolder": "text_encoder", "variant": "fp16", "dtype": self.dtype}
        network = transformers.CLIPTextModel.from_pretrained(self.where.folder, **options).eval()
        tokens = torch.randint(0, 49406, (2, 77), generator=torch.Generator().manual_seed(0))
        return lambda: network(tokens).last_hidden_state

    def _pipe(self) -> Any:
        import diffusers

        pipe = diffusers.DiffusionPipeline.from_pretrained(
            self.where.folder, variant="fp16", torch_dtype=self.dtype
        )
        pipe.set_progress_bar_config(disable=True)
        self._ready(pipe.unet)
        self._ready(pipe.vae)
        return pipe

    def picture(self, steps: int) -> Call:
        """One picture from a prompt."""
        return self._picture(self._pipe(), steps)

    def _picture(self, pipe: Any, steps: int, **more: Any) -> Call:
        options = {"negative_prompt": NEGATIVE, "guidance_scale": GUIDANCE, "num_inference_steps": steps}
        return lambda: pipe(PROMPT, **options, generator=torch.Generator().manual_seed(1), **more)

    def first_step(self) -> None:
        """The whole model, loaded, and the first of twenty steps."""

        def stop(*_: Any) -> None:
            raise Shown

        try:
            self._picture(self._pipe(), 20, callback_on_step_end=stop)()
        except Shown:
            return

    def load(self) -> object:
        """The whole model in memory."""
        import diffusers

        kind = (
            diffusers.StableDiffusionXLPipeline
            if self.where.made.text_2
            else diffusers.StableDiffusionPipeline
        )
        return kind.from_single_file(
            str(self.where.file), config=str(self.where.folder), torch_dtype=self.dtype, local_files_only=True
        )


class Folder(Theirs):
    """diffusers, from its own folder."""

    def load(self) -> object:
        """The whole model in memory."""
        return self._pipe()


class Plain(Ours):
    """Reading and casting alone."""

    def load(self) -> object:
        """The whole model in memory."""
        from safetensors.torch import load_file

        return {name: tensor.to(self.dtype) for name, tensor in load_file(self.where.file).items()}
