"""A1111's tags in a prompt: <lora:name:0.8>. They are orders, not words, and are taken out of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.text.prompts.pieces import short, weight_of

_TAG = re.compile(r"<(\w+):([^>]+)>")
_LORA = ("lora", "lyco")
_REFUSED = "hypernet"


@dataclass(frozen=True)
class LoraTag:
    """A LoRA that a prompt asks for. name: of the file, without its ending.

    network, text: weights in the UNet and in the text encoder.
    """

    name: str
    network: float = 1.0
    text: float = 1.0

    @property
    def shown(self) -> str:
        """The tag as A1111 writes it."""
        weights = f"{self.text:g}" if self.text == self.network else f"{self.text:g}:{self.network:g}"
        return f"<lora:{self.name}:{weights}>"


def take(text: str) -> tuple[str, tuple[LoraTag, ...], tuple[str, ...]]:
    """The text without its tags, the LoRAs that they ask for, and the tags that nobody here knows.

    A tag is `<kind:...>`; a LoRA's is `<lora:name:weight>` or `<lora:name:text weight:network weight>`, the weights
    also as te= and unet=. Raises InputError for a tag that is not whole, or of a kind that cannot be honoured.
    """
    loras, unknown = [], []
    end = text.rfind(">") + 1  # beyond it every < would be followed to the end of the text in vain
    for found in _TAG.finditer(text, 0, end):
        tag, kind, inside = found[0], *found.groups()
        shown = short(tag)
        if kind in _LORA:
            loras.append(_lora(inside, shown))
        elif kind == _REFUSED:
            raise InputError(
                f"the prompt asks for a hypernetwork ('{shown}'), which unnoise has not. Remove the tag."
            )
        else:
            unknown.append(tag)
    return _TAG.sub("", text[:end]) + text[end:], tuple(loras), tuple(unknown)


def _lora(inside: str, shown: str) -> LoraTag:
    name, *given = inside.split(":")
    places: dict[str, str] = {}
    plain = []
    for item in given:
        key, equals, value = item.partition("=")
        if equals:
            places[key.strip()] = value
        else:
            plain.append(item)
    if not name.strip() or len(plain) > 2 or set(places) - {"te", "unet"}:
        raise InputError(f"the tag '{shown}' makes no sense; write it as <lora:name:0.8>.")
    text = _weight(places.get("te", plain[0] if plain else "1"), shown)
    network = _weight(places.get("unet", plain[1] if len(plain) > 1 else str(text)), shown)
    return LoraTag(name.strip(), network, text)


def _weight(text: str, shown: str) -> float:
    weight = weight_of(text, shown)
    if weight is None:
        raise InputError(
            f"'{short(text)}' in the tag '{shown}' is no number; write the tag as <lora:name:0.8>."
        )
    return weight
