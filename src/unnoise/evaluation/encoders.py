"""Picture encoders from weights on disk: CLIP's picture tower and DINOv2, in the layout of transformers.

A folder, or the `model.safetensors` in it, beside its `config.json`. Networks are built by transformers from that
table and filled from safetensors; whatever carries code (pickles, TorchScript, exported programs) is refused unread.
Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows

from unnoise.checkpoints.hashes import sha256_of
from unnoise.checkpoints.header import read_header
from unnoise.errors import CheckpointError, FileError, InputError, NonFiniteError
from unnoise.evaluation.distances import Features

_BATCH = 64
_CODE = (".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".onnx", ".ts")
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


@dataclass(frozen=True, eq=False)
class Encoder:
    """From pictures to features. name: what they are, with the hash of the weights and how pictures are resized.

    size: side of the square that the network sees. shortest: what a picture's shorter side becomes before the middle
    is cut out.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    size: int
    shortest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Features:
        """Features (pictures, numbers), float64, of uint8 pictures (pictures, 1 or 3 channels, height, width).

        Raises NonFiniteError where the network leaves the finite numbers.
        """
        with torch.inference_mode():
            rows = [self.network(self.seen(part)).double().cpu() for part in torch.split(pixels, _BATCH)]
        found: Features = torch.cat(rows).numpy()
        if not np.isfinite(found).all():
            raise NonFiniteError(
                f"the encoder ({self.name}) gave features that are not finite; look at its weights."
            )
        return found

    def seen(self, pixels: Tensor) -> Tensor:
        """What the network sees of uint8 pictures: (pictures, 3, size, size), normalised."""
        pictures = pixels.float().div(255.0).expand(-1, 3, -1, -1)
        height, width = pictures.shape[-2:]
        scale = self.shortest / min(height, width)
        sides = [max(self.size, round(side * scale)) for side in (height, width)]
        resized = F.interpolate(pictures, size=sides, mode="bicubic", antialias=True).clamp(0.0, 1.0)
        top, left = ((side - self.size) // 2 for side in sides)
        middle = resized[..., top : top + self.size, left : left + self.size]
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in (self.mean, self.deviation))
        return (middle - mean) / deviation


def load_encoder(path: str | Path) -> Encoder:
    """The encoder in a folder of transformers, or in its .safetensors file.

    Raises InputError for a file that carries code and where transformers is not installed, FileError where parts are
    missing, CheckpointError for weights that do not fit.
    """
    weights, table = _parts(Path(path).expanduser())
    kind = table.get("model_type")
    if kind not in _KINDS:
        raise InputError(
            f"'{path}' is of the kind {kind!r}; give an encoder of the kind {', '.join(_KINDS)}."
        )
    read_header(weights)
    about, network, pooled, (mean, deviation) = _KINDS[kind](table)
    _fill(network, weights)
    size = int(network.config.image_size)
    rule = _preprocessing(weights.parent)
    shortest = max(size, _shortest(rule, size))
    name = (
        f"{about}, weights {sha256_of(weights)[:10]}, shorter side resized to {shortest} (bicubic, antialiased), "
        f"middle {size}x{size}"
    )
    return Encoder(
        name, pooled, size, shortest, _three(rule, "image_mean", mean), _three(rule, "image_std", deviation)
    )


def _parts(path: Path) -> tuple[Path, dict[str, Any]]:
    if path.suffix.lower() in _CODE:
        raise InputError(
            f"'{path}' may carry code, and features are read from tables of numbers alone; give a folder with "
            "config.json and model.safetensors."
        )
    weights = path / "model.safetensors" if path.is_dir() else path
    config = weights.with_name("config.json")
    for part in (weights, config):
        if not part.is_file():
            raise FileError(f"there is no '{part}'; give a folder with config.json and model.safetensors.")
    return weights, _table(config)


def _table(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"cannot read '{path}': {error}.") from error
    if not isinstance(found, dict):
        raise FileError(f"'{path}' is no table; give the encoder's own configuration.")
    return found


Built = tuple[str, Any, Callable[[Tensor], Tensor], tuple[tuple[float, ...], tuple[float, ...]]]


def _transformers() -> Any:  # noqa: ANN401 - a module that may not be there
    try:
        import transformers
    except ImportError:
        raise InputError(
            "an encoder from disk needs transformers: pip install 'unnoise[encoders]'."
        ) from None
    return transformers


def _clip(table: dict[str, Any]) -> Built:
    library = _transformers()
    inner = table.get("vision_config", table)
    settings = {**inner, "projection_dim": table.get("projection_dim", inner.get("projection_dim", 512))}
    network = library.CLIPVisionModelWithProjection(library.CLIPVisionConfig.from_dict(settings)).eval()
    return "CLIP picture tower", network, lambda x: cast(Tensor, network(pixel_values=x).image_embeds), _CLIP


def _dinov2(table: dict[str, Any]) -> Built:
    library = _transformers()
    network = library.Dinov2Model(library.Dinov2Config.from_dict(table)).eval()
    return "DINOv2", network, lambda x: cast(Tensor, network(pixel_values=x).pooler_output), _IMAGENET


_KINDS: dict[str, Callable[[dict[str, Any]], Built]] = {
    "clip": _clip,
    "clip_vision_model": _clip,
    "dinov2": _dinov2,
}


def _fill(network: torch.nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    given = {name: tensor for name, tensor in load_file(path).items() if not name.startswith(_UNUSED)}
    wanted = network.state_dict()
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    odd = [name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape]
    for what, listed in (
        ("misses", missing),
        ("has beside them", extra),
        ("has in another shape", sorted(odd)),
    ):
        if listed:
            raise CheckpointError(
                f"'{path}' does not fit its config.json: it {what} {len(listed)} tensors, such as {listed[0]}. Give "
                "the weights and the configuration of one encoder."
            )
    network.load_state_dict({name: tensor.float() for name, tensor in given.items()})


def _preprocessing(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    return _table(path) if path.is_file() else {}


def _shortest(rule: dict[str, Any], size: int) -> int:
    told = rule.get("size", size)
    told = told.get("shortest_edge", size) if isinstance(told, dict) else told
    return told if isinstance(told, int) and 0 < told <= 4096 else size


def _three(rule: dict[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    told = rule.get(name, default)
    good = (
        isinstance(told, list | tuple)
        and len(told) == 3
        and all(isinstance(each, int | float) for each in told)
    )
    return tuple(map(float, told)) if good else default
