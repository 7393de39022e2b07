"""A model in memory: networks, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.checkpoints.hashes import sha256_of
from unnoise.checkpoints.manifest import Defaults
from unnoise.errors import InputError
from unnoise.limits import Count, counted, is_whole, shown, typed
from unnoise.networks.text_encoder import TextEncoder
from unnoise.networks.unet import UNet
from unnoise.networks.unet.embedding import sinusoids
from unnoise.networks.vae import AutoEncoder
from unnoise.process import Diffuser, NoiseSchedule
from unnoise.process.posterior import variance_rule
from unnoise.process.prediction import get as get_prediction
from unnoise.text import Embedding, PromptTokenizer

if TYPE_CHECKING:
    from unnoise.checkpoints.adapters import Applied
    from unnoise.checkpoints.adapters.word import Taught
    from unnoise.checkpoints.controlnet import Control
    from unnoise.checkpoints.refiner import Refiner

ENGINES = ("torch", "openvino", "openvino-int8")
"""What may compute the network; the last in whole numbers of eight bits, an approximation."""


def beside(channels: int) -> tuple[int, int, int]:
    """What a network of samples with so many channels may see more: nothing, a picture, or a mask and a picture."""
    return 0, channels, channels + 1


@dataclass(frozen=True, eq=False)
class Tower:
    """One text encoder, its tokenizer, and how many of its last layers the hidden states leave out."""

    encoder: TextEncoder
    tokenizer: PromptTokenizer
    skip: int = 0


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that turns noise into pictures of one kind.

    network: the UNet. schedule, prediction, variance, clip: as `process.Diffuser` takes them. shape:
    channels, height and width of what the network sees: a picture, or with an `autoencoder` its latents.
    text_skip: as `Tower.skip`, of `text_encoder`. more_text: further towers, whose hidden states stand beside
    the first's; the last tower's pooled vector is the one used (Stable Diffusion XL).
    text_encoder, tokenizer: both, or neither for a model that listens to no prompt. defaults: what a picture is
    made with (a mapping is taken too). card: facts for people. name, sha256: where it came from and the hash of
    its weights' file; set by `load`. hashed: that file, where reading all of it is left until its hash is asked for.
    adapters: what changed the weights, and base: the model without them; see `checkpoints.adapters`. controls:
    ControlNets and T2I-Adapters that steer the network. taught: words of textual inversions that its text encoders
    know. refiner: the model that ends a run. clip_skip: as `with_clip_skip` set it; 0 where `text_skip` stands.
    engine: what computes the network, one of ENGINES.
    """

    network: UNet
    schedule: NoiseSchedule
    shape: tuple[int, int, int]
    prediction: str = "noise"
    variance: str = "fixed_small"
    clip: float | None = None
    text_encoder: TextEncoder | None = None
    tokenizer: PromptTokenizer | None = None
    defaults: Defaults = field(default_factory=Defaults)
    card: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    sha256: str = ""
    autoencoder: AutoEncoder | None = None
    text_skip: int = 0
    more_text: tuple[Tower, ...] = ()
    hashed: Path | None = None
    adapters: tuple[Applied, ...] = ()
    base: Model | None = None
    controls: tuple[Control, ...] = ()
    taught: tuple[Taught, ...] = ()
    refiner: Refiner | None = None
    clip_skip: int = 0
    engine: str = "torch"

    def __post_init__(self) -> None:
        if isinstance(self.defaults, Mapping):
            object.__setattr__(self, "defaults", Defaults.from_table(self.defaults))
        if (self.text_encoder is None) != (self.tokenizer is None):
            raise InputError(
                "a model has a text encoder and a tokenizer, or neither; give both or leave both."
            )
        self._check_kinds()
        self._check_channels()
        self._check_text()

    def _check_kinds(self) -> None:
        """Refuse what is another thing than a model is made of; a network may be one that stands around a UNet."""
        typed("schedule", self.schedule, NoiseSchedule)
        object.__setattr__(self, "shape", typed("shape", self.shape, tuple[Count, Count, Count], "3,64,64"))
        get_prediction(self.prediction)
        variance_rule(self.variance)
        if not hasattr(self.network, "config"):
            raise InputError(
                f"network is {shown(self.network)}; give a UNet, or sample any other through process.Diffuser."
            )

    def _check_channels(self) -> None:
        config, channels = self.network.config, self.shape[0]
        out = 2 * channels if self.variance == "learned_range" else channels
        if self.beside not in beside(channels) or config.out_channels != out:
            raise InputError(
                f"the network takes {counted(config.in_channels, 'channel')} and gives {config.out_channels}; pictures "
                f"of {counted(channels, 'channel')} with variance '{self.variance}' need {channels} and {out} (to "
                f"inpaint, {2 * channels + 1} are taken; to edit, {2 * channels})."
            )

    def _check_text(self) -> None:
        config = self.network.config
        wanted = config.text_width or config.pooled_width
        if bool(wanted) != (self.text_encoder is not None):
            given = "was built to read text" if wanted else "was built without text"
            raise InputError(f"the network {given}; give a text encoder exactly when it reads text.")
        widths = [tower.encoder.config.width for tower in self.towers]
        if config.text_width and sum(widths) != config.text_width:
            raise InputError(
                f"the network reads text of width {config.text_width}; its text encoders give "
                f"{' + '.join(map(str, widths))}. Give the encoders that it was trained with."
            )

    @property
    def companions(self) -> tuple[Control | Refiner, ...]:
        """The other networks that take part in a run."""
        return self.controls if self.refiner is None else (*self.controls, self.refiner)

    @property
    def beside(self) -> int:
        """Channels that the network sees beside the sample: 0, or as `beside` has it."""
        return self.network.config.in_channels - self.shape[0]

    def fingerprint(self) -> str:
        """The sha256 of the weights' file; "" where there is none any more."""
        if self.sha256 or self.hashed is None:
            return self.sha256
        try:
            return sha256_of(self.hashed)
        except OSError:
            return ""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def unit(self) -> int:
        """Height and width of its pictures are multiples of so many pixels; OpenVINO's graph halves without a rest."""
        config = self.network.config
        return self.factor * (config.factor if self.engine != "torch" else config.unit)

    @property
    def arithmetic(self) -> str:
        """Empty where the engine multiplies floats, else the name of what: int8."""
        return self.engine.partition("-")[2]

    @property
    def factor(self) -> int:
        """Pixels of a picture's side for one of `shape`."""
        return 1 if self.autoencoder is None else self.autoencoder.config.factor

    @property
    def towers(self) -> tuple[Tower, ...]:
        """The text encoders in order; empty for a model that listens to no prompt."""
        if self.text_encoder is None or self.tokenizer is None:
            return ()
        skip = self.clip_skip - 1 if self.clip_skip else self.text_skip
        return (Tower(self.text_encoder, self.tokenizer, skip), *self.more_text)

    @property
    def parts(self) -> dict[str, UNet | TextEncoder]:
        """The networks that adapters change and training moves: "network", "text_encoder", "text_encoder_2"."""
        first = {} if self.text_encoder is None else {"text_encoder": self.text_encoder}
        more = {f"text_encoder_{place}": tower.encoder for place, tower in enumerate(self.more_text, 2)}
        return {"network": self.network, **first, **more}

    def with_parts(self, parts: Mapping[str, Any]) -> Model:
        """The same model with these networks, named as in `parts`, in the place of its own."""
        more = tuple(
            replace(tower, encoder=parts.get(f"text_encoder_{place}", tower.encoder))
            for place, tower in enumerate(self.more_text, 2)
        )
        network, first = parts.get("network", self.network), parts.get("text_encoder", self.text_encoder)
        return replace(self, network=network, text_encoder=first, more_text=more)

    def changed(self, **fields: Any) -> Model:  # noqa: ANN401 - as dataclasses.replace
        """The same model with other values of these fields, and so its `base`."""
        base = None if self.base is None else replace(self.base, **fields)
        return replace(self, **fields, base=base)

    def with_clip_skip(self, skip: int) -> Model:
        """The same model, its text read after another layer: 1 is the last, 2 the one before, as A1111 counts.

        diffusers counts the layers left out: its clip_skip=1 is 2 here, and its None is 1.

        Raises InputError for a model without a text encoder or with two, and for a layer that is not there.
        """
        if self.text_encoder is None or self.more_text:
            encoders = "has two text encoders" if self.more_text else "heeds no prompt"
            raise InputError(f"clip_skip says nothing to this model, which {encoders}; leave it out.")
        layers = self.text_encoder.config.layers
        if not is_whole(skip, 1, layers):
            raise InputError(
                f"clip_skip is {shown(skip)}; this model's text encoder has {layers} layer{'s'[: layers > 1]}, give a "
                f"whole number from 1 to {layers}."
            )
        return self.changed(clip_skip=skip)

    @property
    def told(self) -> int:
        """Numbers that Stable Diffusion XL is told: height and width, top and left of the crop, then again a size.

        Its refiner, which has one text encoder, is told a score of beauty in place of the last two.
        """
        return 6 if self.more_text else 5

    @property
    def size_ids(self) -> int:
        """Width of the sinusoids of each of the numbers that XL is told; 0 where it is not."""
        wanted = self.network.config.pooled_width
        if not wanted or not self.towers:
            return 0
        config = self.towers[-1].encoder.config
        return (wanted - (config.projection or config.width)) // self.told

    def conditioning(self, prompts: Embedding, sizes: Tensor | None = None) -> dict[str, Tensor]:
        """What the network is told of prompts, by the names of its arguments.

        sizes: (batch, `told`), what Stable Diffusion XL is told beside, as sinusoids (Podell et al. 2023, sec. 2.2).
        """
        given, config = {}, self.network.config
        if config.text_width:
            given["text"] = prompts.hidden
            if prompts.mask is not None:
                given["text_mask"] = prompts.mask
        if config.pooled_width:
            given["pooled"] = prompts.pooled
            if sizes is not None:
                each = sinusoids(sizes.to(prompts.pooled.device).flatten(), self.size_ids)
                waves = each.reshape(len(sizes), -1).to(prompts.pooled)
                given["pooled"] = torch.cat([prompts.pooled, waves], dim=1)
        return given

    @property
    def diffuser(self) -> Diffuser:
        """The network with the meaning of its output."""
        return Diffuser(self.network, self.schedule, self.prediction, self.variance, self.clip)
