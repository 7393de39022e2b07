"""Picture-text encoders on disk: `encoder.json` beside `weights.safetensors`, and the ones that are shipped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unnoise.checkpoints.building import check_dtype, outline, unfilled
from unnoise.checkpoints.header import read_header
from unnoise.checkpoints.manifest import WEIGHTS, making_sense
from unnoise.checkpoints.verified import check_finite, check_header, read_tensors, stored, write_folder
from unnoise.errors import CheckpointError
from unnoise.files import check_new, expanded, read_table
from unnoise.networks.picture_encoder import PictureEncoderConfig, PictureTextEncoder
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.text import PromptTokenizer, tokenizer_from_config

SHIPPED = Path(__file__).parent / "encoders"
FILE = "encoder.json"


@dataclass(frozen=True, eq=False)
class PictureText:
    """A picture-text encoder with its tokenizer. card: facts for people. name, sha256: set by `load_picture_text`."""

    network: PictureTextEncoder
    tokenizer: PromptTokenizer
    card: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    sha256: str = ""


def shipped_encoders() -> dict[str, Path]:
    """Folder of each encoder that comes with the package, by name."""
    return {file.parent.name: file.parent for file in sorted(SHIPPED.glob(f"*/{FILE}"))}


def save_picture_text(encoder: PictureText, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write the folder, whole or not at all, and return its path. dtype: of the stored weights.

    Raises FileError when the folder exists or cannot be written, CheckpointError for weights that are not finite,
    InputError for a dtype in which no network computes.
    """
    folder = expanded(folder)
    if dtype is not None:
        check_dtype(dtype)
    check_new(folder, "an encoder")
    state = {name: stored(tensor, dtype) for name, tensor in encoder.network.state_dict().items()}
    check_finite(state, f"the encoder for '{folder}'")
    description = {
        "picture": encoder.network.picture.config.to_dict(),
        "text": encoder.network.text.config.to_dict(),
        "vocabulary": encoder.tokenizer.config(),
        "card": dict(encoder.card),
    }

    def text(sha256: str) -> str:
        return json.dumps({**description, "sha256": sha256}, indent=1) + "\n"

    return write_folder(folder, state, FILE, text)


def load_picture_text(name_or_path: str | Path) -> PictureText:
    """An encoder by its shipped name or from its folder, in float32, its hash compared and every tensor accounted for.

    Raises CheckpointError, naming the file, for one that is damaged or does not fit its description.
    """
    folder = shipped_encoders().get(str(name_or_path), expanded(name_or_path))
    if not os.path.isfile(folder / FILE):
        known = ", ".join(shipped_encoders()) or "none"
        raise CheckpointError(
            f"'{name_or_path}' is no picture-text encoder (no {FILE}); give a folder with one, or a shipped one's "
            f"name: {known}."
        )
    values = read_table(folder / FILE)
    with making_sense(f"'{folder / FILE}' does not describe an encoder"):
        picture = PictureEncoderConfig.from_dict(values["picture"])
        words = TextEncoderConfig.from_dict(values["text"])
        network = outline(lambda: PictureTextEncoder(picture, words))
        tokenizer = tokenizer_from_config(values["vocabulary"])
        sha256, card = str(values["sha256"]), dict(values["card"])
    path = folder / WEIGHTS
    check_header(path, read_header(path), network.state_dict(), FILE)
    tensors = read_tensors(path, sha256, FILE)
    unfilled(network, torch.float32, "cpu").load_state_dict(tensors)
    return PictureText(network, tokenizer, card, folder.resolve().name, sha256)
