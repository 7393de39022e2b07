"""How many bits does a number of an emoji cost under the model? Three estimates beside two baselines.

    python recipes/emoji/likelihood.py MODEL SET [FOLDER] [--limit N]

Pictures held out of the split, in the model's size, are written into FOLDER/held-out with a caption each, those of the
split into FOLDER/train, and `unnoise evaluate likelihood` measures N of the former (all when left out). The shipped
model has learned from both; give the sister's run for pictures that a model has not seen. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

from evaluate import Real, prompt_of, read

from unnoise import checkpoints, images
from unnoise.cli import main as unnoise
from unnoise.files import building_folder

MEASURE = (
    "--method", "all", "--steps", "1000", "--calls", "32", "--tolerance", "1e-3", "--fit-variance", "24", "--json"
)  # fmt: skip


def write(real: Real, places: list[int], folder: Path) -> None:
    """PNGs beside captions, where the folder is new."""
    if folder.is_dir():
        return
    with building_folder(folder) as made:
        for place in places:
            stem = made / f"{place:04d}"
            images.to_pil(real.pixels[place][None])[0].save(stem.with_suffix(".png"))
            stem.with_suffix(".txt").write_text(f"{prompt_of(real, place)}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("set", type=Path)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/emoji-likelihood"))
    parser.add_argument("--limit", default="100000", help="at most so many held-out pictures")
    options = parser.parse_args()
    side = checkpoints.load(options.model).shape[1]
    real = read(options.set, ("noto", "flat", "3d"), side)
    train, held = options.folder / "train", options.folder / "held-out"
    write(real, real.where("train"), train)
    write(real, [*real.where("pair"), *real.where("concept")], held)
    out = io.StringIO()
    words = [
        "evaluate",
        "likelihood",
        options.model,
        held,
        "--train",
        train,
        "--limit",
        options.limit,
        *MEASURE,
    ]
    with contextlib.redirect_stdout(out):
        unnoise([str(word) for word in words])
    results = json.loads(out.getvalue())["results"]
    print("| estimate | bits a number | calls a picture |\n|---|---|---|")
    for row in results:
        print(f"| {row['estimator']} | {row['value']:.2f} ± {row['error']:.2f} | {row['calls']:.0f} |")
    print(f"\n{results[0]['pictures']} pictures of {len(list(held.glob('*.png')))} held out of the split")


if __name__ == "__main__":
    main()
