"""Whether an adapter belongs to a model: every layer has a place of its shape, or the whole is refused."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.names import Layer
from unnoise.checkpoints.adapters.places import Place
from unnoise.checkpoints.adapters.reading import Adapter
from unnoise.checkpoints.families import BY_WIDTH, SHORT
from unnoise.errors import CheckpointError


def fit(
    adapter: Adapter, places: Mapping[Layer, Place], family: str, width: int
) -> list[tuple[Place, Change]]:
    """Each change of the adapter at its place.

    family, width: of the model, for the message: its name, and the width of the text that it reads. Raises
    CheckpointError, with counts and the nearest family, when any layer has no place or another shape.
    """
    fitted, strange, misshapen = [], [], []
    for layer, change in adapter.changes.items():
        place = places.get(layer)
        if place is None:
            strange.append(layer)
        elif not change.fits(place.shape):
            misshapen.append((layer, place, change))
        else:
            fitted.append((place, change))
    if strange or misshapen:
        raise CheckpointError(_refusal(adapter, len(fitted), strange, misshapen, family, width))
    return fitted


def _refusal(
    adapter: Adapter,
    fitted: int,
    strange: list[Layer],
    misshapen: list[tuple[Layer, Place, Change]],
    family: str,
    width: int,
) -> str:
    kind, name, theirs = adapter.facts.kind, adapter.name, adapter.facts.family
    ours = SHORT.get(family) or BY_WIDTH.get(width) or family or "another model"
    read = f" ({width})" if width else ""
    total = len(adapter.changes)
    if theirs and theirs != ours:
        of_width = f" (unet keys of width {adapter.facts.width})" if adapter.facts.width else ""
        return (
            f"{kind} '{name}' fits {theirs}{of_width}; the loaded model is {ours}{read}, and {fitted} of the "
            f"{total} layers fit. Use {_one(ours, kind)} or load {_one(theirs, 'checkpoint')}."
        )
    said = []
    if strange:
        said.append(f"{len(strange)} have no place in it ({strange[0].part} {strange[0].key!r} is the first)")
    if misshapen:
        layer, place, change = misshapen[0]
        said.append(
            f"{len(misshapen)} are of another shape ({layer.key!r} with {change.shapes} for a weight of "
            f"{list(place.shape)} is the first)"
        )
    return (
        f"{kind} '{name}' does not fit the loaded model, {ours}{read}: {fitted} of the {total} layers fit, "
        f"{' and '.join(said)}. Use {_one(ours, kind)} that was made for this model."
    )


def _one(family: str, thing: str) -> str:
    """A thing of a family: "an SDXL checkpoint", or "a checkpoint of a model ..." where the family is told in words."""
    if family.startswith(("a ", "another ")):
        return f"a {thing} of {family}"
    return f"{'an' if family.startswith('SD') else 'a'} {family} {thing}"
