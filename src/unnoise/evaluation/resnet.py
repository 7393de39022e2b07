"""ResNet, its wide forms and ResNeXt (He et al. 2016; Xie et al. 2017), tensors named as in torchvision and timm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions, or where `deep` 1x1, 3x3, 1x1, added to the input.

    inner: channels between them; after: channels of the answer. The first 3x3 has the stride, as in torchvision
    (in the paper it is the first 1x1) and reads `groups` of channels apart.
    """

    def __init__(self, before: int, inner: int, after: int, stride: int, groups: int, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        if deep:
            self.conv1 = nn.Conv2d(before, inner, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
            self.conv3, self.bn3 = nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after)
        else:
            self.conv1 = nn.Conv2d(before, inner, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) -> (batch, after, height / stride, width / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.deep:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Normalised pictures -> the mean over all places of the last layer, which the classes are told by.

    depths: blocks of each of the four layers. inner: channels between the convolutions of the first layer's blocks;
    each further layer doubles them.
    """

    def __init__(self, depths: tuple[int, ...], deep: bool, inner: int = 64, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for layer, depth in enumerate(depths):
            after = 64 * 2**layer * (4 if deep else 1)
            blocks = []
            for place in range(depth):
                stride = 2 if layer and not place else 1
                blocks.append(Block(before, inner * 2**layer, after, stride, groups, deep))
                before = after
            self.add_module(f"layer{layer + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, 512, or 2048 where deep)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{layer}")(x)
        return torch.mean(x, (2, 3))
