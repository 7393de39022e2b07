"""Train the small picture-text encoder: which words belong to which picture, on the training split alone.

    python recipes/emoji/train_encoder.py SET build/words.safetensors build/encoder

It judges the emoji model (retrieval, prompt alignment, features for distances), and never trains it.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from captions import STYLES, article, plain
from make_data import on_white
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unnoise.checkpoints.picture_text import PictureText, save_picture_text
from unnoise.networks.picture_encoder import PictureEncoderConfig, PictureTextEncoder
from unnoise.networks.text_encoder import TextEncoderConfig, WordEmbedding
from unnoise.text import WordTokenizer
from unnoise.training.words import WordVectors

WORDS = STYLES | {"fluent": "fluent"}
SKIPPED = ("flags", "component")


def read(folder: Path) -> tuple[list[dict[str, object]], Tensor]:
    """The rows of the training split and their pictures on white, uint8 (rows, 3, 64, 64)."""
    rows, pictures = [], []
    with zipfile.ZipFile(folder / "images.webpz") as store:
        for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["split"] != "train" or row["group"] in SKIPPED:
                continue
            image = on_white(Image.open(io.BytesIO(store.read(f"{row['index']:06d}.webp"))).convert("RGBA"))
            rows.append(row)
            pictures.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return rows, torch.stack(pictures)


def caption(row: dict[str, object], draw: np.random.Generator, tokenizer: WordTokenizer) -> str:
    """One way to ask for a picture: the name or tags, half of the time with the style."""
    name, tags = plain(str(row["name"])), [plain(str(tag)) for tag in row["tags"]]  # type: ignore[attr-defined]
    kind = draw.random()
    body = name if kind < 0.5 or not tags else " ".join(draw.permutation(tags)[: 1 + int(draw.integers(3))])
    if kind > 0.8:
        body = f"{article(name)} {name}"
    words = f"{body} {WORDS[str(row['style'])]}" if draw.random() < 0.5 else body
    return words if tokenizer(words, None).mask.sum() > 2 else name


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures in [-1, 1], each shifted, scaled, and half of them blurred or noisy as generated ones may be."""
    count = len(pictures)
    x = pictures.float() / 127.5 - 1.0
    scale = 1.0 + 0.25 * (torch.rand(count, generator=generator) - 0.3)
    shift = 0.2 * (torch.rand(count, 2, generator=generator) - 0.5)
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0], place[:, 1, 1], place[:, :, 2] = scale, scale, shift
    grid = F.affine_grid(place, list(x.shape), align_corners=False)
    x = 1.0 - F.grid_sample(1.0 - x, grid, align_corners=False)  # what comes in from outside is white
    half = count // 2
    small = F.interpolate(F.avg_pool2d(x[:half], 2), scale_factor=2.0, mode="bilinear")
    strength = 0.3 * torch.rand(half, 1, 1, 1, generator=generator)
    return torch.cat((small + strength * torch.randn(small.shape, generator=generator), x[half:])).clamp(
        -1, 1
    )


def build(words: WordVectors) -> PictureTextEncoder:
    """The untrained pair."""
    shape = {
        "vocabulary": words.tokenizer.size,
        "width": 128,
        "layers": 1,
        "heads": 4,
        "positions": 16,
        "expansion": 2,
        "activation": "gelu",
        "causal": False,
        "pooling": "mean",
        "end_token": words.tokenizer.end,
        "projection": 128,
        "attend_padding": False,
        **words.settings(),
        "token_dropout": 0.3,
    }
    text = TextEncoderConfig.from_dict(shape)
    model = PictureTextEncoder(PictureEncoderConfig(widths=(24, 48, 96, 160)), text)
    assert isinstance(model.text.token_embedding, WordEmbedding)
    words.fill(model.text.token_embedding)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    options = parser.parse_args()
    torch.manual_seed(1)
    draw, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    rows, pictures = read(options.set)
    words = WordVectors.read(options.words)
    model = build(words).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    codes = np.array([str(row["hexcode"]) for row in rows])
    begun = time.time()
    for step in range(options.steps):
        rate = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rate
        chosen = draw.choice(len(rows), options.batch, replace=False)
        tokens = words.tokenizer([caption(rows[i], draw, words.tokenizer) for i in chosen], 16)
        same = torch.from_numpy(codes[chosen][:, None] == codes[chosen][None, :])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(augment(pictures[chosen], generator), tokens.ids, tokens.mask, same)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(
                f"step {step + 1} of {options.steps}: loss {loss.item():.3f}, {time.time() - begun:.0f} s",
                flush=True,
            )
    card = {"recipe": "recipes/emoji", "steps": options.steps, "batch": options.batch, "split": "train"}
    save_picture_text(PictureText(model.eval(), words.tokenizer, card), options.out, torch.float16)


if __name__ == "__main__":
    main()
