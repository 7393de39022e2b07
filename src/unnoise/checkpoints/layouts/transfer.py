"""Tensors from one layout to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unnoise.checkpoints.layouts.layout import Layout, Source


@torch.no_grad()
def pour(source: Source, into: Tensor, take: Callable[[str], Tensor]) -> None:
    """Copy what `source` names into one tensor of ours, in its dtype and memory order, part by part.

    take: the tensor of a name; asked once for each, and not kept.
    """
    for part, name in zip(into.chunk(len(source.names)), source.names, strict=True):
        theirs = take(name)
        part.copy_(theirs.t() if source.form == "transposed" else theirs.reshape(part.shape))


def spread(layout: Layout, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor of ours under the layout's names and shapes: the inverse of `pour`, without loss."""
    found: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        source = layout.source(name)
        for part, theirs in zip(tensor.chunk(len(source.names)), source.names, strict=True):
            found[theirs] = part.reshape(source.shape(tuple(tensor.shape))).contiguous()
            if source.form == "transposed":
                found[theirs] = part.t().contiguous()
    return found
