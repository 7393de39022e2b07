"""What was given to ComfyUI's own code, and is given to ours: prompts, models and adapters, the same on any machine.

Numbers are sines, so no random generator's version matters.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from safetensors.torch import save_file

from unnoise.checkpoints import layouts
from unnoise.checkpoints.adapters import places
from unnoise.checkpoints.blueprint import shapes_of
from unnoise.checkpoints.kinds import CLIP_L, OPEN_CLIP_H, REFINER_BIG_G, XL_BIG_G, XL_CLIP_L
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.networks.unet import UNet, UNetConfig, published
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig

WORDS = [
    "a", "red", "apple", "(", ")", ")", ":", "1.2", ":1.3)", "(x:0.8)", "  ", "\n", "\\(", "\\)", "\\", "[y]", "BREAK",
    "AND", "-1", ".5", "1e1", ",", ". ", "supercalifragilistic", "1234567", "12345678", "\u00e9", "\u65e5\u672c",
    "\U0001f600", "(((", "))", "it's", "(:1.2)", "()", "( )", "(a:1:2)", "(b: 1.1 )", "(c:+.7)", "(d:1_0)", "(e:0x10)",
    "(f:)", "(g:1.0)", "re(d:1.0)st", "<lora:x:1>", "\t", " embedding:foo", "embedding:low,", "\nembedding:long\n",
    " embedding:nope", "(embedding:low:1.3)", " embedding: low", "embedding:low.safetensors",
]  # fmt: skip
TAUGHT = {"foo": 2, "low": 1, "long": 9}
"""Embeddings by name, and their numbers of vectors; they stand for ids after the vocabulary's, in this order."""

WEIGHED = [
    "a (red:1.3) apple",
    "a red apple",
    "((red)) (blue:0.5) [x]",
    "(minus:-1.2) a (nothing:0)",
    "",
    "(red:1.2) " * 40 + "tail",
    "w " * 90 + "(end:.8)",
]


def prompts(count: int) -> list[str]:
    """Made of WORDS; up to some hundred tokens."""
    draw = random.Random(1).random
    made = []
    for _ in range(count):
        length = (1, 3, 6, 12, 25, 60, 150)[int(7 * draw())]
        made.append("".join(WORDS[int(len(WORDS) * draw())] + " " * (draw() < 0.6) for _ in range(length)))
    return made


def wave(shape: tuple[int, ...], seed: int, scale: float = 0.1) -> torch.Tensor:
    """Numbers of root mean square 0.7 `scale` without a pattern."""
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (scale * torch.sin(0.7 * n + (n % 97) ** 2 + 1.3 * seed)).float().view(shape)


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """With waves for weights; norms are near 1."""
    network.eval().requires_grad_(False)
    for seed, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        norm = "norm" in name and name.endswith("weight")
        tensor.copy_(wave(tuple(tensor.shape), seed, 0.3 if tensor.ndim > 1 else 0.1) + float(norm))
    return network


def encoder(**settings: object) -> TextEncoder:
    """A text encoder of CLIP's vocabulary in miniature."""
    made = filled(TextEncoder(TextEncoderConfig(width=32, layers=3, heads=2, **settings)))
    assert isinstance(made, TextEncoder)
    return made


ENCODERS = {
    "SD 1": ({}, -1, 0),
    "SD 1, clip skip 2": ({}, -1, 1),
    "XL": ({"activation": "gelu", "projection": 32, "normalize_skipped": False}, 0, 1),
}
"""Settings, padding of the tokenizer, layers skipped."""

VAE = AutoEncoderConfig(widths=(32, 32), blocks=1)
MINIATURES = {
    "SD 1": (
        UNetConfig(
            in_channels=4,
            out_channels=4,
            widths=(32, 64),
            blocks=1,
            attention=(1, 0),
            heads=8,
            text_width=64,
        ),
        {"text_encoder": (TextEncoderConfig(width=64, layers=2, heads=1), layouts.text.transformers(CLIP_L))},
    ),
    "SDXL": (
        UNetConfig(
            in_channels=4,
            out_channels=4,
            widths=(64, 128),
            blocks=1,
            attention=(0, 1),
            head_width=64,
            text_width=96,
            pooled_width=80,
        ),
        {
            "text_encoder": (
                TextEncoderConfig(width=64, layers=2, heads=1, normalize_skipped=False),
                layouts.text.transformers(XL_CLIP_L),
            ),
            "text_encoder_2": (
                TextEncoderConfig(
                    width=32, layers=2, heads=1, activation="gelu", projection=32, normalize_skipped=False
                ),
                layouts.text.open_clip(XL_BIG_G),
            ),
        },
    ),
}
"""The UNet, and the text encoders with the layout that they have in a single file."""


def checkpoint(family: str, path):
    """A single file of a miniature."""
    unet, texts = MINIATURES[family]
    parts = [(UNet(unet), layouts.unet.original(unet, family != "SD 1"))]
    parts += [(AutoEncoder(VAE), layouts.autoencoder.original(2))]
    parts += [(TextEncoder(config), layout) for config, layout in texts.values()]
    tensors = {}
    for network, layout in parts:
        tensors |= layouts.spread(layout, filled(network).state_dict())
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path


def lora(shape, seed, rank=4):
    ones = (1,) * (len(shape) - 2)
    return {
        "lora_down.weight": wave((rank, *shape[1:]), seed),
        "lora_up.weight": wave((shape[0], rank, *ones), seed + 1),
        "alpha": torch.tensor(3.0),
    }


def without_alpha(shape, seed):
    return {role: tensor for role, tensor in lora(shape, seed).items() if role != "alpha"}


def tucker(shape, seed):
    if len(shape) == 2 or shape[2] == 1:
        return lora(shape, seed)
    return {
        "lora_down.weight": wave((4, shape[1], 1, 1), seed),
        "lora_mid.weight": wave((4, 4, *shape[2:]), seed + 1, 1.0),
        "lora_up.weight": wave((shape[0], 4, 1, 1), seed + 2),
        "alpha": torch.tensor(2.0),
    }


def loha(shape, seed):
    inner = shape[1] * (shape[2] * shape[3] if len(shape) > 2 else 1)
    sizes = {"w1_a": (shape[0], 3), "w1_b": (3, inner), "w2_a": (shape[0], 3), "w2_b": (3, inner)}
    made = {f"hada_{name}": wave(size, seed + n, 0.3) for n, (name, size) in enumerate(sizes.items())}
    return made | {"alpha": torch.tensor(2.0)}


def loha_tucker(shape, seed):
    if len(shape) == 2 or shape[2] == 1:
        return loha(shape, seed)
    made = {f"hada_w{n}_a": wave((3, shape[0]), seed + n, 0.5) for n in (1, 2)}
    made |= {f"hada_w{n}_b": wave((3, shape[1]), seed + 4 + n, 0.5) for n in (1, 2)}
    made |= {f"hada_t{n}": wave((3, 3, *shape[2:]), seed + 8 + n, 0.5) for n in (1, 2)}
    return made | {"alpha": torch.tensor(1.5)}


def lokr(shape, seed):
    return {
        "lokr_w1": wave((2, 4), seed, 0.3),
        "lokr_w2": wave((shape[0] // 2, shape[1] // 4, *shape[2:]), seed + 1, 0.3),
        "alpha": torch.tensor(7.0),  # of two whole matrices it means nothing
    }


def lokr_factored(shape, seed):
    made = {"lokr_w1_a": wave((2, 3), seed, 0.5), "lokr_w1_b": wave((3, 4), seed + 1, 0.5)}
    made["lokr_w2_a"] = wave((shape[0] // 2, 3), seed + 2, 0.5)
    made["lokr_w2_b"] = wave((3, shape[1] // 4 * (shape[2] * shape[3] if len(shape) > 2 else 1)), seed + 3)
    return made | {"alpha": torch.tensor(2.0)}


def dora(shape, seed):
    ones = (1,) * (len(shape) - 1)
    return lora(shape, seed) | {"dora_scale": wave((shape[0], *ones), seed + 5) + 1.5}


def dora_columns(shape, seed):
    ones = (1,) * (len(shape) - 2)
    return lora(shape, seed) | {"dora_scale": wave((1, shape[1], *ones), seed + 5) + 1.5}


KINDS = {
    "LoRA": lora,
    "LoRA without alpha": without_alpha,
    "LoRA, Tucker": tucker,
    "LoHa": loha,
    "LoHa, Tucker": loha_tucker,
    "LoKr": lokr,
    "LoKr, factored": lokr_factored,
    "DoRA": dora,
    "DoRA of columns": dora_columns,
}
STRENGTHS = {"LoRA": 1.0, "DoRA": 1.0, "DoRA of columns": 1.0}
"""Of the others 0.8."""


def layers(model, kind: str) -> dict[places.Place, str]:
    """The layers that have an adapter of a kind: all a plain LoRA, each fourth one of the others."""
    names = places.names_for(places.parts_of(model))
    fit = {
        place: name for place, name in names.items() if place.shape[0] % 2 == 0 and place.shape[1] % 4 == 0
    }
    return names if kind == "LoRA" else dict(list(fit.items())[:: 1 if "Tucker" in kind else 4])


def adapter(model, kind: str, path, convolution: bool):
    """A file of it in kohya's names. convolution: projections of transformers are 1x1 convolutions."""
    tensors = {}
    for seed, (place, name) in enumerate(layers(model, kind).items()):
        ones = (1, 1) if convolution and ".project_" in place.name else ()
        made = KINDS[kind]((*place.shape, *ones), 20 * seed)
        tensors |= {f"{name}.{role}": tensor.contiguous() for role, tensor in made.items()}
    save_file(tensors, path)
    return path


def weighty(tensor: torch.Tensor) -> list[float]:
    """Two numbers that no change of a weight leaves as they are."""
    flat = tensor.double().flatten()
    return [float(flat @ wave((flat.numel(),), 3, 1.0).double()), float(flat.norm())]


L, G = TextEncoderConfig.clip_l(), TextEncoderConfig.open_clip_big_g()
H = replace(TextEncoderConfig.open_clip_h(), layers=23, projection=None)
FULL = {
    "SD 1.5": (published.stable_diffusion_1(), {"text_encoder": (L, CLIP_L)}),
    "SD 2.1": (published.stable_diffusion_2(), {"text_encoder": (H, OPEN_CLIP_H)}),
    "SDXL": (
        published.stable_diffusion_xl(),
        {
            "text_encoder": (replace(L, normalize_skipped=False), XL_CLIP_L),
            "text_encoder_2": (G, XL_BIG_G),
        },
    ),
    "SDXL refiner": (published.stable_diffusion_xl_refiner(), {"text_encoder_2": (G, REFINER_BIG_G)}),
}
CHANNELS = {"": 4, " inpainting": 9, " instruct-pix2pix": 8}


def full(name: str):
    """The UNet, and the text encoders with the beginning of their names in a single file, at their full size."""
    family = max((known for known in FULL if name.startswith(known)), key=len)
    unet, texts = FULL[family]
    return replace(unet, in_channels=CHANNELS[name.removeprefix(family)]), texts


def single(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the single file that `unnoise convert` writes."""
    unet, texts = full(name)
    shapes = dict(layouts.unet.original(unet, not name.startswith("SD 1")).shapes(shapes_of(unet)))
    shapes |= layouts.autoencoder.original(4).shapes(shapes_of(AutoEncoderConfig()))
    for config, prefix in texts.values():
        named = layouts.text.open_clip if prefix.endswith(".model.") else layouts.text.transformers
        shapes |= named(prefix).shapes(shapes_of(config))
    return shapes


GRIDS = (
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform"),
    *("beta", "normal", "linear_quadratic", "kl_optimal"),
)
COUNTS = (2, 7, 20, 30)
SAMPLERS = (
    *("euler", "euler_ancestral", "heun", "heunpp2", "dpm_2", "dpm_2_ancestral", "lms", "dpmpp_2s_ancestral"),
    *("dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "ddpm", "lcm", "ipndm"),
    *("res_multistep", "gradient_estimation", "seeds_2", "seeds_3", "ddim", "uni_pc", "uni_pc_bh2"),
)
RUNS = (("normal", 6), ("karras", 11), ("ddim_uniform", 7))
ENTERED = (
    *(("dpmpp_2m", "karras", 20, 0.6), ("lms", "normal", 7, 0.35), ("euler", "ddim_uniform", 18, 0.6)),
    *(("dpm_2", "simple", 9, 0.75), ("euler", "beta", 10, 0.99995)),
)
"""Sampler, grid, steps, and how much of the noise."""
SHAPE = (1, 4, 4, 4)


def network(x: torch.Tensor, time: float) -> torch.Tensor:
    """Smooth, not linear, different at each time: float64."""
    mixed = torch.einsum("ij,bjhw->bihw", wave((4, 4), 3, 0.7).double(), x)
    return torch.tanh(mixed) + torch.sin(torch.as_tensor(time).double() / 200.0)


def draws():
    """The noise of a run: the k-th call gives the k-th."""
    count = iter(range(1000, 2000))
    return lambda: wave(SHAPE, next(count), 2.0**0.5).double()
