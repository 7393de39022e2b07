"""Options of adapters: LoRAs and words of textual inversion. Nothing here needs torch."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from unnoise.cli import parser

if TYPE_CHECKING:
    from unnoise.checkpoints.adapters import Lora
    from unnoise.pipelines import TextToImage


def add(command: parser.Parser) -> None:
    """The options of a command that makes pictures."""
    add_lora(command)
    command.add_argument(
        "--lora-live", action="store_true", help="keep LoRAs beside the weights: less memory, a little slower"
    )
    command.add_argument(
        "--embedding",
        action="append",
        default=[],
        metavar="FILE[=WORD]",
        help="a word from a textual inversion; may be repeated",
    )


def add_lora(command: parser.Parser) -> None:
    """The option of LoRAs, and of their folder."""
    command.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:WEIGHT]",
        help="LoRA, LoHa or LoKr, such as ink.safetensors:0.8; may be repeated; FILE:0.8:mid_block=0.5 for parts",
    )
    command.add_argument("--lora-dir", metavar="FOLDER", help="where LoRAs are looked for by name")
    parser.hidden(command, "lora_dir", "--lora-model-dir")


def loras(arguments: argparse.Namespace) -> list[Lora]:
    """What is asked for, each file found. Raises InputError and FileError."""
    from unnoise.checkpoints.adapters import Lora

    asked = [Lora.parse(text) for text in arguments.lora]
    return [replace(one, file=one.find(arguments.lora_dir)) for one in asked]


def words(arguments: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Files of embeddings, and the word that was chosen for each."""
    pairs = [text.partition("=") for text in arguments.embedding]
    return [(file, word or None) for file, _, word in pairs]


def adapted(pipe: TextToImage, arguments: argparse.Namespace) -> TextToImage:
    """The pipeline with what was asked for."""
    for file, word in words(arguments):
        pipe = pipe.with_word(file, word)
    asked = loras(arguments)
    return pipe.with_loras(asked, live=arguments.lora_live) if asked else pipe
