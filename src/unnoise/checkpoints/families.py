"""The families of Stable Diffusion, and what each makes its pictures with when nothing else is asked."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.checkpoints.manifest import Defaults


@dataclass(frozen=True)
class Family:
    """A name, the side of the latents by what the network predicts, and defaults.

    encoders: the text encoders, in order. skip: how many of their last layers are left out. sizes: how many numbers
    (sizes, offsets, a score) the network is told beside the pooled text.
    """

    name: str
    sides: dict[str, int]
    defaults: Defaults
    encoders: tuple[str, ...] = ("text_encoder",)
    skip: int = 0
    sizes: int = 0

    def size(self, prediction: str) -> tuple[int, int]:
        """Height and width of the latents that the published model of this prediction was trained on."""
        side = self.sides.get(prediction, self.sides["noise"])
        return side, side


SD1 = Family("Stable Diffusion 1", {"noise": 64}, Defaults(20, 7.5, "DPM++ 2M"))
SD2 = Family("Stable Diffusion 2", {"noise": 64, "velocity": 96}, Defaults(20, 7.5, "DPM++ 2M"))
SDXL = Family(
    "Stable Diffusion XL",
    {"noise": 128},
    Defaults(25, 5.0, "DPM++ 2M"),
    encoders=("text_encoder", "text_encoder_2"),
    skip=1,
    sizes=6,
)
REFINER = Family(
    "Stable Diffusion XL refiner",
    {"noise": 128},
    Defaults(25, 5.0, "DPM++ 2M"),
    encoders=("text_encoder_2",),
    skip=1,
    sizes=5,
)

FAMILIES = (SD1, SD2, SDXL, REFINER)
