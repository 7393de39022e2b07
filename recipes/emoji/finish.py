"""At which noise levels does the model lose what a thing is? Real pictures, noised to a level and finished by it.

    python recipes/emoji/finish.py MODEL SET [--levels 0.1,0.3,1,3] [--rows 160]

A picture noised to a low level still shows its thing, and the model only has to finish it; noised to a high one, the
model draws it anew from the prompt. Where the judges' R@1 (see evaluate.py) falls from one level to the next, there the
model lacks detail, and there training should look. The first row is of the real pictures, the last of drawn ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from evaluate import Real, draw, prompt_of, read, retrieval
from judges import Judge, lite0, own
from torch import Tensor

import unnoise
from unnoise.pipelines import ImageToImage, TextToImage


def finished(pipe: TextToImage, real: Real, places: list[int], level: float, guidance: float) -> Tensor:
    """The pictures at these places noised to `level` (sigma) and finished in 12 steps; picture i has the seed i."""
    from_picture, parts = ImageToImage(pipe.model), []
    for start in range(0, len(places), 16):
        some = places[start : start + 16]
        made = from_picture(
            [prompt_of(real, place) for place in some],
            real.pixels[torch.tensor(some)],
            noise_level=level,
            steps=12,
            guidance=guidance,
            seeds=range(start, start + len(some)),
        )
        parts.append(torch.from_numpy(np.stack(made.arrays)).permute(0, 3, 1, 2) * 2.0 - 1.0)
    return torch.cat(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("set", type=Path)
    parser.add_argument("--levels", default="0.1,0.3,1,3")
    parser.add_argument("--guidance", default="1,3", help="scales at which each level is finished")
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--styles", default="noto,noto-v1,flat,3d")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = unnoise.load(options.model)
    real = read(options.set, options.styles.split(","), pipe.model.shape[-1], wide=True)
    places = np.random.default_rng(0).permutation(len(real.names))[: options.rows].tolist()
    judges = [(judge, judge(real.pixels)) for judge in (lite0(), own("emoji"))]
    print("| from | guidance | R@1 by EfficientNet | by our encoder |\n|---|---|---|---|")
    tell("the real pictures", "", real.pixels[torch.tensor(places)], places, real, judges)
    for level in map(float, options.levels.split(",")):
        for guidance in map(float, options.guidance.split(",")):
            made = finished(pipe, real, places, level, guidance)
            tell(f"noise of {level:g}", f"{guidance:g}", made, places, real, judges)
    texts = [prompt_of(real, place) for place in places]
    tell("noise alone", "", draw(pipe, texts, 0, None, None, None), places, real, judges)


def tell(
    what: str, guidance: str, made: Tensor, places: list[int], real: Real, judges: list[tuple[Judge, Tensor]]
) -> None:
    """One row of the table."""
    found = [retrieval(judge(made), places, real, gallery)["R@1"] for judge, gallery in judges]
    print(f"| {what} | {guidance} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
