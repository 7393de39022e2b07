"""Pictures and words in one space: a small pair of encoders in the manner of CLIP (Radford et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.errors import InputError
from unnoise.limits import Count
from unnoise.networks.settings import Settings
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig


@dataclass(frozen=True)
class PictureEncoderConfig(Settings):
    """The shape of a picture encoder.

    size: side of the pictures that it sees. widths: channels of each level; each level halves the picture first.
    blocks: residual blocks a level. features: length of the vector. groups: of the group norms.
    """

    kind = "a picture encoder"

    size: Count = 64
    widths: tuple[Count, ...] = (32, 64, 128, 192)
    blocks: Count = 1
    features: Count = 128
    groups: Count = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiples("widths", of="groups")
        if self.size % 2 ** len(self.widths):
            raise InputError(f"size is {self.size}; give a multiple of {2 ** len(self.widths)}.")


class PictureEncoder(nn.Module):
    """A picture -> one vector: convolutions that halve the picture, then the mean over what is left."""

    def __init__(self, config: PictureEncoderConfig) -> None:
        super().__init__()
        self.config = config
        levels: list[nn.Module] = []
        width = 3
        for out in config.widths:
            levels.append(nn.Conv2d(width, out, 3, stride=2, padding=1))
            levels += [PictureBlock(out, config.groups) for _ in range(config.blocks)]
            width = out
        self.levels = nn.Sequential(*levels)
        self.norm = nn.GroupNorm(config.groups, width)
        self.out = nn.Linear(width, config.features, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Unit vectors of pictures, (batch, features) float32.

        pictures: (batch, 3, height, width) in [-1, 1], of any size and floating dtype. Raises InputError for others.
        """
        if pictures.dim() != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
            raise InputError(
                f"pictures is {pictures.dtype} of shape {tuple(pictures.shape)}; give (batch, 3, height, width) in "
                "[-1, 1]."
            )
        side = self.config.size
        if pictures.shape[2:] != (side, side):
            # torch has no kernel for halves
            pictures = F.interpolate(pictures.float(), (side, side), mode="bilinear", antialias=True)
        x = F.silu(self.norm(self.levels(pictures.to(self.out.weight.dtype)))).mean((2, 3))
        return F.normalize(self.out(x).float(), dim=-1)


class PictureBlock(nn.Module):
    """Norm, activation, convolution, twice, added to the input (He et al. 2016)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w), likewise the answer."""
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class PictureTextEncoder(nn.Module):
    """Two towers whose unit vectors agree where words describe a picture.

    picture: sees pictures; text: a text encoder whose projection has as many numbers as the picture's vector.
    """

    def __init__(self, picture: PictureEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        if text.projection != picture.features:
            raise InputError(
                f"the text encoder's projection is {text.projection}, the picture's vector has {picture.features} "
                "numbers; give them the same."
            )
        self.picture = PictureEncoder(picture)
        self.text = TextEncoder(text)
        self.log_scale = nn.Parameter(torch.tensor(2.659))  # 1 / 0.07, as CLIP begins

    def words(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Unit vectors of prompts, (batch, features)."""
        return F.normalize(self.text(tokens, mask).pooled.float(), dim=-1)

    def loss(self, pictures: Tensor, tokens: Tensor, mask: Tensor | None, same: Tensor) -> Tensor:
        """The contrastive loss of a batch (Radford et al. 2021, fig. 3), in both directions.

        same: (batch, batch) bool, true where words of one also describe the other picture: no pair to push apart.
        """
        scores = self.log_scale.exp() * self.picture(pictures) @ self.words(tokens, mask).T
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(same & ~own, -torch.inf)
        target = torch.arange(len(scores), device=scores.device)
        return 0.5 * (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target))
