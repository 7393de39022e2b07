"""What a UNet is made of, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unnoise.errors import InputError
from unnoise.limits import BelowOne, Bound, Count, Positive
from unnoise.networks.settings import Settings

LAYERS = 200
"""Most layers on the way down: published networks have some forty, and a file must not make us build for minutes."""


@dataclass(frozen=True)
class UNetConfig(Settings):
    """Settings of one UNet. Tuples have one entry per level, the finest level first.

    in_channels, out_channels: of the picture or latent; a learned variance takes twice the channels out.
    widths: channels of each level; each level has half the height and width of the one before, rounded up.
    blocks: residual blocks of a level on the way down (one more on the way up); one number, or one per level.
    attention: depth of attention at each level, 0 for none; () for none at any level.
        Without text (`text_width` 0) an attention is one self-attention (Ho et al. 2020), and the depth
        is 0 or 1; with text it is a stack of `depth` transformer blocks (Rombach et al. 2022).
    mid_attention: the same for the middle block.
    heads, head_width: `heads` attention heads at every level; or, if `head_width` is not 0, as many as
        have that width.
    dropout: before the last convolution of each residual block; one number, or one per level.
    scale_shift: time scales and shifts the second norm of a residual block (Dhariwal and Nichol 2021)
        instead of being added before it.
    resample: "conv", a convolution of stride 2 padded on both sides; "conv_same", padded at the right and
        bottom only (DDPM); "residual", residual blocks that change the size (ADM).
    norm_groups, norm_eps: of the group norms; every width is a multiple of `norm_groups`.
    sinusoid: "adm" is (cos, sin) of frequencies 10000^(-i/n); "ddpm" is (sin, cos) of 10000^(-i/(n-1)).
    time_scale: multiplies the time before the sinusoid: 1 for times 0..999, 1000 for times 0..1.
    patch: folds patch x patch pixels into channels on entry, and unfolds them on leaving (space to depth).
    text_width: channels of the text embedding that cross-attention reads; 0 for no text.
    pooled_width: channels of one vector per sample that is added to the time embedding; 0 for none.
    classes: number of class labels, one learned vector each, added to the time embedding; 0 for none.
    """

    kind = "a UNet"

    in_channels: Count = 3
    out_channels: Count = 3
    widths: tuple[Count, ...] = (128, 256, 256, 256)
    blocks: Count | tuple[Count, ...] = 2
    attention: tuple[Bound, ...] = ()
    mid_attention: Bound = 1
    heads: Count = 1
    head_width: Bound = 0
    dropout: BelowOne | tuple[BelowOne, ...] = 0.0
    scale_shift: bool = False
    resample: Literal["conv", "conv_same", "residual"] = "conv"
    norm_groups: Count = 32
    norm_eps: Positive = 1e-5
    sinusoid: Literal["ddpm", "adm"] = "adm"
    time_scale: Positive = 1.0
    patch: Count = 1
    text_width: Bound = 0
    pooled_width: Bound = 0
    classes: Bound = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_levels()
        self._check_attention()

    @property
    def factor(self) -> int:
        """Height and width that are multiples of this number of pixels are halved without a rest at every level."""
        return int(self.patch * 2 ** (len(self.widths) - 1))

    @property
    def unit(self) -> int:
        """Height and width of a picture must be multiples of this number of pixels.

        Half of an odd size is rounded up by a convolution padded on both sides; other ways would lose the rest.
        """
        return self.patch if self.resample == "conv" else self.factor

    def blocks_at(self, level: int) -> int:
        """Residual blocks of one level on the way down."""
        return self.blocks if isinstance(self.blocks, int) else self.blocks[level]

    @property
    def skips(self) -> list[int]:
        """Channels of each skip that the way down leaves, the first that of the first convolution."""
        last = len(self.widths) - 1
        levels = ([width] * (self.blocks_at(i) + (i < last)) for i, width in enumerate(self.widths))
        return [self.widths[0], *(width for level in levels for width in level)]

    def attention_at(self, level: int) -> int:
        """Depth of attention at one level."""
        return self.attention[level] if self.attention else 0

    def dropout_at(self, level: int) -> float:
        """Dropout probability of one level; the middle block takes that of the last level."""
        return self.dropout[level] if isinstance(self.dropout, tuple) else self.dropout

    def heads_of(self, width: int) -> int:
        """Number of attention heads of a layer with `width` channels."""
        return width // self.head_width if self.head_width else self.heads

    def _check_levels(self) -> None:
        self.check_multiples("widths", of="norm_groups")
        levels = len(self.widths)
        for name in ("blocks", "attention", "dropout"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels and (value or name != "attention"):
                raise InputError(
                    f"{name} is {value} for {levels} levels of widths {self.widths}; give one a level."
                )
        if self.widths[0] % 2:
            raise InputError(f"the first width is {self.widths[0]}; give an even one, for sines and cosines.")
        layers = sum(self.blocks_at(level) * (1 + self.attention_at(level)) for level in range(levels))
        if layers > LAYERS:
            raise InputError(
                f"blocks and attention make {layers:,} layers on the way down; give at most {LAYERS}."
            )

    def _check_attention(self) -> None:
        depths = [(self.attention_at(level), width) for level, width in enumerate(self.widths)]
        for depth, width in [*depths, (self.mid_attention, self.widths[-1])]:
            if depth > 1 and not self.text_width:
                raise InputError(f"attention has depth {depth}; without text (text_width 0) give 0 or 1.")
            heads = self.heads_of(width)
            if depth and (heads < 1 or width % heads or (self.head_width and width % self.head_width)):
                raise InputError(
                    f"{width} channels do not split into heads (heads {self.heads}, "
                    f"head_width {self.head_width}); give a divisor of every width that has attention."
                )
