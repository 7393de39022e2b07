"""Options of adapters: LoRAs and words of textual inversion. Nothing here needs torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unnoise.cli import parser
from unnoise.cli.values import existing, folder, maybe, number, path
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.checkpoints.adapters import Lora
    from unnoise.pipelines import TextToImage
    from unnoise.text import LoraTag


_LORAS = {
    "--lora FILE[:WEIGHT] ...": "LoRA, LoHa or LoKr, such as ink.safetensors:0.8, or a run; "
    "FILE:0.8:mid_block=0.5 for parts; may be repeated",
    "--lora-dir FOLDER": "where LoRAs are looked for by name",
}
_OTHERS = {
    "--lora-live": "keep LoRAs beside the weights: less memory, a little slower",
    "--embedding FILE[=WORD] ...": "a word from a textual inversion; may be repeated",
    "--embedding-dir FOLDER": "where those of a recipe are looked for, by name and hash",
    "--control FILE ...": "a ControlNet or T2I-Adapter; may be repeated, as its options",
    "--control-image FILE ...": "the picture that it steers by",
    "--control-strength X ...": "how strongly, 0 to 2 (default 1)",
    "--control-range A-B ...": "shares of the steps from which and until which it steers (default 0-1)",
    "--control-dir FOLDER": "where ControlNets of a recipe, and their pictures, are looked for",
    "--refiner MODEL": "a second model that ends the run, such as SDXL's refiner",
    "--refine-from SHARE": "share of the model's times after which it takes over (default 0.8)",
}


def add(command: parser.Parser) -> None:
    """The options of a command that makes pictures."""
    group = command.add_argument_group("LoRAs and other adapters")
    parser.options(group, _LORAS | _OTHERS)
    parser.hidden(command, "lora_dir", "--lora-model-dir")
    parser.hidden(command, "embedding_dir", "--embd-dir", "--embeddings-dir")
    parser.hidden(command, "refine_from", "--denoising-end", "--denoising_end", "--refiner-switch-at")
    parser.hidden(command, "control", "--control-net", "--t2i-adapter", action="append")


def add_lora(command: parser.Parser) -> None:
    """The option of LoRAs, and of their folder."""
    parser.options(command, _LORAS)
    parser.hidden(command, "lora_dir", "--lora-model-dir")


@dataclass(frozen=True)
class Adapters:
    """What is to change the model, each file found.

    words: files of embeddings, and the word that was chosen for each. controls: file, picture, strength, start and end
    of each. refiner: the model that is to end the run, and the share of times after which. live: whether LoRAs stay
    beside the weights. folders: where what a recipe names is looked for, as `Repeat.of` and `verify` take it.
    """

    loras: Sequence[Lora]
    words: Sequence[tuple[str, str | None]]
    controls: Sequence[tuple[str, str, float, float, float]]
    refiner: tuple[str, float] | None
    live: bool
    folders: Mapping[str, Any]

    def on(self, pipe: TextToImage) -> TextToImage:
        """The pipeline with all of it."""
        for file, word in self.words:
            pipe = pipe.with_word(file, word)
        for file, picture, strength, start, end in self.controls:
            pipe = pipe.with_control(file, picture, strength, start=start, end=end)
        if self.refiner is not None:
            pipe = pipe.with_refiner(*self.refiner)
        return pipe.with_loras(self.loras, live=self.live) if self.loras else pipe


def read(arguments: argparse.Namespace, tags: Sequence[LoraTag] = ()) -> Adapters:
    """What is asked for, by option or by a tag in the prompt. Raises InputError, and FileError for a missing file."""
    return Adapters(
        loras=loras(arguments, tags),
        words=words(arguments),
        controls=_controls(arguments),
        refiner=_refiner(arguments),
        live=arguments.lora_live,
        folders={
            name: maybe(folder, f"--{name.replace('_', '-')}", getattr(arguments, name))
            for name in ("lora_dir", "embedding_dir", "control_dir")
        },
    )


def loras(arguments: argparse.Namespace, tags: Sequence[LoraTag] = ()) -> list[Lora]:
    """The LoRAs alone."""
    from unnoise.checkpoints.adapters import Lora
    from unnoise.checkpoints.adapters.asked import of_tag

    if tags and arguments.lora_dir is None:
        raise InputError(
            f"the prompt asks for the LoRA '{tags[0].name}' ('{tags[0].shown}'); say where it is with --lora-dir "
            "FOLDER, or remove the tag."
        )
    asked = [Lora.parse(text) for text in arguments.lora] + [of_tag(tag) for tag in tags]
    place = maybe(folder, "--lora-dir", arguments.lora_dir)
    return [replace(one, file=one.find(place)) for one in asked]


def words(arguments: argparse.Namespace) -> list[tuple[str, str | None]]:
    """The words alone."""
    pairs = [_file_and_word(text) for text in arguments.embedding]
    for name, _ in pairs:
        existing("--embedding", name, "an embedding's file")
    return pairs


def _file_and_word(text: str) -> tuple[str, str | None]:
    file, sign, word = text.rpartition("=")
    if not sign or path("--embedding", text).is_file():  # a file's name may hold the sign
        return text, None
    return file, word or None


def _controls(arguments: argparse.Namespace) -> list[tuple[str, str, float, float, float]]:
    """Refuses numbers of options that differ, and what is not there; of the hub nothing is fetched to tell."""
    from unnoise.checkpoints import hub
    from unnoise.checkpoints.locations import find_control

    files, pictures = arguments.control, arguments.control_image
    if len(files) != len(pictures):
        raise InputError(
            f"{len(files)} --control and {len(pictures)} --control-image are given; give one for one."
        )
    for name in ("control_strength", "control_range"):
        if len(getattr(arguments, name)) not in (0, len(files)):
            raise InputError(
                f"--{name.replace('_', '-')} is given for some of {len(files)} --control; give it for each."
            )
    strengths = [number("--control-strength", text, 0, 2, 0.8) for text in arguments.control_strength]
    ranges = [_range(text) for text in arguments.control_range]
    strengths, ranges = strengths or [1.0] * len(files), ranges or [(0.0, 1.0)] * len(files)
    for picture in pictures:
        existing("--control-image", picture)
    for file in files:
        if hub.address(file) is None:
            find_control(file)
    together = zip(files, pictures, strengths, ranges, strict=True)
    return [(file, picture, strength, *share) for file, picture, strength, share in together]


def _range(text: str) -> tuple[float, float]:
    first, _, last = text.partition("-")
    start = number("--control-range", first, 0, 1, 0)
    end = number("--control-range", last or "1", 0, 1, 0.8)
    if not start < end:
        raise InputError(f"--control-range is {text}; give the lower share first, for example 0-0.8.")
    return start, end


def _refiner(arguments: argparse.Namespace) -> tuple[str, float] | None:
    from unnoise.checkpoints import find, is_foreign

    share = maybe(number, "--refine-from", arguments.refine_from, 0, 1, 0.8)
    if share in (0.0, 1.0):
        raise InputError(f"--refine-from is {share:g}; give a share between 0 and 1, for example 0.8.")
    if arguments.refiner is None:
        if share is not None:
            raise InputError("--refine-from is given without --refiner; give both, or neither.")
        return None
    if not is_foreign(arguments.refiner):
        find(arguments.refiner)
    return arguments.refiner, 0.8 if share is None else share
