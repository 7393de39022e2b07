"""What is known of a model before it is asked for anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A model that is served.

    name: by which it is asked for. family: such as "unnoise" or "sd1". hash: sha256 of its weights, "" where reading
    them would take long. kind: what the network sees beside the sample, "text" (nothing), "inpaint" or "edit". unit:
    width and height are multiples of it. width, height, steps, guidance, scheduler: what stands where nothing is asked.
    heeds_prompt: whether it reads text. prompts: examples. summary: a sentence.
    """

    name: str
    family: str
    hash: str
    kind: str
    unit: int
    width: int
    height: int
    steps: int
    guidance: float
    scheduler: str
    heeds_prompt: bool
    prompts: tuple[str, ...] = ()
    summary: str = ""
