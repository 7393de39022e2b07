"""Put a trained run's averaged model into the package, in eight bits a weight, with what made it.

    python recipes/emoji/export.py RUN SET [FOLDER] [--average model-0.9997] [--recipe recipes/emoji/emoji.toml]

The card then tells the recipe's settings, the seed, the hash of the set, the steps and the pictures seen;
`unnoise inspect emoji` prints it. An old folder is never replaced: move it away first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from build_set import stored_hash

from unnoise import checkpoints
from unnoise.training import settings

SHIPPED = Path(__file__).parents[2] / "src" / "unnoise" / "checkpoints" / "models" / "emoji"
RECIPE = Path(__file__).with_name("emoji-gpu.toml")
"""Whose defaults and card the model gets: they are chosen by looking at what was trained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("set", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--average", default="model", help="which moving average of the run")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="whose defaults and card the model gets")
    options = parser.parse_args()
    config = settings.read(options.run / "config.toml")
    recipe = settings.read(options.recipe).model
    model = checkpoints.load(options.run / options.average)
    card = {
        **recipe.card,
        "set": f"sha256 {stored_hash(options.set)}",
        "seed": config.run.seed,
        "steps": config.run.steps,
        "batch": config.run.batch,
        "started": "another run of this recipe" if config.model.start or config.finetune.model else "nothing",
    }
    saved = checkpoints.save(
        replace(model, card=card, defaults=recipe.defaults), options.folder, dtype=torch.int8
    )
    size = sum(entry.stat().st_size for entry in saved.iterdir())
    print(f"{saved}: {size / 1e6:.2f} MB, weights sha256 {checkpoints.load(saved).sha256}")


if __name__ == "__main__":
    main()
