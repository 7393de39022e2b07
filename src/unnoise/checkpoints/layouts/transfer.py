"""Tensors from one layout to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unnoise.checkpoints.layouts.layout import Layout, Source

_CACHED = 2**20


@torch.no_grad()
def pour(source: Source, into: Tensor, take: Callable[[str], Tensor]) -> None:
    """Copy what `source` names into one tensor of ours, in its dtype and memory order, part by part.

    take: the tensor of a name; asked once for each, and not kept.
    """
    for part, name in zip(into.chunk(len(source.names)), source.names, strict=True):
        theirs = take(name)
        _copy(part, theirs.t() if source.form == "transposed" else theirs.reshape(part.shape))


def _copy(into: Tensor, theirs: Tensor) -> None:
    """Copy by rows that fit a processor's cache: changing the type and the memory order at once is half as fast.

    1280 x 1280 x 3 x 3, float16 -> bfloat16 channels-last, two threads: 12 ms against 23.
    """
    if into.dtype == theirs.dtype or theirs.dtype == torch.float64 or not into.ndim:
        into.copy_(theirs)
        return
    rows = max(1, _CACHED * len(into) // max(1, into.numel()))
    for some, their_rows in zip(torch.split(into, rows), torch.split(theirs, rows), strict=True):
        some.copy_(their_rows.float().to(into.dtype))


def spread(layout: Layout, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor of ours under the layout's names and shapes: the inverse of `pour`, without loss."""
    found: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        source = layout.source(name)
        for part, theirs in zip(tensor.chunk(len(source.names)), source.names, strict=True):
            turned = (
                part.t() if source.form == "transposed" else part.reshape(source.shape(tuple(tensor.shape)))
            )
            found[theirs] = turned.contiguous()
    return found
