"""The families of Stable Diffusion, and what each makes its pictures with when nothing else is asked."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.checkpoints.manifest import Defaults


@dataclass(frozen=True)
class Family:
    """A name, the side of the latents by what the network predicts, and defaults."""

    name: str
    sides: dict[str, int]
    defaults: Defaults

    def size(self, prediction: str) -> tuple[int, int]:
        """Height and width of the latents that the published model of this prediction was trained on."""
        side = self.sides.get(prediction, self.sides["noise"])
        return side, side


SD1 = Family("Stable Diffusion 1", {"noise": 64}, Defaults(20, 7.5, "DPM++ 2M"))
SD2 = Family("Stable Diffusion 2", {"noise": 64, "velocity": 96}, Defaults(20, 7.5, "DPM++ 2M"))
SDXL = Family("Stable Diffusion XL", {"noise": 128}, Defaults(25, 5.0, "DPM++ 2M"))

FAMILIES = (SD1, SD2, SDXL)
