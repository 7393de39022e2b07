"""First weights, as in the DDPM lineage: every residual branch begins as zero."""

from __future__ import annotations

from torch import nn

from unnoise.networks.unet.attention import AttentionBlock, CrossAttention, SelfAttention
from unnoise.networks.unet.residual import ResidualBlock
from unnoise.networks.unet.transformer import SpatialTransformer


def initialise(network: nn.Module, last: nn.Conv2d) -> None:
    """Draws all weights of a UNet anew, from torch's global generator.

    Matrices uniform with variance 2 / (fan in + fan out) (Glorot and Bengio 2010), biases zero, and the last
    layer of each residual branch and `last`, of the network, zero (Ho et al. 2020, appendix B).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        for fused, parts in fused_projections(module):
            for matrix in fused.weight.detach().chunk(parts):
                nn.init.xavier_uniform_(matrix)
        for layer in last_layers(module):
            nn.init.zeros_(layer.weight)
    nn.init.zeros_(last.weight)


def fused_projections(module: nn.Module) -> list[tuple[nn.Linear, int]]:
    """Linear layers that hold several matrices, each to be drawn at its own size."""
    if isinstance(module, SelfAttention):
        return [(module.qkv, 3)]
    return [(module.kv, 2)] if isinstance(module, CrossAttention) else []


def last_layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layer that ends a residual branch of this module, if it has one."""
    if isinstance(module, ResidualBlock):
        return [module.conv2]
    if isinstance(module, AttentionBlock):
        return [module.attention.out]
    return [module.project_out] if isinstance(module, SpatialTransformer) else []
