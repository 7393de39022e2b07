"""`unnoise convert`: a Stable Diffusion checkpoint from one file to a diffusers folder, or back; LoRAs merged in.

Of a training run, with --profile: its model with another average of the weights.
"""

from __future__ import annotations

import argparse
import shlex

from unnoise.cli import adapting
from unnoise.cli.answering import answer
from unnoise.cli.values import number, path, word
from unnoise.errors import InputError

_OPTIONS = {
    "SOURCE": ".safetensors or .ckpt file, diffusers folder, or training run",
    "DESTINATION": "new folder, or new file.safetensors",
    "--prediction KIND": "noise or velocity, where the file does not tell it rightly",
    "--profile X": "of a training run: its model with the average whose profile has this deviation, such as 0.08",
}
EXAMPLES = (
    "convert model.safetensors model/",
    "convert model/ merged.safetensors --lora ink.safetensors:0.8",
    "convert run/ model-0.08/ --profile 0.08",
)
PARTS = (_OPTIONS, adapting.add_lora, {"--json": "print one JSON object"})


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    source, destination = word("SOURCE", arguments.source), path("DESTINATION", arguments.destination)
    loras = adapting.loras(arguments)
    if arguments.profile is None:
        from unnoise.checkpoints import convert

        written = convert(source, destination, arguments.prediction, loras)
    else:
        if loras or arguments.prediction:
            raise InputError("--profile is of a run of unnoise's own; leave --lora and --prediction out.")
        deviation = number("--profile", arguments.profile, 1e-4, 0.288, 0.1)
        from unnoise.training import profiles

        written = profiles.export(path("SOURCE", source), deviation, destination)
    return answer(
        arguments.json, {"path": str(written)}, f"saved {written}; use it: -m {shlex.quote(str(written))}"
    )
