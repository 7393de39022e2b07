"""`unnoise generate --prompts FILE`: a picture a row, each under a name made of its recipe, so that none is made twice.

A run that was cut, or one of a longer file, goes on where pictures are missing; shards need not know of each other.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unnoise.cli import parser, requests, values, variants
from unnoise.cli.answering import note
from unnoise.cli.progress import Progress
from unnoise.errors import FileError, InputError

if TYPE_CHECKING:
    from unnoise.cli.asking import Request
    from unnoise.pipelines import Denoising, Recipe, TextToImage, TwoPasses

_ALONE = ("show_every", "frames", "animate", "from")


_OPTIONS = {
    "--prompts FILE": "a picture for each row of a .txt, .csv, .jsonl or .parquet file, if it is not there already",
    "--shard I/N": "of such a file, every Nth row from row I on",
    "--ray N": "by N workers of a Ray cluster (RAY_ADDRESS) or of this machine; -o FOLDER.parquet packs the pictures",
}


def add(command: argparse.ArgumentParser) -> None:
    """Add the options of a file of prompts."""
    parser.options(command.add_argument_group("many pictures"), _OPTIONS)


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense together. Raises InputError."""
    if arguments.prompts is None:
        for name in ("shard", "ray"):
            if getattr(arguments, name) is not None:
                raise InputError(
                    f"--{name} parts the rows of a file of prompts; give --prompts FILE as well."
                )
        return
    folder = values.path("--out", arguments.out)
    packed = arguments.ray is not None and folder.suffix == ".parquet"
    faults = {
        "--prompts and a prompt are both given; give one of the two.": arguments.words or arguments.prompt,
        "--count is of one prompt; with --prompts write a row for each picture.": arguments.count != "1",
        "--no-metadata leaves out the recipe by which --prompts knows a picture.": arguments.no_metadata,
        f"--out is '{folder}'; with --prompts give a folder.": folder.is_file()
        or (folder.suffix and not packed and not folder.is_dir()),
    }
    for name in _ALONE:
        about = f"--{name.replace('_', '-')} looks at one picture; leave it out with --prompts."
        faults[about] = getattr(arguments, name) is not None
    for sentence, wrong in faults.items():
        if wrong:
            raise InputError(sentence)


class Job(NamedTuple):
    """A row, and how a message says where it stands."""

    where: str
    row: requests.Row

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What is refused in here is told of this row."""
        try:
            yield
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from None


def jobs(
    asked: Request, file: str, shard: str | None, look: Callable[[Mapping[str, Any]], None]
) -> list[Job]:
    """The rows of the file that this shard makes, each with a seed. Raises InputError and FileError.

    look: refuses options that no model has; it is shown those of every row of the file.
    A row without a seed gets the request's (0 for None), one more for each row before it that is equal: what a row
    makes does not depend on where it stands.
    """
    path, (place, parts) = values.path("--prompts", file), requests.shard(shard)
    seen: Counter[str] = Counter()
    found = []
    for number, row in enumerate(requests.read(path), 1):
        words = json.dumps(row, sort_keys=True)
        job = Job(f"'{path}', row {number}", {"seed": (asked.options["seed"] or 0) + seen[words], **row})
        with job.told():
            look({**asked.options, **job.row})
        found.append(job)
        seen[words] += 1
    return found[place - 1 :: parts]


def kinds(asked: Request, jobs: Sequence[Job]) -> list[Job]:
    """The first job of each kind of settings and LoRAs: a model that refuses none of these refuses none of all."""
    from unnoise.text.prompts import Prompt

    def kind(row: requests.Row) -> str:
        settings = {name: value for name, value in row.items() if name not in ("prompt", "negative", "seed")}
        loras = Prompt.read(row["prompt"], asked.options["prompt_style"] or "a1111").loras
        return json.dumps([settings, *(tag.name for tag in loras)], sort_keys=True)

    return list({kind(job.row): job for job in reversed(jobs)}.values())


class Result(NamedTuple):
    """What became of a row. path: the picture's file, or its name in a folder of parquet. made: just now."""

    row: requests.Row
    path: str
    made: bool
    notes: frozenset[str]


def results(asked: Request, pipe: TextToImage, jobs: Sequence[Job]) -> Iterator[Result]:
    """Make those of the pictures that are not there, row by row, once no row is refused."""
    check_model(pipe, asked, kinds(asked, jobs))
    for job in jobs:
        run = denoising(pipe, asked, job)
        path, fresh = one(run, asked)
        yield Result(job.row, str(path), fresh, frozenset(run.notes))


def tell(asked: Request, found: Iterator[Result], count: int) -> int:
    """Say what becomes of `count` rows while it does; returns the exit status."""
    made, notes = 0, frozenset[str]()
    with Progress(count, "pictures", quiet=asked.json) as progress:
        for done, result in enumerate(found, 1):
            note(sorted(result.notes - notes))
            notes |= result.notes
            made += result.made
            if asked.json:
                sys.stdout.write(json.dumps({"path": result.path, "made": result.made, **result.row}) + "\n")
                sys.stdout.flush()
            progress.reach(done)
    if not asked.json:
        sys.stdout.write(f"{made} made, {count - made} there already; in {asked.output}\n")
    return 0


def check_model(pipe: TextToImage, asked: Request, kinds: Sequence[Job]) -> None:
    """Refuse before the first picture is made what the model does not do. Raises InputError, naming the row."""
    for job in kinds:
        denoising(pipe, asked, job)


def denoising(pipe: TextToImage, asked: Request, job: Job) -> Denoising | TwoPasses:
    """The run of a row, not begun: with what the row says, else what the options say. Raises InputError, naming it."""
    known = {name: value for name, value in asked.options.items() if name != "count" and value is not None}
    options = known | job.row
    with job.told():
        return variants.denoise(pipe, options.pop("prompt"), options, asked.variant)


def one(run: Denoising | TwoPasses, asked: Request) -> tuple[Path, bool]:
    """The picture's file, and whether it had to be made."""
    from unnoise import files

    recipe = run.recipes[0]
    path = asked.output / f"{name_of(recipe, asked.enlarge)}.png"
    if _is_there(path, recipe):
        return path, False
    # Whoever writes this name writes this picture: one that is torn may be replaced.
    files.write_bytes(path, picture(run, asked))
    return path, True


def picture(run: Denoising | TwoPasses, asked: Request) -> bytes:
    """The picture of a run with its recipe, as a PNG."""
    from unnoise import images

    made = images.enlarge(run.result(asked.variant.tiled).images[0], asked.enlarge)
    return images.png_bytes(made, run.recipes[0].png_text())


def name_of(recipe: Recipe, enlarge: int = 1) -> str:
    """Twenty letters that two recipes share only if they make the same picture."""
    facts: Mapping[str, Any] = {**_lasting(recipe), "enlarge": enlarge}
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=10).hexdigest()


def _lasting(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the picture: not where the model lay, nor the version of the program.

    Nor what says nothing: a setting that a later version knows gives no other name to pictures without it.
    """
    beside = ("version", "model") if recipe.model_hash else ("version",)
    return {name: value for name, value in recipe.to_dict().items() if value and name not in beside}


def _is_there(path: Path, recipe: Recipe) -> bool:
    from unnoise import images

    if not path.is_file():
        return False
    try:
        images.open_picture(path)  # all of it
        return _lasting(type(recipe).from_png(path)) == _lasting(recipe)
    except (FileError, InputError):
        return False
