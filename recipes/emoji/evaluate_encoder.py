"""Does the encoder know pictures that it never saw? Its words for a held-out picture, among 100 names.

python recipes/emoji/evaluate_encoder.py ENCODER SET
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from captions import plain
from make_data import on_white
from PIL import Image
from train_encoder import SKIPPED

from unnoise.evaluation import Alignment, retrieval

CHOICES = 100


def main(encoder: str, folder: Path) -> None:
    judge, source = Alignment.load(encoder), np.random.default_rng(0)
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["group"] not in SKIPPED]
    names = sorted({plain(row["name"]) for row in rows})
    words = judge.words(names)
    with zipfile.ZipFile(folder / "images.webpz") as store:
        for split in ("train", "pair", "concept"):
            chosen = [row for row in rows if row["split"] == split]
            chosen = [chosen[i] for i in source.permutation(len(chosen))[:400]]
            shown = [store.read(f"{row['index']:06d}.webp") for row in chosen]
            white = [np.array(on_white(Image.open(io.BytesIO(content)).convert("RGBA"))) for content in shown]
            pixels = torch.from_numpy(np.stack(white)).permute(0, 3, 1, 2) / 127.5 - 1.0
            seen = judge.pictures(pixels)
            found = []
            for place, row in enumerate(chosen):
                own = names.index(plain(row["name"]))
                rivals = [i for i in source.permutation(len(names)) if i != own][: CHOICES - 1]
                found.append(retrieval(seen[place : place + 1], words[[own, *rivals]], [0], (1, 5)))
            means = {n: np.mean([each[n] for each in found]) for n in (1, 5)}
            print(
                f"{split}: {len(chosen)} pictures, R@1 {means[1]:.2f}, R@5 {means[5]:.2f} of {CHOICES} names"
            )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
