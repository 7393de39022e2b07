"""`unnoise compare`: schedulers side by side on one model, as a page, a table and pictures."""

from __future__ import annotations

import argparse
from functools import partial

from unnoise.cli import card, features, outputs, values
from unnoise.cli.answering import answer
from unnoise.cli.progress import Progress
from unnoise.cli.threads import fit_threads
from unnoise.errors import InputError
from unnoise.files import check_folder

_SCHEDULERS = "DDPM,DDIM,Euler,Euler a,Heun,LMS,DPM++ 2M,UniPC"
_OPTIONS = {
    "MODEL": values.MODEL,
    f"--schedulers A,B = {_SCHEDULERS}": "names parted by commas",
    "--steps N,N = 5,10,20,50": "numbers of steps from noise to picture",
    "-p, --prompt TEXT ...": "may be repeated (default the prompts of the model's card)",
    "-b, --count N = 16": "pictures for each scheduler and number of steps",
    "--guidance X": "how strongly to follow the prompt (default the model's own)",
    "-s, --seed N = 0": "of the first picture",
    "--data FOLDER": "held-out pictures that the quality is measured against",
    "--features WHAT": "features whose kernel distance (KID) is the quality, instead of the pixels' energy distance: "
    f"{features.HELP}",
    "--encoder NAME": "picture-text encoder that says how well pictures show their prompts (default that of the "
    "model's card)",
    "-o, --out FOLDER = comparison": "folder of report.html; runs already there are kept",
    "--json": "print one JSON object, and no progress",
}
EXAMPLES = ("compare digits", 'compare run/ --schedulers "DDIM,Euler a" --steps 10,20 --count 4')
PARTS = (_OPTIONS,)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    steps = tuple(values.whole("--steps", part.strip(), 1, 1000, 20) for part in arguments.steps.split(","))
    count = values.whole("--count", arguments.count, 4, 256, 16)
    seed = values.whole("--seed", arguments.seed, 0, 2**62, 0)
    guidance = values.maybe(values.number, "--guidance", arguments.guidance, 0, 100, 2)
    schedulers = [name.strip() for name in arguments.schedulers.split(",") if name.strip()]
    out = values.path("--out", arguments.out)
    data = values.maybe(values.path, "--data", arguments.data)
    if out.is_file():
        raise InputError(f"--out is '{out}', a file; give a folder.")
    outputs.check_output("--out", out / "report.html", (".html",))
    from unnoise import evaluation, pipelines
    from unnoise.schedulers import names

    for name in schedulers:  # an unknown one is refused before a model is loaded, and so is a missing folder
        names.get(name)
    if data is not None:
        check_folder(data)
    pipe = pipelines.load(values.word("MODEL", arguments.model))
    fit_threads(pipe.model, count)
    real = None
    if data is not None:
        real = evaluation.read_folder(data, pipe.model.shape).pixels
    encoding = None if arguments.features is None else features.encoding(arguments.features)
    encoder = arguments.encoder or pipe.model.card.get("encoder")
    with Progress(None, "comparing", arguments.json) as progress:
        report = evaluation.compare(
            pipe,
            card.prompts(pipe.model, arguments.prompt),
            schedulers=schedulers,
            steps=steps,
            count=count,
            seed=seed,
            guidance=guidance,
            real=real,
            features=None if encoding is None else partial(encoding.encode, told=None),
            named="" if encoding is None else encoding.named((1, *pipe.model.shape)),
            judge=None if encoder is None else evaluation.Alignment.load(encoder),
            cache=out / "runs",
            told=lambda what, done, whole: progress.told(done, whole, what),
        )
    page = evaluation.write_comparison(report, out)
    return answer(arguments.json, report.to_dict(), f"{report.sentence}\nsaved {page}; open it in a browser")
