"""Weights in eight bits: whole numbers from -127 to 127 and a scale for each output channel.

Half the size of float16 at a 250th of a channel's largest weight; networks compute in floating point after loading.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
_SMALL = 4096
"""Tensors of fewer numbers stay in float16: norms and biases are few and matter most."""


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each large matrix (out, ...) as int8 under its name, its scales (out,) float16 beside it; the rest in float16."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif tensor.dim() < 2 or tensor.numel() < _SMALL:
            packed[name] = tensor.half()
        else:
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1) / 127).half()
            # half may round a scale down, and an all-zero row has none
            steps = (rows / scale.float().clamp(min=1e-12)[:, None]).round().clamp(-127, 127)
            packed[name] = steps.to(torch.int8).view_as(tensor)
            packed[name + SCALE] = scale
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `pack`, in float32 where it was packed; tensors without a scale stay as they are."""
    found = {}
    for name, tensor in tensors.items():
        if name + SCALE in tensors:
            scale = tensors[name + SCALE].float()
            found[name] = tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in tensors):
            found[name] = tensor
    return found


def layout(wanted: Mapping[str, Tensor], names: Mapping[str, object]) -> dict[str, Tensor]:
    """What a file with these names must hold for a model with the tensors `wanted`: packed ones and their scales."""
    expected: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        if name + SCALE in names and tensor.dim() >= 2:
            expected[name] = torch.empty(tensor.shape, dtype=torch.int8, device="meta")
            expected[name + SCALE] = torch.empty(tensor.shape[0], device="meta")
        else:
            expected[name] = tensor
    return expected
