"""Values of a request's fields: what JSON gives -> what is meant, or a refusal that names the field."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from typing import Any

from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError
from unnoise.text.prompts import STYLES

Reader = Callable[[str, object, Limits], Any]

# As `schedulers.names`, `pipelines.start_noise` and `pipelines.second_pass` have them, which need torch.
PROGRAMS = ("diffusers", "k-diffusion", "a1111", "comfyui")
STARTS = ("torch", "cuda")
WAYS = ("latents", "pixels")
SHOWN = ("x0", "sample", "noise")
GUIDANCE, FEATHER, PADDING, NOISE_LEVEL, HIRES_SCALE, CLIP_SKIP = 100, 256, 4096, 1e6, 8, 100
SEED = 2**63 - 257
_PICTURE_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def refusal(name: str, value: object, wanted: str) -> FieldError:
    """What was given, what was expected."""
    shown = repr(value)
    return FieldError(name, f"{name} is {shown[:40]}{'...' if len(shown) > 40 else ''}; give {wanted}.")


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not low <= value <= high or value != int(value):  # type: ignore[operator,call-overload]
        raise refusal(name, value, f"a whole number from {low} to {high:,}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def number(name: str, value: object, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        raise refusal(name, value, f"a number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def text(name: str, value: object, most: int) -> str:
    """A text of at most so many characters."""
    if not isinstance(value, str):
        raise refusal(name, value, "a text")
    if len(value) > most:
        raise FieldError(name, f"{name} has {len(value):,} characters; give at most {most:,}.")
    return value


def choice(name: str, value: object, known: Collection[str]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in known:
        raise refusal(name, value, f"one of {', '.join(known)}")
    return value


def picture(name: str, value: object, limits: Limits) -> bytes:
    """The file that a text in base64, or a data: address, holds; its first bytes are those of a PNG, JPEG or WebP.

    It is decoded in the worker alone.
    """
    if not isinstance(value, str):
        raise refusal(name, value, "a picture in base64")
    body = value.partition(",")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusal(name, value, f"a picture in base64 ({error})") from error
    if len(content) > limits.body_with_pictures:
        raise FieldError(
            name, f"{name} has {len(content):,} bytes; give at most {limits.body_with_pictures:,}."
        )
    if not content.startswith(_PICTURE_HEADS):
        raise FieldError(name, f"{name} is not a PNG, JPEG or WebP picture; give one of these.")
    return content


def flag(name: str, value: object, limits: Limits) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refusal(name, value, "true or false")
    return value


def sides(name: str, value: object, limits: Limits) -> tuple[int, ...]:
    """Pixels left, top, right and bottom, not all 0."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise refusal(name, value, "four whole numbers, for example [0, 0, 64, 0]")
    made = tuple(whole(name, one, 0, limits.side_high) for one in value)
    if not any(made):
        raise refusal(name, value, "four whole numbers that are not all 0, for example [0, 0, 64, 0]")
    return made


def interval(name: str, value: object, limits: Limits) -> tuple[float, ...]:
    """Two numbers, the lower first."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refusal(name, value, "two numbers, for example [0.28, 5.42]")
    low, high = (number(name, one, 0, NOISE_LEVEL) for one in value)
    if not low < high:
        raise refusal(name, value, "the lower number first, for example [0.28, 5.42]")
    return low, high


def shown(name: str, value: object, limits: Limits) -> tuple[str, ...]:
    """What previews show, each once."""
    if not isinstance(value, list | tuple):
        raise refusal(name, value, f"a list of {', '.join(SHOWN)}")
    return tuple(dict.fromkeys(choice(name, one, SHOWN) for one in value))


def _whole(low: int, high: int) -> Reader:
    return lambda name, value, limits: whole(name, value, low, high)


def _number(low: float, high: float) -> Reader:
    return lambda name, value, limits: number(name, value, low, high)


def _choice(known: Collection[str]) -> Reader:
    return lambda name, value, limits: choice(name, value, known)


def _steps(name: str, value: object, limits: Limits) -> int:
    return whole(name, value, 1, limits.steps)


def _side(name: str, value: object, limits: Limits) -> int:
    return whole(name, value, 1, limits.side_high)


def _prompt(name: str, value: object, limits: Limits) -> str:
    return text(name, value, limits.prompt)


def _scheduler(name: str, value: object, limits: Limits) -> str:
    """A name. What `unnoise tune` saved is asked for by its file, and no file is named over HTTP."""
    word = text(name, value, 200)
    if word.startswith("tuned:"):
        raise refusal(name, word, "a name that the server lists")
    return word


def _word(name: str, value: object, limits: Limits) -> str:
    return text(name, value, 200)


READERS: Mapping[str, Reader] = {
    "prompt": _prompt,
    "negative": _prompt,
    "model": _word,
    "prompt_style": _choice(STYLES),
    "steps": _steps,
    "guidance": _number(0, GUIDANCE),
    "scheduler": _scheduler,
    "compat": _choice(PROGRAMS),
    "seed": _whole(-1, SEED),
    "count": lambda name, value, limits: whole(name, value, 1, limits.count),
    "width": _side,
    "height": _side,
    "clip_skip": _whole(1, CLIP_SKIP),
    "noise": _choice(STARTS),
    "init": picture,
    "mask": picture,
    "strength": _number(0, 1),
    "noise_level": _number(0, NOISE_LEVEL),
    "feather": _number(0, FEATHER),
    "padding": _whole(0, PADDING),
    "masked_area": flag,
    "outpaint": sides,
    "image_guidance": _number(0, GUIDANCE),
    "guidance_rescale": _number(0, 1),
    "guidance_interval": interval,
    "hires_scale": _number(1, HIRES_SCALE),
    "hires_steps": _steps,
    "hires_strength": _number(0, 1),
    "hires_in": _choice(WAYS),
    "show_every": _whole(0, 1000),
    "show": shown,
}
"""Field -> what reads it. The fields of `Asked`, in its order."""
