"""Picture encoders from weights on disk: the FID's Inception, ResNet, ViT, CLIP's picture tower and DINOv2.

The first three are known by their tensors, in one file, .safetensors or the .pth that is passed around, of which
nothing but tensors is read. The others are folders of transformers, or the `model.safetensors` in one, beside its
`config.json`: networks are built by transformers from that table. Whatever carries code (TorchScript, exported
programs) is refused. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unnoise.checkpoints.hashes import sha256_of
from unnoise.checkpoints.header import read_header
from unnoise.errors import CheckpointError, FileError, InputError, NonFiniteError
from unnoise.evaluation import backbones
from unnoise.evaluation.backbones import Backbone
from unnoise.evaluation.distances import Features
from unnoise.evaluation.preparation import IMAGENET, Square, are_three
from unnoise.evaluation.subject import Told
from unnoise.files import expanded, read_table
from unnoise.limits import counted

_BATCH = 32
_CODE = (".pt2", ".bin", ".pkl", ".onnx", ".ts")
_PICKLED = (".pth", ".pt", ".ckpt")
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_COUNTER = "num_batches_tracked"
_UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


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

        Raises InputError for pictures of another type, whose scale is not known, and NonFiniteError where the network
        leaves the finite numbers.
        """
        if pixels.dtype != torch.uint8:
            raise InputError(f"pictures are {pixels.dtype}; give uint8, from 0 to 255.")
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


def load_encoder(path: str | Path) -> Encoder:
    """The encoder in a folder with `model.safetensors`, or in a .safetensors or .pth file.

    Raises InputError for a file that carries code and where transformers is needed but not installed, FileError where
    parts are missing, CheckpointError for weights that do not fit.
    """
    path = expanded(path)
    if path.suffix.lower() in _CODE:
        raise InputError(
            f"'{path}' may carry code, and features are read from tables of numbers alone; give a folder with "
            "config.json and model.safetensors, or one file of tensors as .pth or .safetensors."
        )
    weights = path / "model.safetensors" if path.is_dir() else path
    tensors = _tensors(weights)
    found = backbones.of_the_fid(tensors, weights) or _configured(tensors, weights)
    _fill(found, tensors, weights)
    name = f"{found.about}, weights {sha256_of(weights)[:10]}, {found.rule}"
    return Encoder(name, found.features or found.network, found.seen)


def _configured(tensors: Mapping[str, Tensor], weights: Path) -> Backbone:
    """The network that is told by its tensors, with what the config.json beside it adds, or by that file alone."""
    config = weights.with_name("config.json")
    table = _table(config)
    found = backbones.recognised(tensors, weights, table)
    if found is not None:
        return found
    if not config.is_file():
        raise FileError(
            f"'{weights}' has not the tensors of the FID's Inception, a ResNet or a ViT, and there is no '{config}' to "
            "say what else it is; give an encoder's folder, with config.json and model.safetensors."
        )
    kind = table.get("model_type")
    if kind not in _KINDS:
        raise InputError(
            f"'{weights.parent}' is of the kind {kind!r}; give an encoder of the kind {', '.join(_KINDS)}, or a "
            "ResNet or ViT as torchvision or timm writes them."
        )
    about, network, features, (mean, deviation) = _KINDS[kind](table, _transformers())
    size = int(network.config.image_size)
    rule = _table(weights.with_name("preprocessor_config.json"))
    mean, deviation = _three(rule, "image_mean", mean), _three(rule, "image_std", deviation)
    seen = Square(size, max(size, _shortest(rule, size)), mean, deviation)
    return Backbone(about, network, seen, seen.rule, beside=_UNUSED, features=features)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, a pickle by torch's reader that makes nothing else. Raises FileError, CheckpointError."""
    if not path.is_file():
        raise FileError(f"there is no '{path}'; give an encoder's weights, or its folder.")
    if path.suffix.lower() not in _PICKLED:
        from safetensors.torch import load_file

        read_header(path)  # names what is wrong with a damaged file
        return load_file(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"'{path}' holds more than tensors, or is damaged; nothing in it was run. Of pickled files only tables of "
            "tensors are read, as torch.save(network.state_dict(), ...) writes them."
        ) from error
    for name in ("model", "state_dict"):  # training scripts put them one deeper
        found = found.get(name, found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise CheckpointError(f"'{path}' is no table of tensors; give a network's state_dict().")
    return {str(name): tensor.detach() for name, tensor in found.items()}


Built = tuple[str, Any, Callable[[Tensor], Tensor], tuple[tuple[float, ...], tuple[float, ...]]]


def _transformers() -> Any:  # noqa: ANN401 - a module that may not be there
    try:
        import transformers
    except ImportError:
        raise InputError(
            "an encoder from disk needs transformers: pip install 'unnoise[encoders]'."
        ) from None
    return transformers


def _clip(table: dict[str, Any], library: Any) -> Built:  # noqa: ANN401
    inner = table.get("vision_config", table)
    settings = {**inner, "projection_dim": table.get("projection_dim", inner.get("projection_dim", 512))}
    network = library.CLIPVisionModelWithProjection(library.CLIPVisionConfig.from_dict(settings)).eval()
    return "CLIP picture tower", network, lambda x: network(pixel_values=x).image_embeds, _CLIP


def _dinov2(table: dict[str, Any], library: Any) -> Built:  # noqa: ANN401
    network = library.Dinov2Model(library.Dinov2Config.from_dict(table)).eval()
    return "DINOv2", network, lambda x: network(pixel_values=x).pooler_output, IMAGENET


_KINDS: dict[str, Callable[..., Built]] = {"clip": _clip, "clip_vision_model": _clip, "dinov2": _dinov2}


def _fill(found: Backbone, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put the tensors into the network. Raises CheckpointError where they are not its own."""
    own, named = found.network.eval().state_dict(), found.named
    counters = {
        name: torch.zeros_like(own.pop(name), device="cpu") for name in [*own] if name.endswith(_COUNTER)
    }
    given = {n: t for n, t in tensors.items() if not n.startswith(found.beside) and not n.endswith(_COUNTER)}
    wanted = {named(name): tensor for name, tensor in own.items()}
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    odd = sorted(name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape)
    for what, listed in (("misses", missing), ("has beside them", extra), ("has in another shape", odd)):
        if listed:
            raise CheckpointError(
                f"'{path}' does not fit its network: it {what} {counted(len(listed), 'tensor')}, such as {listed[0]}. "
                "Give the weights, and where there is one the configuration, of one encoder."
            )
    found.network.load_state_dict(counters | {name: given[named(name)].float() for name in own}, assign=True)


def _table(path: Path) -> dict[str, Any]:
    return read_table(path) if path.is_file() else {}


def _shortest(rule: dict[str, Any], size: int) -> int:
    told = rule.get("size", size)
    told = told.get("shortest_edge", size) if isinstance(told, dict) else told
    return told if isinstance(told, int) and 0 < told <= 4096 else size


def _three(rule: dict[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    told = rule.get(name)
    return tuple(map(float, told)) if are_three(told) else default
