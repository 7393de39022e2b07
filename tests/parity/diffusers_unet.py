"""Weights of diffusers' two UNets under our names, for tests and benchmarks that set the networks side by side."""

from __future__ import annotations

import re

import torch


def our_weights(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames every tensor of `theirs`, joining the projections that we keep fused. Uses each exactly once."""
    left = dict(theirs)
    ours: dict[str, torch.Tensor] = {}
    for name in theirs:
        if name not in left:
            continue
        names, new = joined(name)
        parts = [left.pop(each) for each in names]
        tensor = torch.cat(parts)
        if (
            ".project_" in new and tensor.ndim == 4
        ):  # a 1x1 convolution over pixels is a linear layer over tokens
            tensor = tensor[:, :, 0, 0]
        assert new not in ours, new
        ours[new] = tensor
    assert not left
    return ours


def joined(name: str) -> tuple[list[str], str]:
    """The names that become one tensor of ours, starting from the first of them, and our name."""
    cross = ".attn2." in name
    if ".to_q." in name and not cross:
        return [name, name.replace("to_q", "to_k"), name.replace("to_q", "to_v")], renamed(
            name.replace("to_q", "qkv")
        )
    if ".to_k." in name and cross:
        return [name, name.replace("to_k", "to_v")], renamed(name.replace("to_k", "kv"))
    return [name], renamed(name)


RULES = [
    ("time_embedding.linear_", "time_embedding.linear"),
    ("add_embedding.linear_", "pooled_embedding.linear"),
    ("conv_norm_out", "norm_out"),
    ("mid_block.resnets.0", "mid_block.residual1"),
    ("mid_block.resnets.1", "mid_block.residual2"),
    ("mid_block.attentions.0", "mid_block.attention"),
    ("resnets", "residuals"),
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
    ("time_emb_proj", "time"),
    ("conv_shortcut", "shortcut"),
    ("group_norm", "norm"),
    ("transformer_blocks", "blocks"),
    ("proj_in", "project_in"),
    ("proj_out", "project_out"),
    ("attn1", "self_attention"),
    ("attn2", "cross_attention"),
    ("to_q", "q"),
    ("to_out.0", "out"),
    ("ff.net.0.proj", "feed_forward.gated"),
    ("ff.net.2", "feed_forward.out"),
]


def renamed(name: str) -> str:
    """Our name of one tensor."""
    for old, new in RULES:
        name = name.replace(old, new)
    # Where a block is self-attention alone, its projections lie one name deeper than its norm.
    return re.sub(r"(attentions\.\d+|mid_block\.attention)\.(qkv|out)\.", r"\1.attention.\2.", name)
