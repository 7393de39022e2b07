"""`unnoise inspect-run`: one picture in the making, every step on a page."""

from __future__ import annotations

import argparse

from unnoise.cli import outputs, parser, values
from unnoise.cli.answering import answer

_OPTIONS = {
    "-m, --model MODEL = emoji": "name or folder (default %(default)s)",
    "--steps N": "the model's own by default",
    "--guidance X": "the model's own by default",
    "--scheduler NAME": "the model's own by default",
    "--seed N = 0": "of the noise (default %(default)s)",
    "-o, --output FILE = run.html": "the page (default %(default)s)",
    "--json": "print the numbers as one JSON object",
}


def add(commands: argparse._SubParsersAction[parser.Parser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "inspect-run", help="show every step of one run on a page", description=__doc__
    )
    command.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="what the picture shows")
    parser.options(command, _OPTIONS)
    parser.finish(command, "inspect-run", run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    steps = values.maybe(values.whole, "--steps", arguments.steps, 1, 1000, 20)
    guidance = values.maybe(values.number, "--guidance", arguments.guidance, 0, 100, 2)
    seed = values.whole("--seed", arguments.seed, 0, 2**63 - 1, 7)
    path = values.path("--output", arguments.output)
    path = path if path.suffix and not path.is_dir() else path / "run.html"
    outputs.check_output("--output", path, (".html",))
    from unnoise import evaluation, pipelines
    from unnoise.schedulers import names

    if arguments.scheduler is not None:
        names.get(arguments.scheduler)  # an unknown one is refused before a model is loaded
    pipe = pipelines.load(values.word("--model", arguments.model))
    seen = evaluation.inspect_run(
        pipe, arguments.prompt, seed=seed, steps=steps, guidance=guidance, scheduler=arguments.scheduler
    )
    evaluation.write_inspection(seen, path)
    return answer(arguments.json, seen.to_dict(), str(path))
