"""The KL autoencoder as diffusers and as the original code name it."""

from __future__ import annotations

import re

from unnoise.checkpoints.layouts.layout import Form, Layout, renamer

_BOTH = [
    (r"^quant\.", r"quant_conv."),
    (r"^post_quant\.", r"post_quant_conv."),
]

_DIFFUSERS = [
    *_BOTH,
    (r"\.norm_out\.", r".conv_norm_out."),
    (r"\.residual1\.", r".resnets.0."),
    (r"\.residual2\.", r".resnets.1."),
    (r"\.residuals\.", r".resnets."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.shortcut\.", r".conv_shortcut."),
    (r"\.mid_block\.attention\.norm\.", r".mid_block.attentions.0.group_norm."),
]
_NEW = [
    (r"\.attention\.attention\.qkv\.", r".attentions.0.<to_q|to_k|to_v>."),
    (r"\.attention\.attention\.out\.", r".attentions.0.to_out.0."),
]
_OLD = [
    (r"\.attention\.attention\.qkv\.", r".attentions.0.<query|key|value>."),
    (r"\.attention\.attention\.out\.", r".attentions.0.proj_attn."),
]

_ORIGINAL = [
    *_BOTH,
    (r"\.residual1\.", r".block_1."),
    (r"\.residual2\.", r".block_2."),
    (r"\.residuals\.", r".block."),
    (r"\.shortcut\.", r".nin_shortcut."),
    (r"\.attention\.norm\.", r".attn_1.norm."),
    (r"\.attention\.attention\.qkv\.", r".attn_1.<q|k|v>."),
    (r"\.attention\.attention\.out\.", r".attn_1.proj_out."),
    (r"\.mid_block\.", r".mid."),
    (r"\.down_blocks\.", r".down."),
]


def diffusers(old: bool = False) -> Layout:
    """Of a folder's `vae/`. old: the names of attention before diffusers 0.18, which many folders still have."""
    return Layout(renamer([*_DIFFUSERS, *(_OLD if old else _NEW)]))


def original(levels: int, prefix: str = "first_stage_model.") -> Layout:
    """Of a single file, which counts the decoder's levels from the finest. levels: their number."""
    rename = renamer(_ORIGINAL)

    def from_the_finest(name: str) -> str:
        return re.sub(
            r"\.up_blocks\.(\d+)\.", lambda match: f".up.{levels - 1 - int(match[1])}.", rename(name)
        )

    return Layout(from_the_finest, prefix, _form)


def _form(name: str) -> Form:
    return "pixels" if ".attention.attention." in name and name.endswith(".weight") else "same"
