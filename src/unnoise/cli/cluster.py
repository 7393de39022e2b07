"""`unnoise generate --prompts FILE --ray N`: the rows as a Ray Data pipeline, the model once in each of N workers.

A worker makes of a row what the plain command makes of it, to the bit, under the same name, and passes over what is
there: a run that was cut, or that lost workers, goes on where pictures are missing. Needs the extra `unnoise[ray]`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise import files
from unnoise.cli import many
from unnoise.errors import FileError, InputError, UnnoiseError

if TYPE_CHECKING:
    from unnoise.cli.asking import Request

ENDING = ".parquet"
_BATCH, _PART = 8, 64  # rows that a worker is handed at once; pictures in a file


def check() -> None:
    """Raises InputError where the package ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "--ray needs ray: pip install 'unnoise[ray]'; or give each machine its own --shard I/N instead."
        )


class Painter:
    """One worker with its model. Ray makes it from what was asked, and hands it batches of rows."""

    def __init__(self, asked: Request, folder: str, known: frozenset[str], kinds: list[many.Job]) -> None:
        os.chdir(folder)  # where the command was typed: file names mean the same here
        import torch

        from unnoise.cli import generate

        self.asked, self.known = asked, known
        torch.set_num_threads(asked.threads or 1)
        self.pipe = generate.prepared(asked)
        many.check_model(self.pipe, asked, kinds)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """A batch of rows as columns, to one of what became of them."""
        found = [self._one(many.Job(*json.loads(text))) for text in batch["job"]]
        return {name: [one[name] for one in found] for name in found[0]}

    def _one(self, job: many.Job) -> dict[str, Any]:
        denoising = many.denoising(self.pipe, self.asked, job)
        told: dict[str, Any] = {
            "row": json.dumps(job.row),
            "notes": json.dumps(denoising.notes),
            "image": b"",
        }
        if self.asked.output.suffix != ENDING:
            path, fresh = many.one(denoising, self.asked)
            return {**told, "path": str(path), "made": fresh, "recipe": ""}
        recipe = denoising.recipes[0]
        name = many.name_of(recipe, self.asked.enlarge)
        if name not in self.known:
            told["image"] = many.picture(denoising, self.asked)
        return {**told, "path": name, "made": name not in self.known, "recipe": recipe.to_json()}


def results(asked: Request, jobs: list[many.Job]) -> Iterator[many.Result]:
    """What became of each row, in the order in which workers finish. Raises what a worker refuses or fails at."""
    import ray

    workers = asked.workers
    assert workers is not None
    packed = asked.output.suffix == ENDING
    known = _names(asked.output) if packed else frozenset()
    with _cluster(workers), _told():
        table = ray.data.from_items([{"job": json.dumps(job)} for job in jobs]).map_batches(
            Painter,
            fn_constructor_args=(asked, str(Path.cwd()), known, many.kinds(asked, jobs)),
            batch_size=_BATCH,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=1 if ray.cluster_resources().get("GPU", 0) >= workers else 0,
        )
        waiting: list[dict[str, Any]] = []
        packing: set[str] = set()  # two rows may ask for one picture
        for entry in table.iter_rows():
            if packed and entry["made"] and entry["path"] not in packing:
                packing.add(entry["path"])
                waiting.append(entry)
            if len(waiting) == _PART:
                _write(asked.output, waiting)
                waiting = []
            path = str(asked.output / entry["path"]) if packed else entry["path"]
            notes = frozenset(json.loads(entry["notes"]))
            yield many.Result(json.loads(entry["row"]), path, bool(entry["made"]), notes)
        if waiting:
            _write(asked.output, waiting)


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """The cluster that RAY_ADDRESS names, or one on this machine for as long as it is used."""
    import ray

    own = not ray.is_initialized()
    if own:
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers + 1, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **here)
    context = ray.data.DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield
    finally:
        context.enable_progress_bars = before
        if own:
            ray.shutdown()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a worker refuses, as if it had been refused here."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UnnoiseError):
            raise cause from error
        raise FileError(f"a worker of the cluster failed: {error}") from error


def _names(folder: Path) -> frozenset[str]:
    """Names of the pictures in the whole parts of a folder."""
    from pyarrow import parquet

    found: set[str] = set()
    for path in sorted(folder.glob(f"*{ENDING}")):
        found.update(parquet.read_table(path, columns=["name"])["name"].to_pylist())
    return frozenset(found)


def _write(folder: Path, entries: list[dict[str, Any]]) -> None:
    """One more part: columns that `unnoise train` reads as pictures with words, and the recipes."""
    import pyarrow
    from pyarrow import parquet

    columns = {
        "name": [entry["path"] for entry in entries],
        "image": [entry["image"] for entry in entries],
        "text": [json.loads(entry["row"])["prompt"] for entry in entries],
        "recipe": [entry["recipe"] for entry in entries],
    }
    name = hashlib.blake2b("".join(columns["name"]).encode(), digest_size=10).hexdigest()
    with files.replacing(folder / f"{name}{ENDING}") as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
