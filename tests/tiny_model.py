"""A whole model with random weights, small enough to make a picture in milliseconds."""

from functools import cache
from pathlib import Path

import torch

from unnoise import checkpoints, randomness
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.networks.unet import UNet, UNetConfig
from unnoise.process import Cosine
from unnoise.text import CompactTokenizer

CAPTIONS = ("a seven", "a red apple", "the number two")


@cache
def tokenizer() -> CompactTokenizer:
    return CompactTokenizer.from_captions(CAPTIONS)


def tiny_model(*, text: bool = True, channels: int = 1, **changes: object) -> checkpoints.Model:
    """Pictures of 8x8; sizes must be even. `changes` go to Model."""
    learned = changes.get("variance") == "learned_range"
    width = 16 if text else 0
    network = UNet(
        UNetConfig(
            in_channels=channels,
            out_channels=2 * channels if learned else channels,
            widths=(8, 16),
            blocks=1,
            attention=(0, 1),
            heads=2,
            norm_groups=4,
            time_scale=1000.0,
            text_width=width,
        )
    )
    encoder = None
    if text:
        encoder = TextEncoder(
            TextEncoderConfig.small(tokenizer().size, tokenizer().end, width=width, layers=1)
        )
    for part in (network, encoder):
        _fill(part)
    options = {
        "schedule": Cosine(),
        "prediction": "velocity",
        "clip": 1.0,
        "defaults": {"steps": 4, "guidance": 2.0, "scheduler": "DPM++ 2M"},
        "card": {"summary": "random numbers", "prompts": list(CAPTIONS)},
    }
    return checkpoints.Model(
        network=network,
        shape=(channels, 8, 8),
        text_encoder=encoder,
        tokenizer=tokenizer() if text else None,
        **(options | changes),
    )


def _fill(module: torch.nn.Module | None) -> None:
    """Starting weights end in zeros, which would make every prompt and picture alike."""
    if module is None:
        return
    module.eval().requires_grad_(False)
    for place, weight in enumerate(module.parameters()):
        fresh = randomness.normal(0, "test weights", place, shape=weight.shape)
        weight.copy_(fresh * 0.3 if weight.ndim == 1 else fresh * weight[0].numel() ** -0.5 * 1.4)


def save_tiny(folder: Path, **options: object) -> Path:
    return checkpoints.save(tiny_model(**options), folder)
