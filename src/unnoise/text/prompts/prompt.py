"""A prompt, read: what is said with which weight, when, and which LoRAs it asks for. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import choice, whole
from unnoise.text.prompts import comfyui, compel, editing, emphasis, tags
from unnoise.text.prompts.pieces import Phrase, weight_of
from unnoise.text.prompts.tags import LoraTag
from unnoise.text.tokenizer import whole_text

STYLES = ("a1111", "comfyui", "compel", "plain")
"""The ways to write weights that can be named. The first is that of nearly all prompts for Stable Diffusion."""
PARTS = 32
"""The most parts that AND may join: each is one more network call at every step."""

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*")


@dataclass(frozen=True)
class Part:
    """One of the parts that AND joins. tree: what it says, and when. weight: of its answer."""

    tree: editing.Nodes
    weight: float = 1.0

    def at(self, step: int, steps: int, past: int = 0) -> Phrase:
        """What it says at a step, counted from 0. past: as of `Prompt.at`."""
        return Phrase(emphasis.sections(editing.resolve(self.tree, step, steps, past)), self.weight)


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was read, immutable; `Prompt.read` makes it.

    text, style: as given. phrases: what it says, where that never changes. parts: what it says where it does.
    loras: asked for by tags. notes: what a person should know, such as a tag that was left out.
    """

    text: str
    style: str = "a1111"
    phrases: tuple[Phrase, ...] = ()
    parts: tuple[Part, ...] = ()
    loras: tuple[LoraTag, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str, style: str = "a1111", negative: bool = False) -> Prompt:
        r"""Read a prompt in one of the STYLES, in time linear in its length.

        "a1111": (word), (word:1.2), [word], BREAK, AND, [from:to:when], [a|b], \(, <lora:name:0.8>.
        "comfyui": (word), (word:1.2), \(. "compel": word+, (words)1.3. "plain": every character is meant.
        negative: A1111 reads neither AND nor tags there; they stay words, and a note says so of tags.
        Raises InputError for a style that is none, for brackets nested too deep, a weight or a tag that makes no
        sense, and more than 32 parts.
        """
        choice("prompt_style", style, STYLES)
        text = whole_text(text)
        if style == "comfyui":
            return cls(text, style, (Phrase(comfyui.sections(text)),))
        if style == "compel":
            sections, loras = compel.read(text)
            return cls(text, style, (Phrase(sections),), loras=loras)
        if style == "plain":
            return cls(text, style, (Phrase.plain(text),))
        return _a1111(text, negative)

    @property
    def changes(self) -> bool:
        """Whether what is said may differ from step to step."""
        return not self.phrases

    def at(self, step: int, steps: int, past: int = 0) -> tuple[Phrase, ...]:
        """What is said at a step, counted from 0, of so many: one phrase, or as many as AND joins.

        past: steps of a first pass that went before; [a:b:0.5] says b all through the second, [a:b:1.5] to its half a.
        Raises InputError for a step below 0, and for less than one in all.
        """
        steps = whole("steps", steps, 1, example=20)
        step = whole("step", step, 0)
        return self.phrases or tuple(part.at(step, steps, past) for part in self.parts)

    @property
    def composed(self) -> bool:
        """Whether the network's answers to several phrases are to be joined."""
        return len(self.phrases or self.parts) > 1


def _a1111(text: str, negative: bool) -> Prompt:
    words, loras, unknown = tags.take(text)
    if negative:
        notes = tuple(
            f"{lora.shown} in a negative prompt is read as words; put it in the prompt" for lora in loras
        )
        words, loras = text, ()
    else:
        notes = tuple(f"the tag '{tag[:40]}' is none that unnoise knows; it is left out" for tag in unknown)
    parts = (Part(editing.read(words)),) if negative else _parts(words)
    if any(editing.changes(part.tree) for part in parts):
        return Prompt(text, "a1111", parts=parts, loras=loras, notes=notes)
    return Prompt(text, "a1111", tuple(part.at(0, 1) for part in parts), loras=loras, notes=notes)


def _parts(text: str) -> tuple[Part, ...]:
    """The parts that AND joins. A number after a part's last colon is its weight; a prompt without AND has none."""
    found = _AND.split(text)
    if len(found) == 1:
        return (Part(editing.read(text)),)
    if len(found) > PARTS:
        raise InputError(
            f"the prompt joins {len(found)} parts by AND; at most {PARTS} are taken. Leave some out."
        )
    return tuple(_part(part) for part in found)


def _part(text: str) -> Part:
    words, colon, number = text.rpartition(":")
    weight = weight_of(number, text[-20:]) if colon and _PART_WEIGHT.fullmatch(number) else None
    return Part(editing.read(text)) if weight is None else Part(editing.read(words), weight)
