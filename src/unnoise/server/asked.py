"""What a request asks for: JSON fields -> values, each refusal naming its field. Nothing here needs torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unnoise.errors import InputError
from unnoise.server.card import Card, named
from unnoise.server.fields import FIELDS, refusal
from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError, NotServed
from unnoise.text.prompts import Prompt

PICTURES = ("init", "mask")
_EDIT = ((("image_guidance",), "is not one that edits by instruction"),)
_NOT_EDIT = (
    (("mask", "outpaint", "strength", "noise_level"), "edits a whole picture"),
    (("guidance_rescale", "guidance_interval"), "is guided twice, by plain numbers"),
)


@dataclass(frozen=True)
class Asked:
    """A request for pictures. None leaves a choice to the model.

    model: the name of its card. seed: of the first picture; picture i has seed + i. variation: another seed, which then
    counts on instead, and how far the start is moved to its noise. init, mask: PNG, JPEG or WebP files. outpaint:
    pixels left, top, right, bottom. guidance_interval: lowest and highest sigma / alpha. show_every: steps from one
    preview to the next, beside those of the first step and the last; 0 for none. show: what previews show, of "x0",
    "sample" and "noise". The others as the options of `unnoise generate` with these names.
    """

    prompt: str = ""
    negative: str = ""
    model: str | None = None
    prompt_style: str = "a1111"
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    compat: str | None = None
    seed: int | None = None
    count: int = 1
    width: int | None = None
    height: int | None = None
    clip_skip: int | None = None
    noise: str | None = None
    variation: tuple[int, float] | None = None
    init: bytes | None = None
    mask: bytes | None = None
    strength: float | None = None
    noise_level: float | None = None
    feather: float | None = None
    padding: int | None = None
    masked_area: bool = False
    outpaint: tuple[int, int, int, int] | None = None
    image_guidance: float | None = None
    guidance_rescale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    hires_scale: float | None = None
    hires_steps: int | None = None
    hires_strength: float | None = None
    hires_in: str | None = None
    show_every: int = 1
    show: tuple[str, ...] = ("x0",)

    @classmethod
    def read(cls, given: Mapping[str, object], limits: Limits, cards: Sequence[Card]) -> Asked:
        """The request that these fields of a JSON object make; null is as if a field were left out.

        cards: of the models that are served, the first the default; where they are not known yet, what depends on the
        model is left to it. Pictures are base64, or data: addresses. Raises FieldError.
        """
        for name in given:
            if name not in FIELDS:
                raise FieldError(str(name)[:80], _unknown(str(name)))
        told = {name: value for name, value in given.items() if value is not None}
        asked = cls(**{name: FIELDS[name].read(name, value, limits) for name, value in told.items()})
        asked._check_together()
        asked._check_prompts()
        if cards:
            asked._check_model(asked.card(cards), limits)
        return asked

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], **pictures: bytes | None) -> Asked:
        """The inverse of `to_dict`; fields of a later version are passed over."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in table.items()
            if name in FIELDS
        }
        values.update(pictures)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the pictures."""
        return {name: value for name, value in vars(self).items() if name not in PICTURES}

    def other_than(self, kept: Asked) -> str:
        """The first field, beside pictures, in which a request differs from one that was kept; "" where none does.

        A seed and a model that were left open were chosen in the one that was kept.
        """
        mine, other = self.to_dict(), kept.to_dict()
        open_ = {"model": mine["model"] is None, "seed": mine["seed"] in (None, -1)}
        return next((name for name in mine if mine[name] != other[name] and not open_.get(name)), "")

    @property
    def begun(self) -> dict[str, str]:
        """Argument of the pipeline that begins from a picture, or has two passes -> the field that gives it."""
        return {
            row.begun: name for name, row in FIELDS.items() if row.begun and getattr(self, name) is not None
        }

    def alone(self, place: int) -> Asked:
        """Picture `place` of those that are asked for, as a request of its own."""
        if self.variation is not None and self.variation[1]:
            return replace(self, count=1, variation=(self.variation[0] + place, self.variation[1]))
        return replace(self, count=1, seed=None if self.seed is None else self.seed + place)

    def card(self, cards: Sequence[Card]) -> Card:
        """The model's. Raises FieldError where it is not served."""
        found = named(cards, self.model)
        if found is None:
            names = ", ".join(card.name for card in cards)
            raise NotServed("model", f"model is {str(self.model)[:80]!r}; this server has {names}.")
        return found

    def _check_together(self) -> None:
        given = {name for name, value in vars(self).items() if value is not None and value is not False}
        for name, row in FIELDS.items():
            if name in given and row.needs and not given & set(row.needs):
                needed = " or ".join(row.needs)
                raise FieldError(name, f"{name} is given without {needed}; give both, or neither.")
        for one, other in (("strength", "noise_level"), ("hires_scale", "init")):
            if {one, other} <= given:
                raise FieldError(one, f"{one} and {other} are given; give one of the two.")

    def _check_prompts(self) -> None:
        for name in ("negative", "prompt"):
            try:
                Prompt.read(getattr(self, name), self.prompt_style, negative=name == "negative")
            except InputError as error:
                raise FieldError(name, str(error)) from error

    def _check_model(self, card: Card, limits: Limits) -> None:
        self._check_text(card)
        self._check_kind(card)
        for name in ("width", "height"):
            self._check_side(name, card, limits)
        pixels = (self.width or card.width) * (self.height or card.height)
        work = pixels * (self.steps or card.steps)
        if self.hires_scale is not None:
            work += int(pixels * self.hires_scale**2) * (self.hires_steps or self.steps or card.steps)
        if work * self.count > limits.work:
            raise FieldError("steps", limits.too_much(work * self.count))

    def _check_text(self, card: Card) -> None:
        if card.heeds_prompt:
            return
        for name in ("prompt", "negative", "guidance", "clip_skip"):
            if getattr(self, name) not in ("", None) and (name, self.guidance) != ("guidance", 1.0):
                raise FieldError(name, f"model '{card.name}' heeds no prompt; leave {name} out.")

    def _check_kind(self, card: Card) -> None:
        if card.kind != "text" and self.init is None:
            what = {"inpaint": "init and mask", "edit": "init"}[card.kind]
            raise FieldError("init", f"model '{card.name}' works on a picture; give {what}.")
        if card.kind == "inpaint" and self.mask is None and self.outpaint is None:
            raise FieldError("mask", f"model '{card.name}' paints within a mask; give mask, or outpaint.")
        for names, reason in _NOT_EDIT if card.kind == "edit" else _EDIT:
            for name in names:
                if getattr(self, name) is not None:
                    raise FieldError(name, f"model '{card.name}' {reason}; leave {name} out.")

    def _check_side(self, name: str, card: Card, limits: Limits) -> None:
        value: int | None = getattr(self, name)
        low = limits.lowest_side(card)
        if value is not None and (value < low or value % card.unit):
            below = max(value // card.unit * card.unit, low)
            wanted = f"a multiple of {card.unit} from {low} to {limits.side_high}, for example {below}"
            raise refusal(name, value, wanted)
        side = getattr(card, name) if value is None else value
        if self.hires_scale is not None and side * self.hires_scale > limits.side_high:
            raise FieldError(
                "hires_scale",
                f"hires_scale is {self.hires_scale:g}, and a {name} of {side} becomes more than {limits.side_high}; "
                f"give at most {limits.side_high / side:g}.",
            )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name[:80], FIELDS, n=1)
    return f"there is no field {name[:80]!r}; " + (
        f"did you mean '{near[0]}'?" if near else f"the fields are {', '.join(FIELDS)}."
    )
