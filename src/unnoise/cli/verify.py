"""`unnoise verify`: make the picture in a file again from its recipe, and say whether it is the same."""

from __future__ import annotations

import argparse
from typing import Any

from unnoise.cli import adapting, again, approximate, values, variants
from unnoise.cli.answering import answer
from unnoise.cli.progress import Progress
from unnoise.cli.threads import fit_threads

_OPTIONS = {
    "IMAGE": "a picture with a recipe",
    "-m, --model MODEL": f"{values.MODEL} (default the one that the recipe names, where that comes with unnoise)",
    "-i, --init FILE": "picture that it was begun from",
    "--mask FILE": "mask that it was painted within",
}
_JSON = {"--json": "print one JSON object, and no progress"}
EXAMPLES = ("verify outputs/00001-7.png", "verify painted.png --init photo.png --mask mask.png")
PARTS = (_OPTIONS, adapting.add, approximate.ENGINE, _JSON)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status: 0 where the recipe makes the picture, else 1."""
    path = values.path("IMAGE", arguments.image)
    model = again.model_of(path, values.maybe(values.word, "--model", arguments.model))
    files = variants.pictures(arguments)
    adapters = adapting.read(arguments)
    engine = approximate.engine(arguments, again.arithmetic_of(path))
    from unnoise import images
    from unnoise.pipelines import load, verify

    pipe = adapters.on(load(model, engine=engine))
    fit_threads(pipe.model, pictures=1)
    pictures: dict[str, Any] = {name: images.open_picture(file) for name, file in files.items()}
    with Progress(None, "making it again", arguments.json) as progress:
        found = verify(pipe, path, **pictures, **adapters.folders, live=adapters.live, told=progress.told)
    apart = (
        "" if not found.largest else f": up to {found.largest}/255 apart in {found.share:.2%} of the numbers"
    )
    answer(
        arguments.json,
        found.to_dict(),
        "\n  ".join([f"{path}: {found.verdict}{apart}", *found.reasons]),
    )
    return 0 if found.holds else 1
