"""`unnoise inspect`: what a model, a file of weights or a picture says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from unnoise.cli import values
from unnoise.cli.answering import answer
from unnoise.limits import counted

if TYPE_CHECKING:
    from unnoise.checkpoints import Summary

_OPTIONS = {
    "FILE": "picture, LoRA, file of weights, or a model: " + values.MODEL,
    "--json": "print one JSON object",
}
EXAMPLES = ("inspect emoji", "inspect outputs/00001-7.png")
PARTS = (_OPTIONS,)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.checkpoints import inspect

    summary = inspect(values.word("FILE", arguments.file))
    rows = (f"{name:<11} {value}" for name, value in _ROWS[summary.kind](summary))
    return answer(arguments.json, summary.to_dict(), "\n".join(rows))


Rows = Iterator[tuple[str, str]]


def _weights(summary: Summary) -> Rows:
    yield "file", f"{summary.path}, {summary.size / 1e6:,.2f} MB"
    types = ", ".join(f"{count:,} {dtype}" for dtype, count in summary.dtypes.items())
    yield "holds", f"{summary.parameters:,} numbers in {counted(summary.tensors, 'tensor')} ({types})"
    yield "sha256", summary.sha256
    yield "short hash", summary.short_hash
    if summary.kind in ("weights", "adapter"):
        yield from _short(summary.details)


def _model(summary: Summary) -> Rows:
    yield from _weights(summary)
    facts = summary.details
    if not facts["intact"]:
        yield "damaged", f"the weights differ from the hash in model.json ({facts['sha256'][:10]})"
    channels, height, width = facts["size"]
    yield "pictures", f"{width}x{height}, {counted(channels, 'channel')}"
    yield "predicts", f"{facts['prediction']}, variance {facts['variance']}, clip {facts['clip']}"
    yield "schedule", _line(facts["schedule"])
    yield "network", _line(facts["network"])
    if facts["text_encoder"] is None:
        yield "prompts", "none: trained without captions"
    else:
        yield "text", _line(facts["text_encoder"])
    yield "defaults", _line(facts["defaults"])
    yield from ((name, _plain(value)) for name, value in facts["card"].items())


def _checkpoint(summary: Summary) -> Rows:
    yield from _weights(summary)
    facts = dict(summary.details)
    if "problem" in facts:
        yield "problem", facts.pop("problem")
    else:
        numbers = {name: f"{count:,}" for name, count in facts.pop("parts").items()}
        for name in ("family", "pictures", "predicts", "schedule", "defaults", "needs"):
            value = facts.pop(name)
            yield name, _line(value) if isinstance(value, dict) else value
        yield "numbers", _line(numbers)
    yield from _short(facts)


_EVEN_AT_0 = ("seed", "guidance")


def _picture(summary: Summary) -> Rows:
    facts = dict(summary.details)
    yield "file", f"{summary.path}, {facts.pop('width')}x{facts.pop('height')}, {summary.size / 1e3:,.1f} kB"
    recipe = facts.pop("recipe", None)
    if "problem" in facts:
        yield "problem", facts.pop("problem")
    if recipe is not None:  # it tells what the texts hold
        rest = {name: value for name, value in recipe.items() if name != "more"}
        told = {name: value for name, value in rest.items() if name in _EVEN_AT_0 or value not in ("", False)}
        yield from ((name.replace("_", " "), _plain(value)) for name, value in told.items())
        yield from (("", f"{name} {text}") for name, text in _short(recipe.get("more", {})))
    else:
        yield "recipe", "none"
        yield from _short(facts)


_ROWS = {
    "model": _model,
    "checkpoint": _checkpoint,
    "weights": _weights,
    "adapter": _weights,
    "picture": _picture,
}


def _short(facts: Mapping[str, Any]) -> Rows:
    return ((name, " ".join(str(value).split())[:200]) for name, value in facts.items())


def _line(table: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in table.items())


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(
            _plain(each) if not isinstance(each, tuple) else " ".join(map(str, each)) for each in value
        )
    return str(value)
