"""What a model's card says where an option is not typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise.checkpoints import Model


def prompts(model: Model, typed: Sequence[str] | None) -> tuple[str, ...]:
    """The prompts that a model is measured with; typed ones are for the pipeline to refuse where it heeds none."""
    usual = () if model.text_encoder is None else model.card.get("prompts", ())
    return tuple(typed or usual or ("",))
