"""How well does the shipped recipe fit digits that it has not seen? Three estimates beside two baselines.

    python recipes/digits/likelihood.py [FOLDER] [--steps N]

Every fifth of the 1,797 digits is held out; a sister of the shipped model is trained on the others by the shipped
recipe (in FOLDER/run, kept and taken up again), and `unnoise evaluate likelihood` measures the 359 held out, with
their captions and without. Prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import make_data

from unnoise.cli import main as unnoise
from unnoise.files import building_folder

CONFIG = Path(__file__).with_name("digits.toml")
MEASURE = (
    "--method",
    "all",
    "--steps",
    "1000",
    "--calls",
    "64",
    "--levels",
    "17",
    "--fit-variance",
    "1438",
    "--json",
)


def split(folder: Path) -> tuple[Path, Path]:
    """Folders of the pictures to train on and of those held out, made where they are missing."""
    train, held = folder / "train", folder / "held-out"
    if not held.is_dir():
        make_data.main(train)
        with building_folder(held) as made:  # whole or absent: pictures left behind would be trained on
            for path in sorted(train.iterdir()):
                if int(path.stem) % 5 == 4:
                    shutil.move(path, made / path.name)
    return train, held


def trained(train: Path, run: Path, steps: int | None) -> Path:
    """The run, trained to its end."""
    if not (run / "model").is_dir():
        words = ["train", str(train), "--out", str(run), "--config", str(CONFIG)]
        words += ["--resume"] * run.is_dir() + ([] if steps is None else ["--steps", str(steps)])
        if unnoise(words) != 0:
            raise SystemExit("the training did not end well; see above.")
    return run


def measured(run: Path, held: Path, train: Path, *more: str) -> list[dict[str, Any]]:
    """One row of results an estimator."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        unnoise(["evaluate", "likelihood", str(run), str(held), "--train", str(train), *MEASURE, *more])
    return json.loads(out.getvalue())["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/digits-likelihood"))
    parser.add_argument("--steps", type=int, help="of training; the recipe's own when left out")
    options = parser.parse_args()
    train, held = split(options.folder)
    run = trained(train, options.folder / "run", options.steps)
    told, untold = measured(run, held, train), measured(run, held, train, "--no-captions")
    print("| estimate | told the captions | told nothing | calls a picture |")
    print("|---|---|---|---|")
    for one, other in zip(told, untold, strict=True):
        alone = one["calls"] == 0  # a baseline hears no captions
        figures = [f"{row['value']:.3f} ± {row['error']:.3f}" for row in (one, other)]
        print(f"| {one['estimator']} | {'' if alone else figures[0]} | {figures[1]} | {one['calls']:.0f} |")
    print(
        f"\n{told[0]['pictures']} pictures held out of {told[0]['pictures'] + len(list(train.glob('*.png')))}"
    )


if __name__ == "__main__":
    main()
