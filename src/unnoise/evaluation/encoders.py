"""Picture encoders from weights on disk: the FID's Inception, CLIP's picture tower and DINOv2.

Inception is one file, .safetensors or the .pth that is passed around, of which nothing but tensors is read. The others
are folders of transformers, or the `model.safetensors` in one, beside its `config.json`: networks are built by
transformers from that table. Whatever carries code (TorchScript, exported programs) is refused. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from unnoise.evaluation import inception
from unnoise.evaluation.distances import Features

_BATCH = 32
_CODE = (".pt2", ".bin", ".pkl", ".onnx", ".ts")
_PICKLED = (".pth", ".pt", ".ckpt")
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_COUNTER = "num_batches_tracked"
_UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


Told = Callable[[int, int], None]
"""Hears how many pictures are done, of how many."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """From pictures to features. name: what they are, with the hash of the weights and how pictures are resized.

    seen: what the network sees of uint8 pictures of three channels.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    seen: Callable[[Tensor], Tensor]

    def __call__(self, pixels: Tensor, told: Told | None = None) -> Features:
        """Features (pictures, numbers), float64, of uint8 pictures (pictures, 1 or 3 channels, height, width).

        Raises NonFiniteError where the network leaves the finite numbers.
        """
        rows: list[Tensor] = []
        with torch.inference_mode():
            for part in torch.split(pixels, _BATCH):
                rows.append(self.network(self.seen(part.expand(-1, 3, -1, -1))).double().cpu())
                if told is not None:
                    told(sum(map(len, rows)), len(pixels))
        found: Features = torch.cat(rows).numpy()
        if not np.isfinite(found).all():
            raise NonFiniteError(
                f"the encoder ({self.name}) gave features that are not finite; look at its weights."
            )
        return found


@dataclass(frozen=True)
class Square:
    """The preparation of CLIP and DINOv2: the shorter side becomes `shortest`, the middle square is cut out.

    size: side of that square. mean, deviation: of each channel, from 0 to 1.
    """

    size: int
    shortest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (pictures, 3, height, width) -> (pictures, 3, size, size), normalised."""
        pictures = pixels.float().div(255.0)
        height, width = pictures.shape[-2:]
        scale = self.shortest / min(height, width)
        sides = [max(self.size, round(side * scale)) for side in (height, width)]
        resized = F.interpolate(pictures, size=sides, mode="bicubic", antialias=True).clamp(0.0, 1.0)
        top, left = ((side - self.size) // 2 for side in sides)
        middle = resized[..., top : top + self.size, left : left + self.size]
        mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in (self.mean, self.deviation))
        return (middle - mean) / deviation


def load_encoder(path: str | Path) -> Encoder:
    """The encoder in a folder of transformers, in its .safetensors file, or the FID's Inception in a file of its own.

    Raises InputError for a file that carries code and where transformers is not installed, FileError where parts are
    missing, CheckpointError for weights that do not fit.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in _CODE:
        raise InputError(
            f"'{path}' may carry code, and features are read from tables of numbers alone; give a folder with "
            "config.json and model.safetensors, or the FID's Inception as .pth or .safetensors."
        )
    alone = None if path.is_dir() else inception.own_tensors(_tensors(path), path)
    return _from_folder(path) if alone is None else _inception(alone, path)


def _inception(tensors: Mapping[str, Tensor], path: Path) -> Encoder:
    network = inception.Inception().eval()
    _fill(network, tensors, path)
    name = f"Inception-v3 of the FID, weights {sha256_of(path)[:10]}, {inception.RULE}"
    return Encoder(name, network, inception.seen)


def _from_folder(path: Path) -> Encoder:
    weights, table = _parts(path)
    kind = table.get("model_type")
    if kind not in _KINDS:
        raise InputError(
            f"'{path}' is of the kind {kind!r}; give an encoder of the kind {', '.join(_KINDS)}."
        )
    about, network, pooled, (mean, deviation) = _KINDS[kind](table)
    given = {name: tensor for name, tensor in _tensors(weights).items() if not name.startswith(_UNUSED)}
    _fill(network, given, weights)
    size = int(network.config.image_size)
    rule = _preprocessing(weights.parent)
    shortest = max(size, _shortest(rule, size))
    name = (
        f"{about}, weights {sha256_of(weights)[:10]}, shorter side resized to {shortest} (bicubic, antialiased), "
        f"middle {size}x{size}"
    )
    mean, deviation = _three(rule, "image_mean", mean), _three(rule, "image_std", deviation)
    return Encoder(name, pooled, Square(size, shortest, mean, deviation))


def _tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, a pickle by torch's reader that makes nothing else. Raises FileError, CheckpointError."""
    if not path.is_file():
        raise FileError(f"there is no '{path}'; give an encoder's weights, or its folder.")
    if path.suffix.lower() not in _PICKLED:
        from safetensors.torch import load_file

        read_header(path)  # names what is wrong with a damaged file
        return cast(Mapping[str, Tensor], load_file(path))
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"'{path}' holds more than tensors, or is damaged; nothing in it was run. Of pickled files only the FID's "
            "Inception is read (pt_inception-2015-12-05-6726825d.pth)."
        ) from error
    return found if isinstance(found, dict) else {}


def _parts(path: Path) -> tuple[Path, dict[str, Any]]:
    if path.suffix.lower() in _PICKLED:
        raise CheckpointError(
            f"'{path}' is not the FID's Inception, the only pickled encoder that is read; give a folder with "
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


def _fill(network: torch.nn.Module, given: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(_COUNTER)}
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    odd = [name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape]
    for what, listed in (
        ("misses", missing),
        ("has beside them", extra),
        ("has in another shape", sorted(odd)),
    ):
        if listed:
            raise CheckpointError(
                f"'{path}' does not fit its network: it {what} {len(listed)} tensors, such as {listed[0]}. Give "
                "the weights, and where there is one the configuration, of one encoder."
            )
    network.load_state_dict({name: tensor.float() for name, tensor in given.items()}, strict=False)


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
