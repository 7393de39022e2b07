"""Activation checkpointing: blocks forget what they computed and compute it again when gradients are taken.

Memory for about one more forward pass (Chen et al. 2016). The gradient is the same to the last digit, because
dropout draws its numbers again from the same state.
"""

from __future__ import annotations

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint

from unnoise.networks.unet.attention import AttentionBlock
from unnoise.networks.unet.residual import ResidualBlock
from unnoise.networks.unet.transformer import SpatialTransformer

BLOCKS = (ResidualBlock, SpatialTransformer, AttentionBlock)
"""What a network is made of, for those that work block by block."""


def forget_inside(network: nn.Module) -> None:
    """Make every residual and attention block of the network keep its inputs alone. Weights and names stay."""
    for block in network.modules():
        if isinstance(block, BLOCKS):
            block.forward = functools.partial(  # type: ignore[method-assign]
                checkpoint, block.forward, use_reentrant=False
            )
