"""The names of an adapter's tensors: which layer of which network, and what part each tensor plays. Torch-free.

Four programs, spellings of one thing, a layer's path and a role:

    lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight          kohya, LyCORIS
    unet.down_blocks.0.attentions.0.proj_in.lora_A.weight                  PEFT, as diffusers writes it today
    unet.down_blocks.0.attentions.0.proj_in.lora.down.weight               diffusers, before
    down_blocks.0.attentions.0.attn1.processor.to_q_lora.down.weight       diffusers, earlier still
    diffusion_model.input_blocks.1.1.proj_in.lora_up.weight                ComfyUI

A layer's key is its path with `_` between the parts, in which all of them agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_PROCESSOR = re.compile(r"\.(?:processor\.)?to_(q|k|v|out)_lora\.")
_ROLES = {
    "down": re.compile(r"\.(?:lora_down|lora_A(?:\.[\w-]+)?|lora\.down|lora_linear_layer\.down)\.weight$"),
    "up": re.compile(r"\.(?:lora_up|lora_B(?:\.[\w-]+)?|lora\.up|lora_linear_layer\.up)\.weight$"),
    "mid": re.compile(r"\.lora_mid\.weight$"),
    "magnitude": re.compile(r"\.lora_magnitude_vector(?:\.[\w-]+){0,2}$"),
    "dora": re.compile(r"\.dora_scale$"),
    "alpha": re.compile(r"\.alpha$"),
}
_PRODUCTS = re.compile(r"\.(hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)$")

# Prefix -> the part that follows it; the longer ones first.
_PARTS = {
    "lora_unet_": "network",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
    "lycoris_": "network",
    "unet.": "network",
    "network.": "network",
    "diffusion_model.": "network",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "text_model.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_h.transformer.": "text_encoder",
    "lora_transformer_": "transformer",
    "transformer.": "transformer",
}


class Layer(NamedTuple):
    """part: "network", "text_encoder", "text_encoder_2" or "transformer". key: the layer's path, joined by `_`."""

    part: str
    key: str


@dataclass(frozen=True)
class Listing:
    """The layers of a file with the tensors of each by role, and the names that play none."""

    layers: dict[Layer, dict[str, str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    paths: dict[Layer, str] = field(default_factory=dict)


def is_adapter(names: Iterable[str]) -> bool:
    """Whether any of these tensors plays a part in a product of small matrices."""
    return any(_role(name)[1] not in ("", "alpha") for name in names)


def listing(names: Iterable[str]) -> Listing:
    """The layers that these names tell of."""
    found = Listing()
    for name in names:
        path, role = _role(name)
        layer = _layer(path)
        # a part that a tensor in another spelling plays already is none
        if role and found.layers.setdefault(layer, {}).setdefault(role, name) == name:
            found.paths[layer] = path
        else:
            found.others.append(name)
    return found


def form(names: Iterable[str]) -> str:
    """Whose spelling it is: "kohya", "PEFT" or "diffusers"."""
    listed = list(names)
    if any(name.startswith(("lora_", "lycoris_")) for name in listed):
        return "kohya"
    return "PEFT" if any(".lora_A." in name or ".hada_" in name for name in listed) else "diffusers"


def _role(name: str) -> tuple[str, str]:
    """The layer's path and the tensor's part in it; "" for a tensor that plays none."""
    name = _PROCESSOR.sub(lambda match: _before_peft(name, match[1]), name)
    for role, pattern in _ROLES.items():
        match = pattern.search(name)
        if match is not None:
            return name[: match.start()], role
    match = _PRODUCTS.search(name)
    return (name[: match.start()], match[1]) if match is not None else (name, "")


def _before_peft(name: str, which: str) -> str:
    if "self_attn" in name:
        return f".{which}_proj.lora."
    return ".to_out.0.lora." if which == "out" else f".to_{which}.lora."


def _layer(path: str) -> Layer:
    path = path.removeprefix("base_model.model.")
    for prefix, part in _PARTS.items():
        if path.startswith(prefix):
            rest = path if prefix == "text_model." else path[len(prefix) :]
            return Layer(part, rest.replace(".", "_"))
    part = "text_encoder" if path.startswith(("encoder.layers.", "text_projection")) else "network"
    return Layer(part, path.replace(".", "_"))
