"""The UNet: down blocks, a middle block, up blocks, and skips between them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.errors import InputError
from unnoise.limits import counted, typed
from unnoise.networks.unet.attention import CrossAttention, TextMemory, readable
from unnoise.networks.unet.blocks import DownBlock, MidBlock, UpBlock
from unnoise.networks.unet.config import UNetConfig
from unnoise.networks.unet.embedding import Embedding, sinusoids
from unnoise.networks.unet.initial import initialise
from unnoise.networks.unet.layers import Convolution
from unnoise.networks.unet.norm import GroupNorm


class UNetOutput(NamedTuple):
    """sample: (batch, out channels, height, width), in the dtype of the input."""

    sample: Tensor


class Residuals(NamedTuple):
    """What is added to a UNet's feature maps by a network beside it (ControlNet, T2I-Adapter).

    skips: none, or one for each that the way down leaves, the first that of `conv_in`. middle: for the middle block's
    output. levels: none, or one for each level on the way down, and what follows hears it too; see `DownBlock`.
    """

    skips: tuple[Tensor, ...] = ()
    middle: Tensor | None = None
    levels: tuple[Tensor, ...] = ()


class Question(NamedTuple):
    """What an answer is asked for: as `UNet.forward` takes it, but checked, and the text as `remember` made of it."""

    x: Tensor
    time: Tensor | float
    text: TextMemory | None = None
    pooled: Tensor | None = None
    labels: Tensor | None = None
    residuals: Residuals | None = None


class UNet(nn.Module):
    """Predicts, from a noisy picture and its time, what it was trained for: noise, velocity, or the picture.

    One network for the DDPM, ADM and Stable Diffusion lineages and for small ones of our own: see `UNetConfig`
    and `published`. It keeps its feature maps in channels-last memory, in which convolutions and norms need
    no reordering and pixels become tokens without a copy.

    spreads: whether x may have fewer rows than text, when nothing else tells its answers apart: one row for all the
    prompts that are asked about it. What comes before the first of them is heard is then computed once.
    """

    spreads = True

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config: UNetConfig = typed("config", config, UNetConfig, "UNetConfig()")
        widths, levels, fold = config.widths, range(len(config.widths)), config.patch**2
        embedding = 4 * widths[0]
        self.time_embedding = Embedding(widths[0], embedding)
        self.pooled_embedding = Embedding(config.pooled_width, embedding) if config.pooled_width else None
        self.class_embedding = nn.Embedding(config.classes, embedding) if config.classes else None

        self.conv_in = Convolution(config.in_channels * fold, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(config, level, widths[max(level - 1, 0)]) for level in levels
        )
        self.mid_block = MidBlock(config)
        up, skips = [], config.skips
        for level in reversed(levels):
            read = [skips.pop() for _ in range(config.blocks_at(level) + 1)]
            up.append(UpBlock(config, level, widths[min(level + 1, levels[-1])], read))
        self.up_blocks = nn.ModuleList(up)
        self.norm_out = GroupNorm(config.norm_groups, widths[0], config.norm_eps)
        self.conv_out = Convolution(widths[0], config.out_channels * fold, 3, padding=1)

        self.cross_attentions = [layer for layer in self.modules() if isinstance(layer, CrossAttention)]
        for place, layer in enumerate(self.cross_attentions):
            layer.place = place
        initialise(self, last=self.conv_out)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights. The bias is asked, for a weight may be one that an adapter changes at every look."""
        bias = self.conv_in.bias
        assert bias is not None
        return bias.dtype

    def forward(
        self,
        x: Tensor,
        time: Tensor | float,
        text: Tensor | TextMemory | None = None,
        text_mask: Tensor | None = None,
        pooled: Tensor | None = None,
        labels: Tensor | None = None,
        residuals: Residuals | None = None,
    ) -> UNetOutput:
        """One prediction.

        x: (batch, in channels, height, width), in any floating dtype and memory order.
        time: (batch,) or one number, as the noise schedule gives it.
        text: (batch, tokens, text width), or what `remember` made of it; or k times as many rows, for k answers to each
            picture: all pictures with their first prompts, all with their second (not with `pooled` or `labels`).
        text_mask: (batch, tokens) bool, True where a token counts; a TextMemory has its own.
        pooled: (batch, pooled width). labels: (batch,) int64. residuals: added to the skips and the middle.
        Raises InputError for a size that the levels cannot halve, or a condition missing or unknown.
        """
        self._check(x, text, pooled, labels)
        memory = self.remember(text, text_mask) if isinstance(text, Tensor) else text
        return self.answer(Question(x, time, memory, pooled, labels, residuals))

    def answer(self, asked: Question) -> UNetOutput:
        """The prediction alone, which networks around this one make in their own way."""
        emb = self.embed(asked)
        more = Residuals() if asked.residuals is None else asked.residuals
        h, skips = self.descend(asked.x, emb, asked.text, levels=more.levels)
        if more.skips:
            skips = [skip + added for skip, added in zip(skips, more.skips, strict=True)]
        h = h if more.middle is None else h + more.middle
        for up in self.up_blocks:
            h = up(h, skips, emb, asked.text)
        return self.leave(h, asked.x.dtype)

    def descend(
        self,
        x: Tensor,
        emb: Tensor,
        memory: TextMemory | None,
        hint: Tensor | None = None,
        levels: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """The way down and through the middle: its output, and the skips, finest first.

        emb: as `embed` makes it. hint: added to the first feature map. levels: as `Residuals` has.
        """
        h = self.enter(x)
        h = h if hint is None else h + hint
        skips = [h]
        for down, more in zip(self.down_blocks, levels or [None] * len(self.down_blocks), strict=True):
            h, left = down(h, emb, memory, more)
            skips += left
        return self.mid_block(h, emb, memory), skips

    def shallow(self, x: Tensor, emb: Tensor, memory: TextMemory | None, count: int) -> list[Tensor]:
        """The first `count` skips alone, at most those of the finest level."""
        skips, first = [self.enter(x)], self.down_blocks[0]
        blocks = list(zip(first.residuals, first.attentions, strict=True))  # type: ignore[arg-type]
        for residual, attention in blocks[: count - 1]:
            skips.append(attention(residual(skips[-1], emb), memory))
        return skips

    def enter(self, x: Tensor) -> Tensor:
        """The first feature map, (batch, first width, h, w), of a picture."""
        patch = self.config.patch
        h = F.pixel_unshuffle(x.to(self.dtype), patch) if patch > 1 else x.to(self.dtype)
        last = torch.channels_last
        # With one channel the input has no order and the kernel decides, which sharded training keeps otherwise.
        return self.conv_in(h.contiguous(memory_format=last)).contiguous(memory_format=last)

    def leave(self, h: Tensor, dtype: torch.dtype) -> UNetOutput:
        """The prediction, of the last feature map."""
        h = self.conv_out(self.norm_out.activated(h))
        patch = self.config.patch
        return UNetOutput((F.pixel_shuffle(h, patch) if patch > 1 else h).to(dtype))

    def remember(self, text: Tensor, text_mask: Tensor | None = None) -> TextMemory:
        """Keys and values of a prompt for every cross-attention: made once, then used at every step.

        text: (batch, tokens, text width); text_mask: (batch, tokens) bool, True where a token counts.
        """
        if text.ndim != 3 or text.shape[-1] != self.config.text_width:
            raise InputError(
                f"text has shape {tuple(text.shape)}; give (batch, tokens, {self.config.text_width}), "
                "the text encoder's hidden states."
            )
        if text_mask is not None and (text_mask.dtype != torch.bool or text_mask.shape != text.shape[:2]):
            raise InputError(
                f"text_mask is {text_mask.dtype} of shape {tuple(text_mask.shape)}; give bool of the text's shape "
                f"{tuple(text.shape[:2])}."
            )
        text = text.to(self.dtype)
        layers = tuple(layer.remember(text, text_mask) for layer in self.cross_attentions)
        return TextMemory(layers, None if text_mask is None else readable(text_mask))

    def embed(self, asked: Question) -> Tensor:
        """Time, pooled text and class as one vector per sample, after its SiLU: (batch, 4 * first width)."""
        config, x, time = self.config, asked.x, asked.time
        if not isinstance(time, Tensor):
            time = torch.full((1,), float(time), dtype=torch.float32, device=x.device)
        if time.numel() not in (1, x.shape[0]):
            raise InputError(
                f"time has shape {tuple(time.shape)}; give one number, or one a picture ({len(x)})."
            )
        time = time.to(x.device, torch.float32).reshape(-1).expand(x.shape[0]) * config.time_scale
        emb: Tensor = self.time_embedding(sinusoids(time, config.widths[0], config.sinusoid).to(self.dtype))
        if self.pooled_embedding is not None and asked.pooled is not None:
            emb = emb + self.pooled_embedding(asked.pooled.to(self.dtype))
        if self.class_embedding is not None and asked.labels is not None:
            emb = emb + self.class_embedding(asked.labels)
        return F.silu(emb)

    def _check(
        self, x: Tensor, text: Tensor | TextMemory | None, pooled: Tensor | None, labels: Tensor | None
    ) -> None:
        config = self.config
        if x.ndim != 4 or x.shape[1] != config.in_channels:
            raise InputError(
                f"x has shape {tuple(x.shape)}; give (batch, {config.in_channels}, height, width)."
            )
        check_size(x.shape[2], x.shape[3], config.unit)
        for name, value, width in (
            ("text", text, config.text_width),
            ("pooled", pooled, config.pooled_width),
            ("labels", labels, config.classes),
        ):
            if width and value is None:
                raise InputError(f"{name} is missing; this network was built with it, give it at every call.")
            if not width and value is not None:
                raise InputError(f"{name} was given; this network was built without it, leave it out.")
        rows = prompts(text)
        if len(x) and rows not in (None, 1) and rows % len(x):
            raise InputError(
                f"text has {counted(rows, 'row')} for {counted(len(x), 'picture')}; give one for each, or so many "
                "times more."
            )
        if pooled is not None and pooled.shape[-1] != config.pooled_width:
            raise InputError(f"pooled has shape {tuple(pooled.shape)}; give (batch, {config.pooled_width}).")


class Around(UNet):
    """A UNet around another, to be called as that one, whose weights and configuration it has; one for each run."""

    def __init__(self, unet: UNet) -> None:
        nn.Module.__init__(self)  # the UNet is there already
        self.config = unet.config
        self.unet = unet

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.unet.dtype

    def remember(self, text: Tensor, text_mask: Tensor | None = None) -> TextMemory:
        """As the UNet's."""
        return self.unet.remember(text, text_mask)


def prompts(text: Tensor | TextMemory | None) -> int | None:
    """How many prompts there are; None without text, and where no layer reads it."""
    if isinstance(text, TextMemory):
        return text.layers[0][0].shape[0] if text.layers else None
    return None if text is None else text.shape[0]


def check_size(height: int, width: int, factor: int, who: str = "this network") -> None:
    """Raises InputError, naming the nearest sizes, unless both are positive multiples of `factor`."""
    if height > 0 and width > 0 and height % factor == 0 and width % factor == 0:
        return
    below = [max(size // factor, 1) * factor for size in (height, width)]
    above = [max(-(-size // factor), 1) * factor for size in (height, width)]
    raise InputError(
        f"the size is {width}x{height} (width x height), but {who} needs multiples of {factor}; "
        f"the nearest sizes are {below[1]}x{below[0]} and {above[1]}x{above[0]}."
    )
