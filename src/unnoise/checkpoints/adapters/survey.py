"""What an adapter's header tells: kind, rank, family, what it touches. Torch-free."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.checkpoints.adapters.names import Layer, Listing, form, listing
from unnoise.checkpoints.adapters.products import BESIDE, Shape, kind_of, rank_of, size_of
from unnoise.checkpoints.families import BY_WIDTH
from unnoise.limits import counted

_TOUCHES = {
    "feed-forward": re.compile(r"_ff_net_|feed_forward|mlp_fc|_up$|_down$"),
    "attention": re.compile(r"attn\d?_|(self|cross)_attention_|attention_(qkv|out)$"),
    "projections": re.compile(r"proj(ect)?_(in|out)$"),
    "convolutions": re.compile(r"conv|(in|out)_layers|skip_connection|_op$|shortcut"),
}
_READS_TEXT = ("attn2_to_k", "attn2_to_v", "cross_attention_kv")


@dataclass(frozen=True)
class Survey:
    """What the header tells.

    kinds, ranks, touches: number of layers by kind, rank and sort of layer. width: of the text that the network
    reads, 0 where no layer tells. family: by that width and by names; "" unknown. form: whose spelling.
    """

    kinds: dict[str, int]
    ranks: dict[int, int]
    touches: dict[str, int]
    layers: int
    width: int
    family: str
    form: str
    others: list[str]

    @property
    def kind(self) -> str:
        """In a word or two, "LoRA" or "LoHa, DoRA"."""
        return ", ".join(self.kinds) or "adapter"

    def facts(self) -> dict[str, Any]:
        """Plain values for people."""
        facts: dict[str, Any] = {"what": self.kind, "names": self.form, "layers": self.layers}
        facts["ranks"] = ", ".join(f"{rank or 'full'} ({count})" for rank, count in self.ranks.items())
        facts["family"] = self.family or "unknown"
        facts["touches"] = ", ".join(f"{what} ({count})" for what, count in self.touches.items())
        if self.width:
            facts["text width"] = self.width
        if self.others:
            facts["not understood"] = f"{counted(len(self.others), 'tensor')}, the first {self.others[0]!r}"
        return facts


def survey(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> Survey:
    """What the tensors of an adapter, by their names and shapes, tell of it."""
    found = listing(shapes)
    kinds: Counter[str] = Counter()
    ranks: Counter[int] = Counter()
    touches: Counter[str] = Counter()
    width, others = 0, list(found.others)
    for layer, roles in found.layers.items():
        kind, sizes = kind_of(roles), {role: shapes[name] for role, name in roles.items()}
        matrices = [shape for role, shape in sizes.items() if role not in BESIDE]
        if not kind or any(len(shape) < 2 for shape in matrices):
            others += roles.values()
            continue
        kinds[kind] += 1
        if "dora" in roles or "magnitude" in roles:
            kinds["DoRA"] += 1
        ranks[rank_of(kind, sizes)] += 1
        touches[_sort(layer)] += 1
        if layer.part == "network" and layer.key.endswith(_READS_TEXT):
            width = size_of(kind, sizes)[1]
    return Survey(
        kinds=dict(kinds),
        ranks=dict(sorted(ranks.items())),
        touches=dict(touches),
        layers=sum(ranks.values()),
        width=width,
        family=family_of(found, width, metadata or {}),
        form=form(shapes),
        others=others,
    )


def family_of(found: Listing, width: int, metadata: Mapping[str, str]) -> str:
    """The family that an adapter was made for, by the width it reads, its parts, or what it says itself."""
    if width in BY_WIDTH:
        return BY_WIDTH[width]
    parts = {layer.part for layer in found.layers}
    keys = [layer.key for layer in found.layers]
    if "transformer" in parts or any("double_blocks" in key or "joint_blocks" in key for key in keys):
        return "a transformer model such as Flux or SD 3"
    if "text_encoder_2" in parts or any(key.startswith("input_blocks_") for key in keys):
        return "SDXL"
    stated = metadata.get("ss_base_model_version", "") + metadata.get("modelspec.architecture", "")
    for word, family in {"xl": "SDXL", "v2": "SD 2", "v1": "SD 1.5"}.items():
        if word in stated.lower():
            return family
    if any("self_attention" in key or "cross_attention" in key for key in keys):
        return "a model of unnoise's own"
    return ""


def _sort(layer: Layer) -> str:
    part = {"network": "unet", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}
    return f"{part.get(layer.part, layer.part)} {sort_of(layer.key) or 'other layers'}"


def sort_of(key: str) -> str:
    """The sort of a layer: "feed-forward", "attention", "projections", "convolutions", or "" for another."""
    return next((what for what, pattern in _TOUCHES.items() if pattern.search(key)), "")
