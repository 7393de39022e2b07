"""How well pictures show what was asked for, by an encoder that puts pictures and words into one space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unnoise.checkpoints.picture_text import PictureText, load_picture_text
from unnoise.errors import InputError
from unnoise.text import embed

_ROWS = 64


@dataclass(frozen=True, eq=False)
class Alignment:
    """Judges pictures by a picture-text encoder.

    Its figures are its own: they rank pictures of one model or of several, they are no other program's CLIP score.
    """

    encoder: PictureText

    @classmethod
    def load(cls, name_or_path: str | Path) -> Alignment:
        """With a shipped encoder ("emoji") or one from a folder. Raises CheckpointError."""
        return cls(load_picture_text(name_or_path))

    @property
    def name(self) -> str:
        """The encoder's name with the first ten digits of its weights' hash."""
        return f"{self.encoder.name} {self.encoder.sha256[:10]}"

    @torch.inference_mode()
    def pictures(self, pictures: Tensor) -> Tensor:
        """Unit vectors of pictures (pictures, 3 or 1, height, width), uint8 or in [-1, 1]: (pictures, features).

        Numbers beyond that range are cut to it, as in the pictures that are shown.
        """
        found = []
        for rows in torch.split(pictures, _ROWS):
            seen = rows.float() / 127.5 - 1.0 if rows.dtype == torch.uint8 else rows.float()
            found.append(self.encoder.network.picture(seen.clamp(-1.0, 1.0).expand(-1, 3, -1, -1)))
        return torch.cat(found)

    @torch.inference_mode()
    def words(self, prompts: str | Sequence[str]) -> Tensor:
        """Unit vectors of prompts, (prompts, features)."""
        found = embed(self.encoder.network.text, self.encoder.tokenizer, prompts)
        return torch.nn.functional.normalize(found.pooled, dim=-1)

    def agreement(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """Cosine between each picture and its prompt, (pictures,), from -1 to 1.

        Raises InputError unless there is one prompt a picture.
        """
        if len(pictures) != len(prompts):
            raise InputError(
                f"there are {len(pictures)} pictures and {len(prompts)} prompts; give one a picture."
            )
        return (self.pictures(pictures) * self.words(prompts)).sum(-1)

    def features(self, pictures: Tensor) -> NDArray[np.float64]:
        """The pictures' vectors in float64, as the distances between sets of pictures take them."""
        return self.pictures(pictures).double().numpy()


def retrieval(
    pictures: Tensor, gallery: Tensor, truth: Sequence[int], places: Sequence[int]
) -> dict[int, float]:
    """How often the right entry of a gallery is among the first `n` for a picture: R-precision at each n of `places`.

    pictures: (pictures, features), gallery: (entries, features), unit vectors. truth: the right entry of each picture.
    Raises InputError when a picture has no truth.
    """
    if len(truth) != len(pictures):
        raise InputError(
            f"there are {len(pictures)} pictures and {len(truth)} true entries; give one a picture."
        )
    scores = pictures @ gallery.T
    own = scores.gather(1, torch.tensor([[place] for place in truth], device=scores.device))[:, 0]
    rank = (scores > own[:, None]).sum(1)
    return {place: float((rank < place).double().mean()) for place in places}
