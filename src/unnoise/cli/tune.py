"""`unnoise tune`: steps fitted to one model, so that few network calls come near to what many would make."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.cli import card, outputs, values
from unnoise.cli.answering import answer
from unnoise.cli.progress import Progress
from unnoise.cli.threads import fit_threads
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.evaluation import HeldOut

_OPTIONS = {
    "MODEL": values.MODEL,
    "--steps N = 8": "steps from noise to picture to make the most of, 2 to 25",
    "--guidance X": "that it will be used with (default the model's own)",
    "--scheduler NAME = Adams-Moulton 2": "whose solver is improved",
    "-p, --prompt TEXT ...": "may be repeated (default the prompts of the model's card)",
    "-b, --count N = 48": "pictures in the making that it is fitted on",
    "-s, --seed N = 0": "of the first picture",
    "--rounds N = 12": "of fitting, at most",
    "--levels-only": "fit the levels alone, which other programs can use too",
    "-o, --out FILE": "file to write, .json (default MODEL-STEPS.json)",
    "--resume": "go on from the file's levels and factors",
    "--json": "print one JSON object, and no progress",
}
EXAMPLES = (
    "tune digits --steps 8 --out digits-8.json",
    'generate "a seven" -m digits --scheduler tuned:digits-8.json',
)
PARTS = (_OPTIONS,)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    steps = values.whole("--steps", arguments.steps, 2, 25, 8)
    count = values.whole("--count", arguments.count, 8, 1024, 48)
    rounds = values.whole("--rounds", arguments.rounds, 1, 1000, 12)
    seed = values.whole("--seed", arguments.seed, 0, 2**62, 0)
    guidance = values.maybe(values.number, "--guidance", arguments.guidance, 0, 100, 2)
    out = _out(arguments, steps)
    from unnoise import evaluation, pipelines
    from unnoise.schedulers import names, tuned

    names.get(arguments.scheduler)  # an unknown one is refused before a model is loaded
    start = tuned.read(out) if arguments.resume else None
    pipe = pipelines.load(arguments.model)
    fit_threads(pipe.model, count)
    with Progress(None, "tuning", arguments.json) as progress:
        made = evaluation.tune(
            pipe,
            card.prompts(pipe.model, arguments.prompt),
            steps=steps,
            guidance=guidance,
            scheduler=arguments.scheduler,
            count=count,
            seed=seed,
            looks=0 if arguments.levels_only else 3,
            rounds=rounds,
            start=start,
            told=progress.told,
        )
        for each in made:  # kept round by round: a fit that is stopped is shorter, not lost
            each.tuned.write(out)
    assert each.held_out is not None
    facts = {"file": str(out), **asdict(each.tuned)}
    return answer(arguments.json, facts, _words(each.held_out, out))


def _out(arguments: argparse.Namespace, steps: int) -> Path:
    name = values.path("MODEL", arguments.model).resolve().name.removesuffix(".safetensors")
    out = Path(f"{name}-{steps}.json") if arguments.out is None else values.path("--out", arguments.out)
    outputs.check_output("--out", out, (".json",))
    if out.is_dir() or not out.suffix:
        raise InputError(f"--out is '{out}'; give the name of a file that ends in .json.")
    if out.exists() and not arguments.resume:
        raise InputError(f"'{out}' exists; give another --out, or --resume to go on from it.")
    return out


def _words(held: HeldOut, out: Path) -> str:
    before, after = held.before, held.after
    return (
        f"held-out seeds {held.seeds[0]} to {held.seeds[1]}, error to the converged pictures of the same noise:\n"
        f"  before  {before.together:.4f}, of the middle picture {before.median:.4f}\n"
        f"  after   {after.together:.4f}, of the middle picture {after.median:.4f}\n"
        f"saved {out}; use it: --scheduler tuned:{out}"
    )
