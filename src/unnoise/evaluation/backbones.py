"""Which Inception, ResNet or ViT a table of tensors is, told by names and shapes as torchvision and timm write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unnoise.errors import CheckpointError, FileError
from unnoise.evaluation import inception
from unnoise.evaluation.preparation import HALF, IMAGENET, Square, stated
from unnoise.evaluation.resnet import ResNet
from unnoise.evaluation.vit import ViT

CLASSIFIER = ("fc.", "head.", "heads.", "pre_logits.")
"""Beginnings of names of tensors that come after the features."""
# the FID's: ImageNet's thousand and eight that TensorFlow left empty; torchvision's weights know a thousand
_CLASSES = 1008
_TORCHVISION = Square(224, 256, *IMAGENET, "bilinear", round, ", as torchvision evaluates")
# Names of ours, or parts of them, and what stands for them in a file; that of "patch" tells the layout.
_LAYOUTS = {
    "timm": "patch=patch_embed.proj attn.out=attn.proj fc1=mlp.fc1 fc2=mlp.fc2 ls1=ls1.gamma ls2=ls2.gamma",
    "torchvision": "patch=conv_proj cls_token=class_token pos_embed=encoder.pos_embedding "
    "blocks.=encoder.layers.encoder_layer_ attn.qkv.=self_attention.in_proj_ attn.out=self_attention.out_proj "
    "norm1=ln_1 norm2=ln_2 fc1=mlp.0 fc2=mlp.3 norm.=encoder.ln.",
}


class Backbone(NamedTuple):
    """A network without its weights.

    about: its kind and which features it gives. seen: what it sees of uint8 pictures of three channels; rule: that in
    words. named: how one of the network's tensors is called in the file. beside: beginnings of names of tensors in it
    that the features do not need. features: from what is seen, where they are not what the network returns.
    """

    about: str
    network: nn.Module
    seen: Callable[[Tensor], Tensor]
    rule: str
    named: Callable[[str], str] = str
    beside: tuple[str, ...] = CLASSIFIER
    features: Callable[[Tensor], Tensor] | None = None


def of_the_fid(tensors: Mapping[str, Tensor], path: Path) -> Backbone | None:
    """The FID's Inception, where these are its tensors.

    Raises CheckpointError for torchvision's, which has the same names but gives no FID.
    """
    if not tensors.keys() >= {"Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.bn.weight"}:
        return None
    classes = tensors.get("fc.weight")
    if (classes is not None and len(classes) != _CLASSES) or "AuxLogits.fc.weight" in tensors:
        raise CheckpointError(
            f"'{path}' has the weights of another Inception, such as torchvision's, whose figures are no FID; give "
            "pt_inception-2015-12-05-6726825d.pth, or its tensors as .safetensors."
        )
    return Backbone("Inception-v3 of the FID", inception.Inception(), inception.seen, inception.RULE)


def recognised(tensors: Mapping[str, Tensor], path: Path, table: Mapping[str, Any]) -> Backbone | None:
    """The network that these tensors of the file `path` belong to; None where it is of another kind.

    table: of the config.json beside it. Raises CheckpointError where the tensors do not tell how to compute, FileError
    where the table says what the network does not fit.
    """
    architecture = str(table.get("architecture", ""))
    if architecture.startswith(("resnetaa", "resnetblur")):
        raise CheckpointError(
            f"'{path}' is a '{architecture}', which blurs where the plain network, whose tensors have the same names, "
            "skips; give its features as MODULE:FUNCTION."
        )
    with torch.device("meta"):
        if "layer1.0.conv1.weight" in tensors:
            return _resnet(tensors, _prepared(table, path) or _TORCHVISION)
        for layout in _LAYOUTS:
            if _names(tensors, layout)("patch.weight") in tensors:
                return _vit(tensors, path, layout, _prepared(table, path))
    return None


def _prepared(table: Mapping[str, Any], path: Path) -> Square | None:
    told = table.get("pretrained_cfg")
    return stated(told, path.with_name("config.json")) if isinstance(told, dict) else None


def _resnet(tensors: Mapping[str, Tensor], seen: Square) -> Backbone:
    depths = tuple(_count(tensors, f"layer{layer}.") for layer in (1, 2, 3, 4))
    deep = "layer1.0.conv3.weight" in tensors
    inner, part, *_ = _sizes(tensors, "layer1.0.conv2.weight", (64, 64, 3, 3))
    groups = inner // part if deep and part and inner % part == 0 else 1
    name = f"ResNet-{sum(depths) * (3 if deep else 2) + 2}"
    if groups > 1:
        name = f"{name.replace('Net', 'NeXt')} {groups}x{part}d"
    elif inner != 64:
        name = f"{name} of {inner} inner channels"
    network = ResNet(depths, deep, inner, groups)
    return Backbone(f"{name} (mean before the classes)", network, seen, seen.rule)


def _names(tensors: Mapping[str, Tensor], layout: str) -> Callable[[str], str]:
    """What the file calls a tensor of our ViT."""
    words = _LAYOUTS[layout]
    if "fc_norm.weight" in tensors:
        words += " norm.=fc_norm."
    # torchvision reads these older names too
    if any(".mlp.linear_1." in name for name in tensors):
        words = words.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2")

    def named(ours: str) -> str:
        for before, _, after in (pair.partition("=") for pair in words.split()):
            ours = ours.replace(before, after)
        return ours

    return named


def _vit(tensors: Mapping[str, Tensor], path: Path, layout: str, prepared: Square | None) -> Backbone:
    named, pool_first = _names(tensors, layout), "fc_norm.weight" in tensors
    width, _, patch, _ = _sizes(tensors, named("patch.weight"), (768, 3, 16, 16))
    classes = int(named("cls_token") in tensors or layout == "torchvision")
    registers = _sizes(tensors, "reg_token", (1, 0, width))[1]
    if not (classes or registers or pool_first):
        raise CheckpointError(
            f"'{path}' is a ViT without a class token, registers or a norm of the mean; such ones (I-JEPA, SigLIP) "
            "differ in what weights do not tell; give its features as MODULE:FUNCTION."
        )
    places = _sizes(tensors, named("pos_embed"), (1, 196, width))[1]
    side, placed = _places(places, classes + registers, path)
    hidden = _sizes(tensors, named("blocks.0.fc1.weight"), (4 * width, width))[0]
    depth = _count(tensors, named("blocks."))
    scaled = "blocks.0.ls1.gamma" in tensors
    network = ViT(
        width, _heads(width, path), hidden, depth, patch, side, classes, registers, placed, scaled, pool_first
    )
    about = (
        f"ViT as {layout} has it, {depth} blocks of width {width}, patches of {patch} "
        f"({'class token' if classes and not pool_first else 'mean of the patches'} "
        f"{'before' if pool_first else 'after'} the last norm)"
    )
    seen = prepared or _usual(layout, patch * side)
    if seen.size != patch * side:
        raise FileError(
            f"'{path}' sees pictures of {patch * side}x{patch * side}, but the config.json beside it says that "
            f"input_size is {seen.size}; give the one that belongs to the weights."
        )
    return Backbone(about, network, seen, seen.rule, named)


def _usual(layout: str, size: int) -> Square:
    if layout == "timm":
        return Square(size, math.floor(size / 0.9), *HALF, "bicubic", round, ", timm's usual")
    if size == _TORCHVISION.size:
        return _TORCHVISION
    return Square(size, size, *IMAGENET, "bicubic", round, _TORCHVISION.source)  # its larger ones are SWAG's


def _places(count: int, extra: int, path: Path) -> tuple[int, bool]:
    """Patches along a side, and whether the tokens before the patches have positions too."""
    for placed in (False, True):
        side = math.isqrt(max(0, count - placed * extra))
        if 0 < side**2 == count - placed * extra:
            return side, placed
    raise CheckpointError(
        f"'{path}' has positions for {count} tokens, which with or without the {extra} before the patches is no "
        "square; give a ViT of square pictures."
    )


def _heads(width: int, path: Path) -> int:
    """Weights do not tell how many heads there are: sixteen in the widest of the published, else of 64 channels."""
    if width in (1152, 1280, 1408, 1664):
        return 16
    if width not in range(192, 1025, 64):
        raise CheckpointError(
            f"'{path}' is a ViT of width {width}, for which the number of heads is not known; give one whose width is "
            "a multiple of 64 from 192 to 1024, or 1152, 1280, 1408 or 1664."
        )
    return width // 64


def _count(tensors: Mapping[str, Tensor], start: str) -> int:
    """How many numbers follow `start` in names; at least one, so that what is missing has names."""
    return max(1, len({name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)}))


def _sizes(tensors: Mapping[str, Tensor], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor; `default` where it is missing or has another number of axes, which is refused later."""
    found = tensors.get(name)
    return tuple(found.shape) if found is not None and found.dim() == len(default) else default
