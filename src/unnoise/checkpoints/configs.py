"""Configurations of other programs, `config.json`, as ours. Every value is a plain one that is known here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unnoise.checkpoints.manifest import WIDEST, check_numbers
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.networks.vae import AutoEncoderConfig

Table = Mapping[str, Any]

# Settings that change what is computed, with the only value that is computed here; first those of null and of false.
_ABSENT = (
    "reverse_transformer_layers_per_block encoder_hid_dim encoder_hid_dim_type class_embed_type num_class_embeds "
    "time_embedding_dim time_embedding_act_fn timestep_post_act time_cond_proj_dim mid_block_only_cross_attention "
    "cross_attention_norm"
)
_OFF = "center_input_sample only_cross_attention dual_cross_attention resnet_skip_time_act class_embeddings_concat"
_UNET_FIXED = {
    **dict.fromkeys(_ABSENT.split()),
    **dict.fromkeys(_OFF.split(), False),
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "resnet_time_scale_shift": "default",
    "resnet_out_scale_factor": 1,
    "time_embedding_type": "positional",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "attention_type": "default",
}
# Settings that are read, and those without influence on what is computed.
_UNET_READ = (
    "in_channels out_channels block_out_channels layers_per_block down_block_types up_block_types norm_num_groups "
    "norm_eps cross_attention_dim transformer_layers_per_block attention_head_dim num_attention_heads "
    "use_linear_projection addition_embed_type addition_time_embed_dim projection_class_embeddings_input_dim "
    "sample_size upcast_attention dropout addition_embed_type_num_heads"
)
_VAE_FIXED = {"act_fn": "silu", "latents_mean": None, "latents_std": None}
_VAE_READ = (
    "in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block latent_channels "
    "norm_num_groups sample_size scaling_factor shift_factor force_upcast use_quant_conv use_post_quant_conv "
    "mid_block_add_attention"
)


def unet_config(table: Table) -> tuple[UNetConfig, bool]:
    """Of diffusers' UNet2DConditionModel, and whether its projections are linear layers.

    Raises InputError for a setting that is not known, or has a value that is not computed here.
    """
    _check(table, _UNET_FIXED, _UNET_READ)
    widths = tuple(table["block_out_channels"])
    depths = _each(table.get("transformer_layers_per_block", 1), len(widths))
    kinds = {"DownBlock2D": 0, "CrossAttnDownBlock2D": 1}
    attention = tuple(
        depth * _known(kind, kinds) for depth, kind in zip(depths, table["down_block_types"], strict=True)
    )
    up = [kind.replace("Up", "Down") for kind in reversed(table["up_block_types"])]
    if up != list(table["down_block_types"]):
        raise InputError(f"up_block_types {table['up_block_types']} do not mirror down_block_types.")
    blocks = table.get("layers_per_block", 2)
    heads, head_width = _heads(table, widths, attention)
    config = UNetConfig(
        in_channels=table["in_channels"],
        out_channels=table["out_channels"],
        widths=widths,
        blocks=tuple(blocks) if isinstance(blocks, list) else blocks,
        attention=attention,
        mid_attention=depths[-1],
        heads=heads,
        head_width=head_width,
        norm_groups=table.get("norm_num_groups", 32),
        norm_eps=table.get("norm_eps", 1e-5),
        text_width=table["cross_attention_dim"],
        pooled_width=_pooled_width(table),
    )
    return config, bool(table.get("use_linear_projection", False))


def _pooled_width(table: Table) -> int:
    kind = table.get("addition_embed_type")
    if kind is None:
        return 0
    if kind != "text_time":
        raise InputError(f"addition_embed_type is {kind!r}; null or 'text_time' is read.")
    return int(table["projection_class_embeddings_input_dim"])


def _heads(table: Table, widths: tuple[int, ...], attention: tuple[int, ...]) -> tuple[int, int]:
    """Heads, or the width of one; what the class calls a width is the number of heads."""
    given = table.get("num_attention_heads") or table.get("attention_head_dim", 8)
    each = _each(given, len(widths))
    if len(set(each)) == 1:
        return each[0], 0
    # the middle has attention too, whatever the last level has
    used = [
        (width, heads)
        for width, heads, depth in zip(widths, each, (*attention[:-1], 1), strict=True)
        if depth
    ]
    shares = {width // heads for width, heads in used if width % heads == 0}
    if len(shares) != 1:
        raise InputError(
            f"attention_head_dim is {given} for widths {list(widths)}; heads of one width are read."
        )
    return 1, shares.pop()


def autoencoder_config(table: Table) -> AutoEncoderConfig:
    """Of diffusers' AutoencoderKL. Raises InputError as `unet_config`."""
    _check(table, _VAE_FIXED, _VAE_READ)
    kinds = {"DownEncoderBlock2D": 1, "UpDecoderBlock2D": 1}
    for kind in (*table["down_block_types"], *table["up_block_types"]):
        _known(kind, kinds)
    quant, post, attention = (
        table.get(name, True) for name in ("use_quant_conv", "use_post_quant_conv", "mid_block_add_attention")
    )
    if not isinstance(attention, bool):
        raise InputError(f"mid_block_add_attention is {str(attention)[:80]!r}; true or false is read.")
    if quant != post or table["in_channels"] != table["out_channels"]:
        raise InputError("the halves of the autoencoder differ (channels, or one quant convolution of two).")
    return AutoEncoderConfig(
        channels=table["in_channels"],
        latent_channels=table["latent_channels"],
        widths=tuple(table["block_out_channels"]),
        blocks=table.get("layers_per_block", 1),
        attention=attention,
        norm_groups=table.get("norm_num_groups", 32),
        quant=quant,
        scale=table.get("scaling_factor", 0.18215),
        shift=float(table.get("shift_factor") or 0.0),
    )


def text_config(table: Table, end_token: int, projection: bool, normalize_skipped: bool) -> TextEncoderConfig:
    """Of transformers' CLIPTextConfig. end_token: the tokenizer's; old files state another that nothing reads."""
    check_numbers({name: value for name, value in table.items() if not name.endswith("_token_id")})
    width, inner = table["hidden_size"], table["intermediate_size"]
    if inner % width or table.get("layer_norm_eps", 1e-5) != 1e-5:
        raise InputError(
            f"intermediate_size {inner} or layer_norm_eps is not CLIP's; give a CLIP text encoder."
        )
    return TextEncoderConfig(
        vocabulary=table.get("vocab_size", 49408),
        width=width,
        layers=table["num_hidden_layers"],
        heads=table["num_attention_heads"],
        positions=table.get("max_position_embeddings", 77),
        expansion=inner // width,
        activation=table.get("hidden_act", "quick_gelu"),
        end_token=end_token,
        projection=table["projection_dim"] if projection else None,
        normalize_skipped=normalize_skipped,
    )


def _check(table: Table, fixed: Table, read: str) -> None:
    check_numbers(table)
    known = read.split()
    for name, value in table.items():
        if name in fixed:
            if value != fixed[name]:
                raise InputError(f"{name} is {value!r}; only {fixed[name]!r} is computed here.")
        elif name not in known and not name.startswith("_") and value not in (None, False):
            raise InputError(f"{name} is {str(value)[:80]!r}, a setting that is not known here.")


def _known(kind: object, kinds: dict[str, int]) -> int:
    if kind not in kinds:
        raise InputError(f"block type {kind!r} is not known; these are: {', '.join(kinds)}.")
    return kinds[str(kind)]


def _each(value: object, count: int) -> list[int]:
    each: list[Any] = value if isinstance(value, list) else [value] * count
    if len(each) != count or not all(type(one) is int and 0 < one <= WIDEST for one in each):
        raise InputError(
            f"{str(value)[:80]!r} is given for {count} levels; a whole number, or one a level, is read."
        )
    return each
