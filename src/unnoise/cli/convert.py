"""`unnoise convert`: a Stable Diffusion checkpoint single file <-> diffusers folder, with LoRAs merged in."""

from __future__ import annotations

import argparse
import json
import sys

from unnoise.cli import adapting, parser


def add(commands: argparse._SubParsersAction[parser.Parser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "convert", help="single file <-> diffusers folder, without loss", description=__doc__
    )
    command.add_argument("source", metavar="SOURCE", help=".safetensors or .ckpt file, or diffusers folder")
    command.add_argument("destination", metavar="DESTINATION", help="new folder, or new file.safetensors")
    command.add_argument(
        "--prediction", metavar="KIND", help="noise or velocity, where the file does not tell it rightly"
    )
    adapting.add_lora(command)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    parser.finish(command, "convert", run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.checkpoints import convert

    path = convert(arguments.source, arguments.destination, arguments.prediction, adapting.loras(arguments))
    told = json.dumps({"path": str(path)}) if arguments.json else f"saved {path}"
    sys.stdout.write(told + "\n")
    return 0
