"""A model in memory: networks, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unnoise.checkpoints.manifest import Defaults
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder
from unnoise.networks.unet import UNet
from unnoise.process import Diffuser, NoiseSchedule
from unnoise.text import PromptTokenizer


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that turns noise into pictures of one kind.

    network: the UNet. schedule, prediction, variance, clip: as `process.Diffuser` takes them. shape:
    channels, height and width of a picture. text_encoder, tokenizer: both, or neither for a model that
    listens to no prompt. defaults: what a picture is made with (a mapping is taken too). card: facts for
    people. name, sha256: where it came from and the hash of its weights' file; set by `load`.
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

    def __post_init__(self) -> None:
        if isinstance(self.defaults, Mapping):
            object.__setattr__(self, "defaults", Defaults.from_table(self.defaults))
        if (self.text_encoder is None) != (self.tokenizer is None):
            raise InputError(
                "a model has a text encoder and a tokenizer, or neither; give both or leave both."
            )
        self._check_channels()
        self._check_text()

    def _check_channels(self) -> None:
        config, channels = self.network.config, self.shape[0]
        out = 2 * channels if self.variance == "learned_range" else channels
        if (config.in_channels, config.out_channels) != (channels, out):
            raise InputError(
                f"the network takes {config.in_channels} channels and gives {config.out_channels}; pictures of "
                f"{channels} channels with variance '{self.variance}' need {channels} and {out}."
            )

    def _check_text(self) -> None:
        wanted = self.network.config.text_width or self.network.config.pooled_width
        if bool(wanted) != (self.text_encoder is not None):
            given = "was built to read text" if wanted else "was built without text"
            raise InputError(f"the network {given}; give a text encoder exactly when it reads text.")

    @property
    def diffuser(self) -> Diffuser:
        """The network with the meaning of its output."""
        return Diffuser(self.network, self.schedule, self.prediction, self.variance, self.clip)
