"""`unnoise generate --prompts FILE`: a picture a row, each under a name made of its recipe, so that none is made twice.

A run that was cut, or one of a longer file, goes on where pictures are missing; shards need not know of each other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import requests, variants
from unnoise.cli.progress import Progress
from unnoise.errors import FileError, InputError

if TYPE_CHECKING:
    from unnoise.cli.generate import Request
    from unnoise.pipelines import Denoising, Recipe, TextToImage, TwoPasses

_ALONE = ("show_every", "frames", "animate", "source")


def add(command: argparse.ArgumentParser) -> None:
    """Add the options of a file of prompts."""
    command.add_argument(
        "--prompts",
        metavar="FILE",
        help="a picture for each row of a .txt, .csv, .jsonl or .parquet file, if it is not there already",
    )
    command.add_argument("--shard", metavar="I/N", help="of such a file, every Nth row from row I on")


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense together. Raises InputError."""
    if arguments.prompts is None:
        if arguments.shard is not None:
            raise InputError("--shard parts the rows of a file of prompts; give --prompts FILE as well.")
        return
    folder = Path(arguments.output)
    faults = {
        "--prompts and a prompt are both given; give one of the two.": arguments.words or arguments.prompt,
        "--count is of one prompt; with --prompts write a row for each picture.": arguments.count != "1",
        "--no-metadata leaves out the recipe by which --prompts knows a picture.": arguments.no_metadata,
        f"--output is '{folder}'; with --prompts give a folder.": folder.suffix or folder.is_file(),
    }
    for name in _ALONE:
        option = "from" if name == "source" else name.replace("_", "-")
        about = f"--{option} looks at one picture; leave it out with --prompts."
        faults[about] = getattr(arguments, name) is not None
    for sentence, wrong in faults.items():
        if wrong:
            raise InputError(sentence)


def jobs(path: str, shard: str | None, seed: int | None) -> list[requests.Row]:
    """The rows of the file that this shard makes, each with a seed. Raises InputError and FileError.

    A row without one gets `seed` (0 for None), one more for each row before it that is equal: what a row makes does
    not depend on where it stands.
    """
    place, parts = requests.shard(shard)
    seen: Counter[str] = Counter()
    found = []
    for row in requests.read(Path(path).expanduser()):
        words = json.dumps(row, sort_keys=True)
        found.append({"seed": (seed or 0) + seen[words], **row})
        seen[words] += 1
    return found[place - 1 :: parts]


def run(asked: Request, pipe: TextToImage, rows: list[requests.Row]) -> int:
    """Make those of the pictures that are not there; returns the exit status."""
    made, notes = 0, set[str]()
    with Progress(len(rows), "pictures", quiet=asked.json) as progress:
        for done, row in enumerate(rows, 1):
            options = _settings(asked.options, row)
            denoising = variants.denoise(pipe, options.pop("prompt"), options, asked.variant)
            for note in set(denoising.notes) - notes:
                sys.stderr.write(f"unnoise: note: {note}\n")
            notes |= set(denoising.notes)
            path, fresh = _one(denoising, asked)
            made += fresh
            if asked.json:
                sys.stdout.write(json.dumps({"path": str(path), "made": fresh, **row}) + "\n")
                sys.stdout.flush()
            progress.reach(done)
    if not asked.json:
        sys.stdout.write(f"{made} made, {len(rows) - made} there already; in {asked.output}\n")
    return 0


def _settings(options: Mapping[str, Any], row: requests.Row) -> dict[str, Any]:
    """What the row says, else what the options say."""
    known = {name: value for name, value in options.items() if name != "count" and value is not None}
    return known | row


def _one(denoising: Denoising | TwoPasses, asked: Request) -> tuple[Path, bool]:
    """The picture's file, and whether it had to be made."""
    from unnoise import images

    recipe = denoising.recipes[0]
    path = asked.output / f"{name_of(recipe, asked.enlarge)}.png"
    if _is_there(path, recipe):
        return path, False
    picture = images.enlarge(denoising.result(asked.variant.tiled).images[0], asked.enlarge)
    # Whoever writes this name writes this picture: one that is torn may be replaced.
    images.write_png(path, picture, recipe.png_text())
    return path, True


def name_of(recipe: Recipe, enlarge: int = 1) -> str:
    """Twenty letters that two recipes share only if they make the same picture."""
    facts: Mapping[str, Any] = {**_lasting(recipe), "enlarge": enlarge}
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=10).hexdigest()


def _lasting(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the picture: not where the model lay, nor the version of the program."""
    facts = recipe.to_dict()
    del facts["version"]
    if facts["model_hash"]:
        del facts["model"]
    return facts


def _is_there(path: Path, recipe: Recipe) -> bool:
    from unnoise import images

    if not path.is_file():
        return False
    try:
        images.open_picture(path)  # all of it
        return _lasting(type(recipe).from_png(path)) == _lasting(recipe)
    except (FileError, InputError):
        return False
