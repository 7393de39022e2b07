"""`unnoise inspect`: what a model, a file of weights or a picture says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unnoise.cli import parser, values
from unnoise.cli.answering import answer

if TYPE_CHECKING:
    from unnoise.checkpoints import Summary

_OPTIONS = {
    "FILE": "model name or folder, run, Stable Diffusion checkpoint, LoRA, file of weights, OWNER/NAME on the hub, or "
    "PNG picture",
    "--json": "print one JSON object",
}


def add(commands: argparse._SubParsersAction[parser.Parser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "inspect", help="show what a model or a picture says of itself", description=__doc__
    )
    parser.options(command, _OPTIONS)
    parser.finish(command, "inspect", run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from unnoise.checkpoints import inspect

    summary = inspect(values.word("FILE", arguments.file))
    rows = (f"{name:<11} {value}" for name, value in _ROWS[summary.kind](summary))
    return answer(arguments.json, summary.to_dict(), "\n".join(rows))


def _weights(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "file", f"{summary.path}, {summary.size / 1e6:,.2f} MB"
    types = ", ".join(f"{count:,} {dtype}" for dtype, count in summary.dtypes.items())
    yield "holds", f"{summary.parameters:,} numbers in {summary.tensors:,} tensors ({types})"
    yield "sha256", summary.sha256
    yield "short hash", summary.short_hash
    if summary.kind in ("weights", "adapter"):
        yield from ((name, " ".join(str(value).split())[:200]) for name, value in summary.details.items())


def _model(summary: Summary) -> Iterator[tuple[str, str]]:
    yield from _weights(summary)
    facts = summary.details
    if not facts["intact"]:
        yield "damaged", f"the weights differ from the hash in model.json ({facts['sha256'][:10]})"
    channels, height, width = facts["size"]
    yield "pictures", f"{width}x{height}, {channels} channel{'s' if channels > 1 else ''}"
    yield "predicts", f"{facts['prediction']}, variance {facts['variance']}, clip {facts['clip']}"
    yield "schedule", _line(facts["schedule"])
    yield "network", _line(facts["network"])
    if facts["text_encoder"] is None:
        yield "prompts", "none: trained without captions"
    else:
        yield "text", _line(facts["text_encoder"])
    yield "defaults", _line(facts["defaults"])
    yield from ((name, _plain(value)) for name, value in facts["card"].items())


def _checkpoint(summary: Summary) -> Iterator[tuple[str, str]]:
    yield from _weights(summary)
    facts = dict(summary.details)
    if "problem" in facts:
        yield "problem", facts.pop("problem")
    else:
        parts = {name: f"{count:,}" for name, count in facts.pop("parts").items()}
        yield "family", facts.pop("family")
        yield "pictures", facts.pop("pictures")
        yield "predicts", facts.pop("predicts")
        yield "schedule", _line(facts.pop("schedule"))
        yield "defaults", _line(facts.pop("defaults"))
        yield "needs", facts.pop("needs")
        yield "numbers", _line(parts)
    yield from ((name, " ".join(str(value).split())[:200]) for name, value in facts.items())


def _picture(summary: Summary) -> Iterator[tuple[str, str]]:
    facts = dict(summary.details)
    yield "file", f"{summary.path}, {facts.pop('width')}x{facts.pop('height')}, {summary.size / 1e3:,.1f} kB"
    recipe = facts.pop("recipe", None)
    if "problem" in facts:
        yield "problem", facts.pop("problem")
    if recipe is None:
        yield "recipe", "none"
    else:
        facts = {}  # the recipe tells what the texts hold
        more = recipe.get("more", {})
        yield from (
            (name.replace("_", " "), _plain(value))
            for name, value in recipe.items()
            if value not in ("", False) and name != "more"
        )
        yield from (("", f"{name} {' '.join(value.split())[:200]}") for name, value in more.items())
    yield from ((name, " ".join(str(value).split())[:200]) for name, value in facts.items())


_ROWS = {
    "model": _model,
    "checkpoint": _checkpoint,
    "weights": _weights,
    "adapter": _weights,
    "picture": _picture,
}


def _line(table: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in table.items())


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(
            _plain(each) if not isinstance(each, tuple) else " ".join(map(str, each)) for each in value
        )
    return str(value)
