"""The Inception-v3 behind every published FID: TensorFlow's network of December 2015 with its own way of resizing.

Its tensors are named as in `pt_inception-2015-12-05-6726825d.pth`, the conversion that pytorch-fid and torch-fidelity
share. It differs from torchvision's network of that name in its pools and its weights, so the figures differ too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 299
RULE = "stretched to 299x299 (TensorFlow 1's bilinear, not antialiased)"
"""How pictures come to the size that the network sees, in words."""

Layer = tuple[str, int, int | tuple[int, int]]
"""Name, channels and kernel of a convolution."""
Branch = tuple[Layer | tuple[Layer, Layer], ...]
"""Convolutions in order; a pair of them reads the same input, and their channels are joined."""


class Convolution(nn.Module):
    """Convolution, batch norm, rectifier. stride 1 keeps the size unless `valid`, stride 2 pads nothing."""

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False
    ) -> None:
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid or stride == 2 else (high // 2, wide // 2)
        self.conv = nn.Conv2d(before, after, (high, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) -> (batch, after, ...)."""
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Paths side by side, the channels of their ends joined, a pool of the input last.

    paths: each a row of convolutions. pool: channels of the convolution after the pool. halve: the last convolution
    of each path and the pool have stride 2, and nothing follows the pool. largest: the pool takes maxima; means
    leave the padding out.
    """

    def __init__(
        self,
        before: int,
        paths: tuple[Branch, ...],
        pool: int = 0,
        halve: bool = False,
        largest: bool = False,
    ) -> None:
        super().__init__()
        self.paths = []
        for path in paths:
            width = before
            for step in path:
                stride = 2 if halve and step is path[-1] else 1
                for name, after, kernel in _layers(step):
                    self.add_module(f"branch{name}", Convolution(width, after, kernel, stride))
                width = sum(after for _, after, _ in _layers(step))
            self.paths.append([[f"branch{name}" for name, _, _ in _layers(step)] for step in path])
        self.pool: nn.Module = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        if halve or largest:
            self.pool = nn.MaxPool2d(3, 2) if halve else nn.MaxPool2d(3, 1, 1)
        self.branch_pool = nn.Identity() if halve else Convolution(before, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) -> (batch, all paths' channels, ...)."""
        ends = []
        for path in self.paths:
            y = x
            for names in path:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            ends.append(y)
        return torch.cat([*ends, self.branch_pool(self.pool(x))], 1)


def _layers(step: Layer | tuple[Layer, Layer]) -> tuple[Layer, ...]:
    return (step,) if isinstance(step[0], str) else step


def _fine(before: int, pool: int) -> Mixed:
    return Mixed(
        before,
        (
            (("1x1", 64, 1),),
            (("5x5_1", 48, 1), ("5x5_2", 64, 5)),
            (("3x3dbl_1", 64, 1), ("3x3dbl_2", 96, 3), ("3x3dbl_3", 96, 3)),
        ),
        pool,
    )


def _long(width: int) -> Mixed:
    wide, high = (1, 7), (7, 1)
    return Mixed(
        768,
        (
            (("1x1", 192, 1),),
            (("7x7_1", width, 1), ("7x7_2", width, wide), ("7x7_3", 192, high)),
            (
                ("7x7dbl_1", width, 1), ("7x7dbl_2", width, high), ("7x7dbl_3", width, wide),
                ("7x7dbl_4", width, high), ("7x7dbl_5", 192, wide),
            ),
        ),
        192,
    )  # fmt: skip


def _forked(before: int, largest: bool) -> Mixed:
    def fork(name: str) -> tuple[Layer, Layer]:
        return (f"{name}a", 384, (1, 3)), (f"{name}b", 384, (3, 1))

    return Mixed(
        before,
        (
            (("1x1", 320, 1),),
            (("3x3_1", 384, 1), fork("3x3_2")),
            (("3x3dbl_1", 448, 1), ("3x3dbl_2", 384, 3), fork("3x3dbl_3")),
        ),
        192,
        largest=largest,
    )


class Inception(nn.Module):
    """Pictures as `seen` makes them -> the 2,048 numbers before the classes (Szegedy et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, valid=True)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _fine(192, 32), _fine(256, 64), _fine(288, 64)
        thrice: Branch = (("3x3dbl_1", 64, 1), ("3x3dbl_2", 96, 3), ("3x3dbl_3", 96, 3))
        self.Mixed_6a = Mixed(288, ((("3x3", 384, 3),), thrice), halve=True)
        self.Mixed_6b, self.Mixed_6c = _long(128), _long(160)
        self.Mixed_6d, self.Mixed_6e = _long(160), _long(192)
        seven: Branch = (
            ("7x7x3_1", 192, 1), ("7x7x3_2", 192, (1, 7)), ("7x7x3_3", 192, (7, 1)), ("7x7x3_4", 192, 3)
        )  # fmt: skip
        self.Mixed_7a = Mixed(768, ((("3x3_1", 192, 1), ("3x3_2", 320, 3)), seven), halve=True)
        # the published network takes maxima in its very last pool, unlike its paper; figures depend on it
        self.Mixed_7b, self.Mixed_7c = _forked(1280, largest=False), _forked(2048, largest=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 299, 299) -> (batch, 2048)."""
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def seen(pixels: Tensor) -> Tensor:
    """uint8 pictures (pictures, 3, height, width) -> (pictures, 3, 299, 299), (x - 128) / 128.

    Both sides are stretched to 299 by TensorFlow 1's bilinear rule: pixel k of the result looks at k * side / 299, so
    corners do not keep their centres, and nothing is averaged where pictures shrink.
    """
    pictures = pixels if pixels.is_floating_point() else pixels.float()
    rows, columns = (_weights(side).to(pictures) for side in pictures.shape[-2:])
    resized = rows @ pictures @ columns.T
    return (resized - 128.0) / 128.0


def _weights(side: int) -> Tensor:
    """What each of 299 places takes of `side` pixels, (299, side)."""
    place = torch.arange(SIDE, dtype=torch.float64) * side / SIDE
    low = place.floor().long()
    share = place - low
    table = torch.zeros(SIDE, side, dtype=torch.float64)
    every = torch.arange(SIDE)
    table[every, low] += 1.0 - share
    table[every, (low + 1).clamp(max=side - 1)] += share
    return table
