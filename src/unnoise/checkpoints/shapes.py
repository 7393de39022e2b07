"""What networks a single file in the original layout holds, told by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

from unnoise.checkpoints.families import Encoder
from unnoise.checkpoints.layouts import Layout, Shape
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.networks.vae import AutoEncoderConfig

Shapes = Mapping[str, Shape]

_HEAD = 64
_MOST = 100


def inside(shapes: Shapes, prefix: str) -> dict[str, Shape]:
    """The tensors under a prefix, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def linear_projection(unet: Shapes) -> bool:
    """Whether the transformers' projections are linear layers (Stable Diffusion 2, XL), not 1x1 convolutions (1)."""
    return all(len(shape) == 2 for name, shape in unet.items() if name.endswith("proj_in.weight"))


def text_width(unet: Shapes) -> int:
    """Of the text that the cross-attention reads, in either layout; 0 without any."""
    return next((shape[-1] for name, shape in unet.items() if name.endswith(".attn2.to_k.weight")), 0)


def unet_config(unet: Shapes) -> UNetConfig:
    """Of the tensors under `model.diffusion_model.`. Raises InputError where they make none.

    Nothing in a file tells the number of attention heads; in Stable Diffusion 1, whose projections are
    convolutions, it is 8, and later each head has a width of 64.
    """
    widths: list[int] = []
    blocks: list[int] = []
    attention: list[int] = []
    depth = 0
    for place in range(1, _MOST):
        convolution = unet.get(f"input_blocks.{place}.0.out_layers.3.weight")
        if convolution is not None:
            if not blocks or depth < 0:
                widths.append(convolution[0])
                blocks.append(0)
                attention.append(0)
            depth = _depth(unet, f"input_blocks.{place}.1.")
            blocks[-1] += 1
            attention[-1] = depth
        elif f"input_blocks.{place}.0.op.weight" in unet:
            depth = -1
        else:
            break
    linear = linear_projection(unet)
    entry, leave = _shape(unet, "input_blocks.0.0.weight"), _shape(unet, "out.2.weight")
    return UNetConfig(
        in_channels=entry[1],
        out_channels=leave[0],
        widths=tuple(widths),
        blocks=blocks[0] if len(set(blocks)) == 1 else tuple(blocks),
        attention=tuple(attention),
        mid_attention=_depth(unet, "middle_block.1."),
        text_width=text_width(unet),
        pooled_width=unet.get("label_emb.0.0.weight", (0, 0))[1],
        heads=1 if linear else 8,
        head_width=_HEAD if linear else 0,
    )


def autoencoder_config(vae: Shapes, scale: float) -> AutoEncoderConfig:
    """Of the tensors under `first_stage_model.`; the scale of the latents is not in them. Raises InputError."""
    levels = _count(vae, "encoder.down.{}.block.0.conv1.weight")
    widths = tuple(_shape(vae, f"encoder.down.{level}.block.0.conv1.weight")[0] for level in range(levels))
    return AutoEncoderConfig(
        channels=_shape(vae, "encoder.conv_in.weight")[1],
        latent_channels=_shape(vae, "decoder.conv_in.weight")[1],
        widths=widths,
        blocks=_count(vae, "encoder.down.0.block.{}.conv1.weight"),
        attention="encoder.mid.attn_1.q.weight" in vae,
        quant="quant_conv.weight" in vae,
        scale=scale,
    )


def text_config(
    shapes: Shapes, layout: Layout, encoder: Encoder, layers: int, normalize_skipped: bool
) -> TextEncoderConfig:
    """Of a text encoder's tensors in this layout. layers: how many are used. Raises InputError."""

    def shape(ours: str) -> Shape:
        return _shape(shapes, layout.source(ours).names[0])

    vocabulary, width = shape("token_embedding.weight")
    return TextEncoderConfig(
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=max(1, width // _HEAD),
        positions=shape("position_embedding")[0],
        expansion=shape("blocks.0.up.weight")[0] // width,
        activation="gelu" if encoder.open_clip else "quick_gelu",
        end_token=vocabulary - 1,
        projection=shape("projection.weight")[1] if encoder.projected else None,
        normalize_skipped=normalize_skipped,
    )


def text_layers(shapes: Shapes, layout: Layout) -> int:
    """Layers of a text encoder that the file holds."""
    return _count(shapes, layout.source("blocks.{}.up.weight").names[0])


def listed(shapes: Shapes, pattern: str, step: int = 1) -> list[str]:
    """The names of this pattern, counted from 0 in such steps to the first that is not there; at most 100."""
    return list(takewhile(shapes.__contains__, map(pattern.format, range(0, step * _MOST, step))))


def _count(shapes: Shapes, pattern: str) -> int:
    return len(listed(shapes, pattern))


def _depth(unet: Shapes, place: str) -> int:
    return _count(unet, place + "transformer_blocks.{}.norm1.weight")


def _shape(shapes: Shapes, name: str) -> Shape:
    shape = shapes.get(name, ())
    if len(shape) < 2:
        raise InputError(
            f"the tensor {name!r} is missing or {list(shape)} in shape; a whole Stable Diffusion model has it. "
            "Fetch the file again."
        )
    return shape
