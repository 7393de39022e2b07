"""The UNet of Stable Diffusion as diffusers and as the original code name it."""

from __future__ import annotations

import re
from collections.abc import Callable

from unnoise.checkpoints.layouts.layout import Form, Layout, renamer
from unnoise.networks.unet import UNetConfig

_TRANSFORMER = [
    (r"\.blocks\.", r".transformer_blocks."),
    (r"\.project_(in|out)\.", r".proj_\1."),
    (r"\.self_attention\.qkv\.", r".attn1.<to_q|to_k|to_v>."),
    (r"\.cross_attention\.kv\.", r".attn2.<to_k|to_v>."),
    (r"\.cross_attention\.q\.", r".attn2.to_q."),
    (r"\.self_attention\.out\.", r".attn1.to_out.0."),
    (r"\.cross_attention\.out\.", r".attn2.to_out.0."),
    (r"\.feed_forward\.gated\.", r".ff.net.0.proj."),
    (r"\.feed_forward\.out\.", r".ff.net.2."),
]

_DIFFUSERS = [
    (r"^(time|pooled)_embedding\.linear(\d)", r"\1_embedding.linear_\2"),
    (r"^pooled_", r"add_"),
    (r"^norm_out", r"conv_norm_out"),
    (r"^mid_block\.residual1", r"mid_block.resnets.0"),
    (r"^mid_block\.residual2", r"mid_block.resnets.1"),
    (r"^mid_block\.attention\.", r"mid_block.attentions.0."),
    (r"\.residuals\.", r".resnets."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.time\.", r".time_emb_proj."),
    (r"\.shortcut\.", r".conv_shortcut."),
    *_TRANSFORMER,
]

_RESIDUAL = [
    (r"\.norm1\.(?=\w+$)", r".in_layers.0."),
    (r"\.conv1\.", r".in_layers.2."),
    (r"\.time\.", r".emb_layers.1."),
    (r"\.norm2\.(?=\w+$)", r".out_layers.0."),
    (r"\.conv2\.", r".out_layers.3."),
    (r"\.shortcut\.", r".skip_connection."),
]

_ENDS = [
    (r"^time_embedding\.linear1", r"time_embed.0"),
    (r"^time_embedding\.linear2", r"time_embed.2"),
    (r"^pooled_embedding\.linear1", r"label_emb.0.0"),
    (r"^pooled_embedding\.linear2", r"label_emb.0.2"),
    (r"^conv_in", r"input_blocks.0.0"),
    (r"^norm_out", r"out.0"),
    (r"^conv_out", r"out.2"),
    (r"^mid_block\.residual1", r"middle_block.0"),
    (r"^mid_block\.attention", r"middle_block.1"),
    (r"^mid_block\.residual2", r"middle_block.2"),
]

_PLACE = re.compile(r"(down|up)_blocks\.(\d+)\.(residuals|attentions|downsample|upsample)\.(\d+\.)?(.*)")


def diffusers(linear_projection: bool) -> Layout:
    """Of a folder's `unet/`. linear_projection: Stable Diffusion 2 and XL; 1 has 1x1 convolutions instead."""
    return Layout(renamer(_DIFFUSERS), form=_form(linear_projection))


def original(config: UNetConfig, linear_projection: bool, prefix: str = "model.diffusion_model.") -> Layout:
    """Of a single file: blocks are counted through all levels, each a list of its layers."""
    inside, residual, ends = renamer(_TRANSFORMER), renamer(_RESIDUAL), renamer(_ENDS)

    def rename(name: str) -> str:
        match = _PLACE.fullmatch(name)
        place = ends(name) if match is None else _place(config, match)
        return inside(place) if ".attentions." in name or ".attention." in name else residual(place)

    return Layout(rename, prefix, _form(linear_projection))


def _form(linear_projection: bool) -> Callable[[str], Form]:
    def form(name: str) -> Form:
        projection = ".project_" in name and name.endswith(".weight")
        return "pixels" if projection and not linear_projection else "same"

    return form


def _place(config: UNetConfig, match: re.Match[str]) -> str:
    way, kind, rest = match[1], match[3], match[5]
    block, each = int(match[2]), int((match[4] or "0.")[:-1])
    if way == "down":
        first = 1 + sum(config.blocks_at(level) + 1 for level in range(block))
        if kind == "downsample":
            return f"input_blocks.{first + config.blocks_at(block)}.0.{rest.replace('conv.', 'op.')}"
        return f"input_blocks.{first + each}.{int(kind == 'attentions')}.{rest}"
    last = len(config.widths) - 1
    first = sum(config.blocks_at(last - above) + 1 for above in range(block))
    if kind == "upsample":
        layer = 2 if config.attention_at(last - block) else 1
        return f"output_blocks.{first + config.blocks_at(last - block)}.{layer}.{rest}"
    return f"output_blocks.{first + each}.{int(kind == 'attentions')}.{rest}"
