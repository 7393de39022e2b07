"""`unnoise inspect-run`: one picture in the making, every step on a page."""

from __future__ import annotations

import argparse

from unnoise.cli import outputs, parser, values
from unnoise.cli.answering import answer
from unnoise.cli.progress import Progress

_OPTIONS = {
    "-m, --model MODEL = emoji": values.MODEL,
    "-o, --out FILE = run.html": "page to write, .html, or its folder",
    "--steps N": "steps from noise to picture (default the model's own)",
    "--guidance X": "how strongly to follow the prompt (default the model's own)",
    "--scheduler NAME": "as `unnoise schedulers` lists (default the model's own)",
    "-s, --seed N = 0": "of the picture",
    "--json": "print one JSON object, and no progress",
}
EXAMPLES = ('inspect-run "a seven" -m digits --scheduler DDPM --out run.html',)


def _add_prompt(command: parser.Parser) -> None:
    command.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="what to make, in quotes")


PARTS = (_add_prompt, _OPTIONS)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    steps = values.maybe(values.whole, "--steps", arguments.steps, 1, 1000, 20)
    guidance = values.maybe(values.number, "--guidance", arguments.guidance, 0, 100, 2)
    seed = values.whole("--seed", arguments.seed, 0, 2**63 - 1, 7)
    path = values.path("--out", arguments.out)
    path = path if path.suffix and not path.is_dir() else path / "run.html"
    outputs.check_output("--out", path, (".html",))
    from unnoise import evaluation, pipelines
    from unnoise.schedulers import names

    if arguments.scheduler is not None:
        names.get(arguments.scheduler)  # an unknown one is refused before a model is loaded
    pipe = pipelines.load(values.word("--model", arguments.model))
    with Progress(None, "denoising", arguments.json) as progress:
        seen = evaluation.inspect_run(
            pipe,
            arguments.prompt,
            seed=seed,
            told=progress.told,
            steps=steps,
            guidance=guidance,
            scheduler=arguments.scheduler,
        )
    evaluation.write_inspection(seen, path)
    return answer(arguments.json, seen.to_dict(), f"saved {path}; open it in a browser")
