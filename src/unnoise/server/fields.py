"""The fields of a request: what may be given for each, and where it goes. Nothing here needs torch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError
from unnoise.text.prompts import STYLES

# As `schedulers.names`, `pipelines.start_noise` and `pipelines.second_pass` have them, which need torch.
PROGRAMS = ("diffusers", "k-diffusion", "a1111", "comfyui")
STARTS = ("torch", "cuda")
WAYS = ("latents", "pixels")
SHOWN = ("x0", "sample", "noise")
GUIDANCE, FEATHER, PADDING, NOISE_LEVEL, HIRES_SCALE, CLIP_SKIP = 100, 256, 4096, 1e6, 8, 100
SEED = 2**63 - 257
_WORD = 200
_PICTURE_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def refusal(name: str, value: object, wanted: str) -> FieldError:
    """What was given, what was expected."""
    shown = repr(value)
    return FieldError(name, f"{name} is {shown[:40]}{'...' if len(shown) > 40 else ''}; give {wanted}.")


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if not _between(value, low, high) or value != int(value):  # type: ignore[call-overload]
        raise refusal(name, value, f"a whole number from {low} to {high:,}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def number(name: str, value: object, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    if not _between(value, low, high):
        raise refusal(name, value, f"a number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


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


def picture(name: str, value: object, most: int) -> bytes:
    """The file that a text in base64, or a data: address, holds; its first bytes are those of a PNG, JPEG or WebP.

    most: bytes. It is decoded in the worker alone.
    """
    if not isinstance(value, str):
        raise refusal(name, value, "a picture in base64")
    body = value.partition(",")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusal(name, value, f"a picture in base64 ({error})") from error
    if len(content) > most:
        raise FieldError(name, f"{name} has {len(content):,} bytes; give at most {most:,}.")
    if not content.startswith(_PICTURE_HEADS):
        raise FieldError(name, f"{name} is not a PNG, JPEG or WebP picture; give one of these.")
    return content


def flag(name: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refusal(name, value, "true or false")
    return value


def sides(name: str, value: object, most: int) -> tuple[int, ...]:
    """Pixels left, top, right and bottom, not all 0."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise refusal(name, value, "four whole numbers, for example [0, 0, 64, 0]")
    made = tuple(whole(name, one, 0, most) for one in value)
    if not any(made):
        raise refusal(name, value, "four whole numbers that are not all 0, for example [0, 0, 64, 0]")
    return made


def interval(name: str, value: object) -> tuple[float, ...]:
    """Two numbers, the lower first."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refusal(name, value, "two numbers, for example [0.28, 5.42]")
    low, high = (number(name, one, 0, NOISE_LEVEL) for one in value)
    if not low < high:
        raise refusal(name, value, "the lower number first, for example [0.28, 5.42]")
    return low, high


def variation(name: str, value: object) -> tuple[int, float]:
    """Another seed, and its share."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refusal(name, value, "a seed and a share from 0 to 1, for example [7, 0.1]")
    return whole(name, value[0], 0, SEED), number(name, value[1], 0, 1)


def shown(name: str, value: object) -> tuple[str, ...]:
    """What previews show, each once."""
    if not isinstance(value, list | tuple):
        raise refusal(name, value, f"a list of {', '.join(SHOWN)}")
    return tuple(dict.fromkeys(choice(name, one, SHOWN) for one in value))


def _scheduler(name: str, value: object) -> str:
    """A name. What `unnoise tune` saved is asked for by its file, and no file is named over HTTP."""
    word = text(name, value, _WORD)
    if word.startswith("tuned:"):
        raise refusal(name, word, "a name that the server lists")
    return word


@dataclass(frozen=True)
class Field:
    """A field of a request.

    reader: makes its value of its name, of what JSON gives, and of the bounds, or refuses it. bounds: a word among them
    is the limit of that name. common: whether every pipeline has an argument of this name that it is. begun: the
    argument that it is of a pipeline that begins from a picture, or has two passes. needs: fields of which one is to
    be given with it.
    """

    reader: Callable[..., Any]
    bounds: tuple[Any, ...] = ()
    common: bool = False
    begun: str = ""
    needs: tuple[str, ...] = ()

    def read(self, name: str, value: object, limits: Limits) -> Any:  # noqa: ANN401 - any field's
        """Its value. Raises FieldError."""
        bounds = (getattr(limits, bound) if isinstance(bound, str) else bound for bound in self.bounds)
        return self.reader(name, value, *bounds)


_INIT, _PAINTED, _HIRES = ("init",), ("mask", "outpaint"), ("hires_scale",)

FIELDS: Mapping[str, Field] = {
    "prompt": Field(text, ("prompt",)),
    "negative": Field(text, ("prompt",), common=True),
    "model": Field(text, (_WORD,)),
    "prompt_style": Field(choice, (STYLES,), common=True),
    "steps": Field(whole, (1, "steps"), common=True),
    "guidance": Field(number, (0, GUIDANCE)),
    "scheduler": Field(_scheduler, common=True),
    "compat": Field(choice, (PROGRAMS,), common=True),
    "seed": Field(whole, (-1, SEED), common=True),
    "count": Field(whole, (1, "count"), common=True),
    "width": Field(whole, (1, "side_high"), common=True),
    "height": Field(whole, (1, "side_high"), common=True),
    "clip_skip": Field(whole, (1, CLIP_SKIP), common=True),
    "noise": Field(choice, (STARTS,), common=True),
    "variation": Field(variation, common=True),
    "init": Field(picture, ("body_with_pictures",)),
    "mask": Field(picture, ("body_with_pictures",), needs=_INIT),
    "strength": Field(number, (0, 1), begun="strength", needs=_INIT),
    "noise_level": Field(number, (0, NOISE_LEVEL), begun="noise_level", needs=_INIT),
    "feather": Field(number, (0, FEATHER), begun="feather", needs=_PAINTED),
    "padding": Field(whole, (0, PADDING), begun="padding", needs=_PAINTED),
    "masked_area": Field(flag, needs=_PAINTED),
    "outpaint": Field(sides, ("side_high",), begun="outpaint", needs=_INIT),
    "image_guidance": Field(number, (0, GUIDANCE), begun="picture_guidance", needs=_INIT),
    "guidance_rescale": Field(number, (0, 1)),
    "guidance_interval": Field(interval),
    "hires_scale": Field(number, (1, HIRES_SCALE), begun="scale"),
    "hires_steps": Field(whole, (1, "steps"), begun="second_steps", needs=_HIRES),
    "hires_strength": Field(number, (0, 1), begun="strength", needs=_HIRES),
    "hires_in": Field(choice, (WAYS,), begun="enlarge", needs=_HIRES),
    "show_every": Field(whole, (0, 1000)),
    "show": Field(shown),
}
"""Those of `Asked`, in its order."""
