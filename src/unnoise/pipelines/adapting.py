"""What a pipeline with adapters is: a new pipeline, which shares with the old one all that they leave alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from unnoise.checkpoints import adapters
from unnoise.checkpoints import refiner as refiners
from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.controlnet import with_control
from unnoise.checkpoints.model import Model
from unnoise.pipelines.engines import with_engine

if TYPE_CHECKING:
    from typing_extensions import Self


class Adaptable:
    """A pipeline over one model, whose adapters can be changed: what every pipeline is.

    `denoise` begins a run; a call takes the same arguments and gives the result.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def _over(self, model: Model) -> Self:
        """The same pipeline, of whatever class and with whatever that keeps, over another model."""
        made = copy.copy(self)
        made.model = model
        return made

    def with_lora(
        self,
        file: str | Path,
        weight: float = 1.0,
        *,
        blocks: Mapping[str, float] | Sequence[float] = (),
        live: bool = False,
    ) -> Self:
        """A pipeline with one more LoRA, LoHa or LoKr, with DoRA or without; this one stays as it is.

        file: in the names of kohya's tools, LyCORIS, PEFT, diffusers or ComfyUI, or a folder of PEFT, of diffusers or
        of a training run. weight: 0 changes nothing, 1 is what it was trained for. blocks: factors of the weight in
        parts of the model, see `adapters.Lora`. live: keep the small matrices beside the weights, instead of a changed
        copy of every weight that they touch.
        Raises CheckpointError, with counts, for a file that does not belong to this model.
        """
        return self.with_loras([Lora(file, weight, blocks)], live=live)

    def with_loras(
        self,
        loras: Sequence[Lora | tuple[str | Path, float]],
        folder: str | Path | None = None,
        live: bool = False,
    ) -> Self:
        """A pipeline with several more: `Lora`s, or pairs of a file (or its name in `folder`) and a weight."""
        return self._over(adapters.adapt(self.model, loras, folder, live))

    def without_loras(self) -> Self:
        """The pipeline of the base weights, which no adapter ever changed."""
        return self._over(self.model.base or self.model)

    def with_control(
        self,
        file: str | Path,
        picture: Image.Image | str | Path,
        strength: float = 1.0,
        *,
        start: float = 0.0,
        end: float = 1.0,
    ) -> Self:
        """A pipeline steered by one more ControlNet or T2I-Adapter.

        file: a diffusers folder, a single file in the original layout, or an address of the hub. picture: what it
        steers by, ready made (edges, depth, a pose); it is brought to the size of the picture to make. strength: from
        0 to 2. start, end: shares of the steps between which it is heard. Raises CheckpointError for one of another
        family.
        """
        return self._over(with_control(self.model, file, picture, strength, start, end))

    def with_refiner(self, refiner: str | Path | Model, start: float = refiners.START) -> Self:
        """A pipeline whose runs another model ends, as the refiner of Stable Diffusion XL does.

        refiner: a model, or where it is. start: share of the noise schedule's times after which it is asked (what
        diffusers calls denoising_end and denoising_start). Both models stay in memory; what a scheduler remembers of
        earlier steps goes on over the change. Raises InputError for a model of other latents or another noise schedule.
        """
        return self._over(refiners.with_refiner(self.model, refiner, start))

    def with_clip_skip(self, skip: int) -> Self:
        """A pipeline that reads text after another layer of its encoder: 1 is the last, 2 the one before.

        That is A1111's count; diffusers' clip_skip=1 is 2 here. Pictures of many anime models are made with 2. Raises
        InputError where the model has no such layer.
        """
        return self._over(self.model.with_clip_skip(skip))

    def with_engine(self, engine: str) -> Self:
        """A pipeline whose network is computed by "torch" or, where unnoise[openvino] is installed, by another engine.

        "openvino" runs on the processor. Its graph is exported when a network is first used and kept in the user's
        cache. "openvino-int8" approximates: large layers multiply whole numbers of eight bits. What these stand for is
        seen beforehand on a few pictures, by torch, and kept as well; recipes tell it.
        Raises InputError for another engine, or one that is not installed.
        """
        return self._over(with_engine(self.model, engine))

    def with_word(self, file: str | Path, word: str | None = None) -> Self:
        """A pipeline whose text encoder knows one more word, from a textual inversion.

        file: an embedding of A1111 (.pt, .safetensors) or diffusers. word: what stands for it in a prompt; the file's
        own word, or its name, when None. Raises CheckpointError for an embedding of another family.
        """
        return self._over(adapters.teach(self.model, file, word))
