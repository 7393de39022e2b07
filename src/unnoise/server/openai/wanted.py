"""What an OpenAI request wants: its fields -> `Asked`, and the form of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unnoise.server import fields as read
from unnoise.server.asked import Asked
from unnoise.server.card import Card
from unnoise.server.limits import Limits
from unnoise.server.pictures import FORMATS
from unnoise.server.refusals import FieldError
from unnoise.server.renamed import in_their_words

PARTIAL = 8
"""Partial pictures of a stream; OpenAI's own most is 3."""

_OURS = {
    "n": "count",
    "negative_prompt": "negative",
    "guidance_scale": "guidance",
    "num_inference_steps": "steps",
    "image": "init",
}
"""Their name -> ours, where it is another. All fields of our own API may be given beside (`extra_body`)."""

_SILENT = frozenset(("user", "safety_identifier", "moderation"))
"""Say who asks and how strictly it is judged, which changes no picture: nothing here judges."""

_UNHEEDED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "quality": (("auto", "standard", "medium"), "ask for more steps"),
    "style": ((), "say it in the prompt"),
    "input_fidelity": ((), "give strength, 0 to 1"),
    "complexity": ((), "ask for more steps"),
}
"""Field -> the values that say nothing, and what to do instead of others."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True)
class Wanted:
    """What is asked, and how it is to be answered.

    as_url: addresses in place of base64. kind: of the files, one of FORMATS. quality: 0 to 100, of JPEG and WebP.
    stream: whether events are sent. partial: pictures on the way, at most. notes: what was not heeded.
    theirs: field of ours -> their name.
    """

    asked: Asked
    as_url: bool
    kind: str
    quality: int
    stream: bool
    partial: int
    notes: tuple[str, ...]
    theirs: Mapping[str, str] = field(default_factory=dict)


def wanted(given: Mapping[str, object], limits: Limits, cards: Sequence[Card]) -> Wanted:
    """The request that these fields make. Raises FieldError, with their name of the field."""
    told = {name: value for name, value in given.items() if value is not None and name not in _SILENT}
    if "prompt" not in told:
        raise FieldError("prompt", "prompt is missing; give a text, which may be empty.")
    kind = read.choice("output_format", told.pop("output_format", "png"), FORMATS)
    quality = read.whole("output_compression", told.pop("output_compression", 100), 0, 100)
    if kind == "png" and quality != 100:
        raise FieldError(
            "output_compression", "output_compression is of jpeg and webp; leave it out for png."
        )
    as_url = _as_url(told.pop("response_format", "b64_json"), kind)
    stream = read.flag("stream", told.pop("stream", False))
    partial = read.whole("partial_images", told.pop("partial_images", 0), 0, PARTIAL)
    notes = _notes(told)
    theirs = _take_size(told)
    asked = _asked(told, theirs, limits, cards)
    if not stream and partial:
        raise FieldError("partial_images", "partial_images are sent as a stream; give stream too.")
    if partial and asked.count > 1:
        raise FieldError("n", f"n is {asked.count}; partial_images show one picture as it comes: give n 1.")
    return Wanted(_shown(asked, partial, cards), as_url, kind, quality, stream, partial, notes, theirs)


def _shown(asked: Asked, partial: int, cards: Sequence[Card]) -> Asked:
    """With as many previews as are sent."""
    steps = asked.steps or (asked.card(cards).steps if cards else 1)
    return replace(asked, show_every=max(1, steps // (partial + 1)) if partial else 0, show=("x0",))


def _as_url(way: object, kind: str) -> bool:
    chosen = read.choice("response_format", way, ("b64_json", "url"))
    if chosen == "url" and kind != "png":
        raise FieldError("response_format", f"addresses are of PNG files; give b64_json for {kind}.")
    return chosen == "url"


def _notes(told: dict[str, object]) -> tuple[str, ...]:
    """What is not heeded, taken out of the fields."""
    background = read.choice("background", told.pop("background", "auto"), ("auto", "opaque", "transparent"))
    if background == "transparent":
        raise FieldError("background", "background is 'transparent'; pictures here are opaque: give 'auto'.")
    made = []
    for name, (usual, instead) in _UNHEEDED.items():
        value = told.pop(name, None)
        if value is not None and value not in usual:
            made.append(f"{name} {str(value)[:40]!r} is not heeded; {instead}")
    return tuple(made)


def _take_size(told: dict[str, object]) -> dict[str, str]:
    """Replace size by width and height, and tell which fields of ours stand for it."""
    size = told.pop("size", "auto")
    if size == "auto":
        return {}
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise read.refusal("size", size, "'WIDTHxHEIGHT' in pixels, such as '512x512', or 'auto'")
    for name, value in zip(("width", "height"), match.groups(), strict=True):
        if told.setdefault(name, int(value)) != int(value):
            raise FieldError("size", f"size is {size} and {name} {told[name]!r}; give one of the two.")
    return {"width": "size", "height": "size"}


def _asked(
    told: Mapping[str, object], theirs: dict[str, str], limits: Limits, cards: Sequence[Card]
) -> Asked:
    """theirs: our field -> their name of it, for what was replaced already; the others are added."""
    ours: dict[str, object] = {}
    for name, value in told.items():
        own = _OURS.get(name, name)
        if own in ours:
            raise FieldError(name, f"{theirs[own]} and {name} are given; they are the same: give one.")
        ours[own] = value
        theirs.setdefault(own, name)
    theirs.setdefault("init", "image")
    try:
        return Asked.read(ours, limits, cards)
    except FieldError as error:
        raise in_their_words(error, theirs) from error
