"""Each network alone against diffusers' and transformers', the same weights out of the same files.

In float32 the two must agree; in bfloat16 the error of each against diffusers' float32 is told. A process for each
side in each type, with one network in memory at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from full_size.cells import How
from full_size.models import Place, place, ready
from full_size.sides import noise

BOUND = 1e-5
"""Largest difference over the largest number."""


def compare(families: list[str], how: How, side: int | None) -> int:
    """Prints a line for each output of each network; returns 1 if one is out of bounds."""
    worst = 0.0
    print(
        "| family | network | output | float32: largest difference / largest number | bfloat16: error, ours | theirs |"
    )
    print("|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for family in families:
            ready(place(how.root, how.size, family))
            runs = {
                (who, dtype): _outputs(who, dtype, family, how, side, Path(folder))
                for dtype in ("float32", "bfloat16")
                for who in ("unnoise", "diffusers")
            }
            for name, expected in runs["diffusers", "float32"].items():
                found = runs["unnoise", "float32"][name]
                apart = float((found - expected).abs().max() / expected.abs().max())
                errors = [
                    float((runs[who, "bfloat16"][name] - expected).norm() / expected.norm())
                    for who in ("unnoise", "diffusers")
                ]
                worst = max(worst, apart) if apart == apart else float("nan")
                said = " | ".join(f"{error:.1e}" for error in (apart, *errors))
                print(f"| {family} | {name.replace('.', ' | ')} | {said} |", flush=True)
    print(f"\nworst in float32 {worst:.1e}, bound {BOUND:.0e}: {'kept' if worst <= BOUND else 'NOT kept'}")
    return int(not worst <= BOUND)


def _outputs(
    who: str, dtype: str, family: str, how: How, side: int | None, folder: Path
) -> dict[str, Tensor]:
    asked = {"who": who, "dtype": dtype, "family": family, "size": how.size, "root": str(how.root)}
    asked |= {"threads": how.threads, "side": side, "into": str(folder / f"{who}-{dtype}.safetensors")}
    subprocess.run([sys.executable, str(how.script), "one-side", json.dumps(asked)], check=True)
    return load_file(asked["into"])


def one_side(asked: dict[str, Any]) -> None:
    """In a process of its own: the outputs of all networks of one side, into a file."""
    warnings.simplefilter("ignore")  # the peers' warnings of their own internals
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    where = place(Path(asked["root"]), asked["size"], asked["family"])
    side = asked["side"] or where.made.side
    found = {}
    for network in (*where.made.towers, "vae", "unet"):
        with torch.no_grad():
            one = _ours if asked["who"] == "unnoise" else _theirs
            outputs = one(where, network, side, getattr(torch, asked["dtype"]))
        found |= {f"{network}.{name}": tensor.float().contiguous() for name, tensor in outputs.items()}
        print(f"{asked['family']} {network}, {asked['who']} in {asked['dtype']}", file=sys.stderr, flush=True)
    save_file(found, asked["into"])


def _tokens() -> Tensor:
    tokens = torch.randint(0, 49406, (2, 77), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[0, 76:], tokens[1, 20:] = 49406, 49407, 49407
    return tokens


def _ours(where: Place, name: str, side: int, dtype: torch.dtype) -> dict[str, Tensor]:
    from unnoise import checkpoints
    from unnoise.checkpoints.blueprint import fill

    found = checkpoints.recognise(where.folder)
    assert found is not None
    part = found.parts[{"unet": "network", "vae": "autoencoder"}.get(name, name)]
    network = fill(part, dtype, "cpu", found.unused)
    if name == "unet":
        config = network.config
        x, text = noise(2, 4, side, side), noise(2, 77, config.text_width, seed=1)
        pooled = None
        if config.pooled_width:
            pooled = torch.cat([noise(2, 1, seed=2).expand(2, _pooled(where)), _told(where, config)], dim=1)
        return {"sample": network(x, torch.tensor([3.0, 977.0]), text, pooled=pooled).sample}
    if name == "vae":
        encoded = network.encode(_pictures(where, side))
        return {
            "mean": encoded.mean,
            "log variance": encoded.log_variance,
            "picture": network.decode(noise(1, 4, side, side)),
        }
    skip = int(where.made.text_2 is not None)
    made = network(_tokens(), skip=skip)
    return {"hidden": made.hidden} | ({"pooled": made.pooled} if name == "text_encoder_2" else {})


def _theirs(where: Place, name: str, side: int, dtype: torch.dtype) -> dict[str, Tensor]:
    import diffusers
    import transformers

    options = {"subfolder": name, "variant": "fp16"}
    if name == "unet":
        network = diffusers.UNet2DConditionModel.from_pretrained(where.folder, **options).eval().to(dtype)
        config = network.config
        x = noise(2, 4, side, side).to(dtype)
        text = noise(2, 77, config.cross_attention_dim, seed=1).to(dtype)
        more = None
        if config.addition_embed_type:
            pooled = noise(2, 1, seed=2).expand(2, _pooled(where)).to(dtype)
            more = {"text_embeds": pooled, "time_ids": _sizes(where)}
        return {"sample": network(x, torch.tensor([3.0, 977.0]), text, added_cond_kwargs=more).sample}
    if name == "vae":
        network = diffusers.AutoencoderKL.from_pretrained(where.folder, **options).eval().to(dtype)
        encoded = network.encode(_pictures(where, side).to(dtype)).latent_dist
        picture = network.decode(noise(1, 4, side, side).to(dtype)).sample
        return {"mean": encoded.mean, "log variance": encoded.logvar, "picture": picture}
    second = name == "text_encoder_2"
    kind = transformers.CLIPTextModelWithProjection if second else transformers.CLIPTextModel
    network = kind.from_pretrained(where.folder, **options).eval().to(dtype)
    made = network(_tokens(), output_hidden_states=True)
    hidden = made.hidden_states[-2] if where.made.text_2 else made.last_hidden_state
    return {"hidden": hidden} | ({"pooled": made.text_embeds} if second else {})


SIZES = [[512.0, 768, 0, 0, 512, 768], [1024, 512, 4, 8, 1024, 512]]


def _pooled(where: Place) -> int:
    assert where.made.text_2
    return int(where.made.text_2["projection_dim"])


def _sizes(where: Place) -> Tensor:
    return torch.tensor(SIZES)[:, : where.made.told]


def _told(where: Place, config: Any) -> Tensor:
    from unnoise.networks.unet.embedding import sinusoids

    width = (config.pooled_width - _pooled(where)) // where.made.told
    return sinusoids(_sizes(where).flatten(), width).reshape(2, -1)


def _pictures(where: Place, side: int) -> Tensor:
    factor = where.pixels // where.made.side
    return noise(1, 3, side * factor, side * factor, seed=3).clamp(-1, 1)
