"""The families of Stable Diffusion: what each is called and made of, and what it makes its pictures with."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.checkpoints.kinds import CLIP_L, OPEN_CLIP_H, REFINER_BIG_G, XL_BIG_G, XL_CLIP_L
from unnoise.checkpoints.manifest import Defaults


@dataclass(frozen=True)
class Encoder:
    """A text encoder. name: of the part. prefix: of its tensors in single files. open_clip: that it is OpenCLIP's."""

    name: str
    prefix: str
    open_clip: bool = False

    @property
    def tokenizer(self) -> str:
        """The folder of its tokenizer."""
        return self.name.replace("text_encoder", "tokenizer")

    @property
    def projected(self) -> bool:
        """Whether its pooled vector is projected."""
        return self.name == "text_encoder_2"


@dataclass(frozen=True)
class Family:
    """A name, a short one, the text that the network reads, the side of the latents by what it predicts, and defaults.

    text_width: of all hidden states together. encoders: in order. scale: of the latents, which no single file tells.
    skip: how many of the encoders' last layers are left out. sizes: how many numbers (sizes, offsets, a score) the
    network is told beside the pooled text.
    """

    name: str
    short: str
    text_width: int
    sides: dict[str, int]
    defaults: Defaults
    encoders: tuple[Encoder, ...]
    scale: float = 0.18215
    skip: int = 0
    sizes: int = 0

    def size(self, prediction: str) -> tuple[int, int]:
        """Height and width of the latents that the published model of this prediction was trained on."""
        side = self.sides.get(prediction, self.sides["noise"])
        return side, side


SD1 = Family(
    "Stable Diffusion 1",
    short="SD 1.5",
    text_width=768,
    sides={"noise": 64},
    defaults=Defaults(20, 7.5, "DPM++ 2M"),
    encoders=(Encoder("text_encoder", CLIP_L),),
)
SD2 = Family(
    "Stable Diffusion 2",
    short="SD 2",
    text_width=1024,
    sides={"noise": 64, "velocity": 96},
    defaults=Defaults(20, 7.5, "DPM++ 2M"),
    encoders=(Encoder("text_encoder", OPEN_CLIP_H, open_clip=True),),
)
SDXL = Family(
    "Stable Diffusion XL",
    short="SDXL",
    text_width=2048,
    sides={"noise": 128},
    defaults=Defaults(25, 5.0, "DPM++ 2M"),
    encoders=(Encoder("text_encoder", XL_CLIP_L), Encoder("text_encoder_2", XL_BIG_G, open_clip=True)),
    scale=0.13025,
    skip=1,
    sizes=6,
)
REFINER = Family(
    "Stable Diffusion XL refiner",
    short="SDXL refiner",
    text_width=1280,
    sides={"noise": 128},
    defaults=Defaults(25, 5.0, "DPM++ 2M"),
    encoders=(Encoder("text_encoder_2", REFINER_BIG_G, open_clip=True),),
    scale=0.13025,
    skip=1,
    sizes=5,
)

FAMILIES = (SD1, SD2, SDXL, REFINER)
SHORT = {family.name: family.short for family in FAMILIES}
BY_WIDTH = {family.text_width: family.short for family in FAMILIES}
"""What people call the family whose network reads text of this width."""
