"""A T2I-Adapter as diffusers and as its authors name it."""

from __future__ import annotations

import re

from unnoise.checkpoints.layouts.layout import Layout, renamer
from unnoise.networks.unet import PictureAdapterConfig

_BOTH = [
    (r"^levels\.", r"body."),
    (r"\.widen\.", r".in_conv."),
    (r"\.leave\.", r".out_conv."),
    (r"\.conv([12])\.", r".block\1."),
]


def diffusers() -> Layout:
    """Of a folder."""
    return Layout(renamer([*_BOTH, (r"\.residuals\.", r".resnets.")]), prefix="adapter.")


def original(config: PictureAdapterConfig) -> Layout:
    """Of a single file: light ones by level, others with their residual blocks counted through all levels."""
    if config.light:
        return Layout(renamer([*_BOTH, (r"\.residuals\.", r".body.")]))
    rename = renamer(_BOTH)

    def counted(name: str) -> str:
        match = re.fullmatch(r"body\.(\d+)\.(?:residuals\.(\d+)\.)?(.*)", rename(name))
        if match is None:
            return name
        return f"body.{int(match[1]) * config.blocks + int(match[2] or 0)}.{match[3]}"

    return Layout(counted)
