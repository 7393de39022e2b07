"""Options of `generate` that begin from a picture or shape its guidance, and the run that they ask for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import parser
from unnoise.cli.values import choice, existing, maybe, number, whole
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.checkpoints import Model
    from unnoise.pipelines import Denoising, Repeat, TextToImage, TwoPasses

_PICTURES = ("init", "mask")
_HIRES_ONLY = ("hires_steps", "hires_strength", "hires_in")
_INPAINT_ONLY = ("feather", "padding", "masked_area", "no_paste")


@dataclass(frozen=True)
class Asked:
    """What was asked beside the common options.

    pictures: files by name, "init" and "mask". arguments: of the pipeline that the run is made by. guidance_rule: as
    `pipelines.combining.from_text` reads it. hires: whether there is a second pass. tiled: as `Denoising.result`.
    """

    pictures: Mapping[str, Path]
    arguments: Mapping[str, Any]
    guidance_rule: str
    hires: bool
    tiled: bool | None


_PICTURE = {
    "-i, --init FILE": "picture to begin from, or to edit",
    "--strength S": "share of the steps that is made, 0 to 1 (default 0.75; inpainting 1)",
    "--noise-level X": "noise the picture up to sigma / alpha = X instead",
    "--mask FILE": "white where the picture is to be painted anew",
    "--feather PX": "pixels over which new fades into known (default 0)",
    "--masked-area": "work on the box around the mask alone, enlarged",
    "--padding PX": "pixels of that box around the mask (default 32)",
    "--outpaint L,T,R,B": "pixels to add and paint left, top, right, bottom",
    "--no-paste": "leave known places as the model gives them",
    "--image-guidance X": "how strongly an edit keeps to its picture (default 1.5)",
}
_GUIDANCE = {
    "--guidance-rescale SHARE": "give back the spread of the plain answer, 0 to 1",
    "--guidance-interval LOW,HIGH": "guide at these noise levels sigma / alpha alone",
    "--guidance-projected PARALLEL,LIMIT,MOMENTUM": "adaptive projected guidance, for example 0,15,-0.5",
}
_HIRES = {
    "--hires-scale X": "make it again this many times as large",
    "--hires-steps N": "steps of the second pass (default as the first)",
    "--hires-strength S": "share of them that is made (default 0.7)",
    "--hires-in WHAT": "enlarge latents or pixels (default latents)",
    "--vae-tiling": "decode in strips even where memory suffices",
}


_MORE_SPELLINGS = {
    "init": ("--init-img", "--init_img", "--image"),
    "mask": ("--mask-image", "--mask_image"),
    "feather": ("--mask-blur", "--mask_blur"),
    "strength": ("--denoising-strength", "--denoising_strength"),
    "image_guidance": ("--img-cfg-scale", "--image_guidance_scale"),
    "guidance_rescale": ("--guidance_rescale",),
    "hires_strength": ("--hires-denoising-strength",),
}


def add(command: parser.Parser) -> None:
    """Add the options to `generate`."""
    for title, table in {
        "from a picture": _PICTURE,
        "more on guidance": _GUIDANCE,
        "a second, larger pass": _HIRES,
    }.items():
        parser.options(command.add_argument_group(title), table)
    parser.spellings(command, _MORE_SPELLINGS)


def read(arguments: argparse.Namespace) -> Asked:
    """The values of these options. Raises InputError or FileError; torch is not needed for that."""
    given = pictures(arguments)
    _check_together(arguments)
    return Asked(
        pictures=given,
        arguments={
            name: reader(flag, text, *limits)
            for name, (flag, reader, *limits) in _ARGUMENTS.items()
            if (text := getattr(arguments, flag[2:].replace("-", "_"))) not in (None, False)
        },
        guidance_rule=_rule(arguments),
        hires=arguments.hires_scale is not None,
        tiled=True if arguments.vae_tiling else None,
    )


def pictures(arguments: argparse.Namespace) -> dict[str, Path]:
    """The files given by --init and --mask. Raises FileError for one that is not there."""
    return {
        name: existing(f"--{name}", getattr(arguments, name))
        for name in _PICTURES
        if getattr(arguments, name) is not None
    }


def again(asked: Asked, repeat: Repeat) -> Asked:
    """What was asked, and for the rest what a picture that is to be repeated was begun from.

    Raises InputError where a picture of ours was begun from another that is not given, and for options of a second
    pass where there is none.
    """
    from unnoise.pipelines.repeat_variant import ENTRY, SECOND

    arguments: dict[str, Any] = {}
    variant = SECOND if asked.hires else ""
    if not variant and not (repeat.variant == SECOND and asked.pictures):
        variant, arguments = repeat.begun("init" in asked.pictures, "mask" in asked.pictures)
    elif variant == repeat.variant:
        arguments = dict(repeat.arguments)
    hires = variant == SECOND
    if hires and "strength" in arguments:
        arguments["second_strength"] = arguments.pop("strength")
    if not hires and {"second_steps", "second_strength", "enlarge"} & set(asked.arguments):
        raise InputError("this picture has no second pass; give --hires-scale beside --hires options.")
    if set(ENTRY) & set(asked.arguments):
        arguments = {name: value for name, value in arguments.items() if name not in ENTRY}
    return replace(asked, arguments=arguments | dict(asked.arguments), hires=hires)


def _check_together(arguments: argparse.Namespace) -> None:
    given = {name for name, value in vars(arguments).items() if value not in (None, False)}
    for names, needed, flag in (
        (_HIRES_ONLY, {"hires_scale", "from"}, "--hires-scale"),
        (_INPAINT_ONLY, {"mask", "outpaint"}, "--mask or --outpaint"),
        (("mask", "outpaint", "strength", "noise_level", "image_guidance"), {"init"}, "--init"),
    ):
        for name in names:
            if name in given and not needed & given:
                raise InputError(
                    f"--{name.replace('_', '-')} is given without {flag}; give both, or neither."
                )
    if {"hires_scale", "init"} <= given:
        raise InputError("--hires-scale makes its own first picture; give it without --init.")


def _rule(arguments: argparse.Namespace) -> str:
    """The guidance around the plain scale, the innermost first."""
    parts = []
    if arguments.guidance_projected is not None:
        numbers = _numbers("--guidance-projected", arguments.guidance_projected, "0,15,-0.5", 3)
        parts.append("projected " + " ".join(map(str, numbers)))
    share = maybe(number, "--guidance-rescale", arguments.guidance_rescale, 0, 1, 0.7)
    if share is not None:
        parts.append(f"rescale {share}")
    if arguments.guidance_interval is not None:
        low, high = _numbers("--guidance-interval", arguments.guidance_interval, "0.28,5.42", 2)
        if not 0 <= low < high:
            raise InputError(
                f"--guidance-interval is {low:g} to {high:g}; give 0 <= low < high, for example 0.28,5.42."
            )
        parts.append(f"interval {low} {high}")
    return ", ".join(parts)


def _numbers(flag: str, text: str, example: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or any(map(math.isnan, values)):
        raise InputError(
            f"{flag} is '{text[:40]}'; give {count} numbers parted by commas, for example {example}."
        )
    return values


def _sides(flag: str, text: str) -> tuple[int, int, int, int]:
    values = _numbers(flag, text, "0,0,64,0", 4)
    if not all(value.is_integer() and 0 <= value <= 4096 for value in values) or not any(values):
        raise InputError(f"{flag} is '{text[:40]}'; give whole pixels from 0 to 4096, for example 0,0,64,0.")
    left, top, right, bottom = map(int, values)
    return left, top, right, bottom


# Argument of a pipeline -> its option, how that is read, and within which limits.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "strength": ("--strength", number, 0, 1, 0.75),
    "noise_level": ("--noise-level", number, 0, 1e6, 2),
    "outpaint": ("--outpaint", _sides),
    "feather": ("--feather", number, 0, 256, 4),
    "padding": ("--padding", whole, 0, 4096, 32),
    "area": ("--masked-area", lambda *_: "masked"),
    "paste": ("--no-paste", lambda *_: False),
    "picture_guidance": ("--image-guidance", number, 0, 100, 1.5),
    "scale": ("--hires-scale", number, 1, 8, 2),
    "second_steps": ("--hires-steps", whole, 1, 1000, 20),
    "second_strength": ("--hires-strength", number, 0, 1, 0.7),
    "enlarge": ("--hires-in", choice, ("latents", "pixels")),
}


def check_kind(model: Model, asked: Asked) -> None:
    """Raises InputError for what was typed of a picture and this kind of model has no use for.

    What a picture that is to be repeated says of itself is not typed, and is passed over then.
    """
    from unnoise.pipelines.options import kind_of

    if not asked.pictures:
        return
    edits = kind_of(model) == "edit"
    for name in (*asked.arguments, *asked.pictures):
        if name != "init" and (name == "picture_guidance") != edits:
            flag = f"--{name}" if name in asked.pictures else _ARGUMENTS[name][0]
            raise InputError(
                f"this model edits a whole picture by instruction (8 channels); leave {flag} out."
                if edits
                else f"{flag} is for models that edit by instruction (8 channels); leave it out for this one."
            )


def denoise(
    pipe: TextToImage, prompt: str, options: Mapping[str, Any], asked: Asked
) -> Denoising | TwoPasses:
    """The run: by the pipeline that the pictures given, and the model, call for."""
    from unnoise import images
    from unnoise.pipelines.combining import Guidance, from_text
    from unnoise.pipelines.repeat_variant import begin

    options, more = dict(options), dict(asked.arguments)
    if asked.guidance_rule:
        asked_scale = options.get("guidance")
        scale = pipe.model.defaults.guidance if asked_scale is None else asked_scale
        scale = scale.scale if isinstance(scale, Guidance) else scale
        options["guidance"] = from_text(scale, asked.guidance_rule)
    if "second_strength" in more:
        more["strength"] = more.pop("second_strength")
    opened = {name: images.open_picture(file) for name, file in asked.pictures.items()}
    return begin(pipe, prompt, options, more, second=asked.hires, **opened)
