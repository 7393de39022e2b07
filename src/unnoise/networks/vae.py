"""The KL autoencoder of latent diffusion (Rombach et al. 2022, appendix G): pictures <-> latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.limits import Count, Finite, Positive, typed
from unnoise.networks.settings import Settings
from unnoise.networks.unet.attention import AttentionBlock
from unnoise.networks.unet.config import LAYERS
from unnoise.networks.unet.in_place import plus, silu
from unnoise.networks.unet.layers import Convolution
from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.unet.residual import Downsample, Upsample

_NORM_EPS = 1e-6
_LOG_VARIANCE = (-30.0, 20.0)


@dataclass(frozen=True)
class AutoEncoderConfig(Settings):
    """The shape of an autoencoder. The defaults are Stable Diffusion's.

    channels, latent_channels: of pictures and of latents. widths: channels of each level, the finest first; each
    has half the height and width of the one before. blocks: residual blocks of a level on the way down (one more
    on the way up). attention: the middle has one self-attention. norm_groups: of the group norms. quant: 1x1
    convolutions stand between the halves and the latents. scale, shift: the diffusion works on
    (z - shift) * scale, which has about unit variance.
    """

    kind = "an autoencoder"

    channels: Count = 3
    latent_channels: Count = 4
    widths: tuple[Count, ...] = (128, 256, 512, 512)
    blocks: Count = 2
    attention: bool = True
    norm_groups: Count = 32
    quant: bool = True
    scale: Positive = 0.18215
    shift: Finite = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiples("widths", of="norm_groups")
        if self.blocks * len(self.widths) > LAYERS:
            raise InputError(
                f"blocks is {self.blocks} in {len(self.widths)} levels; give at most {LAYERS} in all."
            )

    @property
    def factor(self) -> int:
        """Pixels of a side for one latent."""
        return int(2 ** (len(self.widths) - 1))


class LatentGaussian(NamedTuple):
    """q(z | picture), independent in every element. mean, log_variance: (batch, latent channels, h, w)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, eps: Tensor) -> Tensor:
        """The draw that standard normal `eps`, shaped as the mean, makes."""
        return self.mean + (0.5 * self.log_variance).exp() * eps


class Residual(nn.Module):
    """The sum of x and conv(silu(norm(conv(silu(norm(x)))))); a UNet's residual block without its time."""

    def __init__(self, width: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, width, _NORM_EPS)
        self.conv1 = Convolution(width, out, 3, padding=1)
        self.norm2 = GroupNorm(groups, out, _NORM_EPS)
        self.conv2 = Convolution(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if width == out else Convolution(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns (batch, out, h, w)."""
        h = self.conv1(silu(self.norm1(x)))
        h = silu(self.norm2(h))  # the first convolution's map is free when the second makes its own
        return plus(self.conv2(h), self.shortcut(x))


class Level(nn.Module):
    """Residual blocks of one size, then half ("down"), twice ("up") or the same size ("")."""

    def __init__(self, width: int, out: int, blocks: int, groups: int, resize: str) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(Residual(width if i == 0 else out, out, groups) for i in range(blocks))
        self.downsample = Downsample(out, same=True) if resize == "down" else None
        self.upsample = Upsample(out) if resize == "up" else None

    def layers(self) -> Iterator[nn.Module]:
        """In the order in which a map goes through them."""
        yield from self.residuals
        yield from (layer for layer in (self.downsample, self.upsample) if layer is not None)


class Middle(nn.Module):
    """The coarsest feature map: a residual block, attention over all its pixels, a residual block."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        width, groups = config.widths[-1], config.norm_groups
        self.residual1 = Residual(width, width, groups)
        self.attention = AttentionBlock(width, 1, groups, _NORM_EPS) if config.attention else None
        self.residual2 = Residual(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns the same shape."""
        x = self.residual1(x)
        if self.attention is not None:
            x = self.attention(x)
        return self.residual2(x)


def memory_order(device: torch.device) -> torch.memory_format:
    """The order of maps and kernels in memory that a device decodes fastest in.

    Channels last on a processor. Elsewhere rows: torch's group norm on a card copies channels-last maps there and back
    (diffusers' decoder to 512x512 on an H200, float16: 21.0 ms in rows, 26.2 channels-last, `benchmarks/gpu.py`).
    """
    return torch.channels_last if device.type in ("cpu", "meta") else torch.contiguous_format


def _ordered(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=memory_order(x.device)) if x.ndim == 4 else x


def _layers(levels: nn.ModuleList) -> Iterator[nn.Module]:
    """Of all levels, in order: one by one they hold one map at a time, not a level's input too."""
    for level in levels:
        assert isinstance(level, Level)
        yield from level.layers()


class Encoder(nn.Module):
    """A picture -> mean and log-variance of its latents, before the 1x1 convolution."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.norm_groups
        self.conv_in = Convolution(config.channels, widths[0], 3, padding=1)
        last = len(widths) - 1
        self.down_blocks = nn.ModuleList(
            Level(width, out, config.blocks, groups, "down" if level < last else "")
            for level, (width, out) in enumerate(pairwise((widths[0], *widths)))
        )
        self.mid_block = Middle(config)
        self.norm_out = GroupNorm(groups, widths[-1], _NORM_EPS)
        self.conv_out = Convolution(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, height, width). Returns (batch, 2 latent channels, h, w)."""
        x = self.conv_in(x)
        for layer in _layers(self.down_blocks):
            x = layer(x)
        return self.conv_out(silu(self.norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latents, after their 1x1 convolution -> a picture."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        widths, groups = config.widths[::-1], config.norm_groups
        self.conv_in = Convolution(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = Middle(config)
        last = len(widths) - 1
        self.up_blocks = nn.ModuleList(
            Level(width, out, config.blocks + 1, groups, "up" if level < last else "")
            for level, (width, out) in enumerate(pairwise((widths[0], *widths)))
        )
        self.norm_out = GroupNorm(groups, widths[-1], _NORM_EPS)
        self.conv_out = Convolution(widths[-1], config.channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """z: (batch, latent channels, h, w). Returns (batch, channels, height, width)."""
        x = self.mid_block(self.conv_in(z))
        for layer in _layers(self.up_blocks):
            x = layer(x)
        return self.conv_out(silu(self.norm_out(x)))


class AutoEncoder(nn.Module):
    """Pictures in [-1, 1] <-> latents, eight times smaller a side in Stable Diffusion.

    `encode` and `decode` speak the autoencoder's own units; `scaled` and `unscaled` change to those in which the
    diffusion works, and back.
    """

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        self.config: AutoEncoderConfig = typed("config", config, AutoEncoderConfig, "AutoEncoderConfig()")
        latent = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant = Convolution(2 * latent, 2 * latent, 1) if config.quant else nn.Identity()
        self.post_quant = Convolution(latent, latent, 1) if config.quant else nn.Identity()
        self._apply(lambda weight: weight)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AutoEncoder:
        """Every move and cast goes through here: the weights end in the memory order of where they are."""
        return super()._apply(lambda tensor: _ordered(fn(tensor)), recurse)  # type: ignore[no-untyped-call]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.encoder.conv_in.weight.dtype

    def encode(self, pictures: Tensor) -> LatentGaussian:
        """The latents' distribution.

        pictures: (batch, channels, height, width) in [-1, 1], sides multiples of `config.factor`. Returns it in
        the pictures' dtype; the log-variance is held within [-30, 20], as in training.
        """
        factor = self.config.factor
        self._check("pictures", pictures, self.config.channels)
        if pictures.shape[2] % factor or pictures.shape[3] % factor:
            raise InputError(
                f"pictures have the size {pictures.shape[3]}x{pictures.shape[2]} (width x height); this "
                f"autoencoder needs multiples of {factor}."
            )
        moments = self.quant(self.encoder(self.inside(pictures))).to(pictures.dtype)
        mean, log_variance = moments.chunk(2, dim=1)
        return LatentGaussian(mean, log_variance.clamp(*_LOG_VARIANCE))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures about [-1, 1], in the latents' dtype; not clipped.

        latents: (batch, latent channels, h, w). Returns (batch, channels, factor * h, factor * w).
        """
        self._check("latents", latents, self.config.latent_channels)
        return self.decoder(self.post_quant(self.inside(latents))).to(latents.dtype)

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents of `encode` in the units of the diffusion: (z - shift) * scale."""
        return (latents - self.config.shift) * self.config.scale

    def unscaled(self, latents: Tensor) -> Tensor:
        """The inverse of `scaled`, for `decode`."""
        return latents / self.config.scale + self.config.shift

    def inside(self, x: Tensor) -> Tensor:
        """What enters a half, in the dtype and memory order of the weights."""
        return _ordered(x.to(self.dtype))

    def _check(self, name: str, x: Tensor, channels: int) -> None:
        if x.ndim != 4 or x.shape[1] != channels:
            raise InputError(
                f"{name} has the shape {tuple(x.shape)}; give (batch, {channels}, height, width)."
            )
