"""Options of `generate` that save time: engines, and what trades exactness. Nothing here needs torch."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from unnoise.cli import parser
from unnoise.cli.values import choice, maybe, number, whole
from unnoise.errors import InputError

ENGINE = {
    "--engine NAME": "what computes the network: torch, or where unnoise[openvino] is installed openvino, or "
    "openvino-int8, which is approximate (default torch)",
}
"""The option of engines."""
_FASTER = {
    "--cache TURN": "reuse deep features until the noise level has turned by so many radians, such as 0.15",
    "--cache-every N": "or for N - 1 of N network calls (DeepCache)",
    "--cache-blocks N": "last residual blocks that are always computed (default the finest level)",
    "--merge-tokens SHARE": "attend over fewer tokens, those alike merged: the share that is, 0 to 0.75",
    "--merge-least N": "merge wherever there are N tokens (default at the finest level that attends)",
}


def add(command: argparse.ArgumentParser) -> None:
    """The options of engines, of feature caching and of token merging."""
    parser.options(command.add_argument_group("faster, in part approximate"), ENGINE | _FASTER)


def engine(arguments: argparse.Namespace, arithmetic: str = "") -> str:
    """The engine's name. Raises InputError for another, or one that is not installed.

    arithmetic: of the picture that is to be made again; its engine is taken where none is typed and it is installed.
    """
    if arguments.engine is None:
        return "openvino-int8" if arithmetic == "int8" and _installed("openvino") else "torch"
    name = choice("--engine", arguments.engine, ("torch", "openvino", "openvino-int8"))
    if name != "torch" and not _installed("openvino"):
        raise InputError(
            f"--engine {name} needs a package that is not installed; pip install 'unnoise[openvino]'."
        )
    return name


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # someone has it marked as not to be imported
        return False


def cache(arguments: argparse.Namespace) -> str | None:
    """As `pipelines.FeatureCache.from_text` reads it; None for no cache. Raises InputError."""
    told = {
        "turn": maybe(number, "--cache", arguments.cache, 0, 1.57, 0.15),
        "every": maybe(whole, "--cache-every", arguments.cache_every, 1, 1000, 3),
        "blocks": maybe(whole, "--cache-blocks", arguments.cache_blocks, 1, 1000, 1),
    }
    if told["turn"] is None and told["every"] is None:
        if told["blocks"] is not None:
            raise InputError(
                "--cache-blocks is given without --cache or --cache-every; give one of these as well."
            )
        return None
    return " ".join(f"{name} {value}" for name, value in told.items() if value is not None)


def merge(arguments: argparse.Namespace) -> str | None:
    """As `pipelines.TokenMerging.from_text` reads it; None merges no tokens. Raises InputError."""
    share = maybe(number, "--merge-tokens", arguments.merge_tokens, 0, 0.75, 0.5)
    least = maybe(whole, "--merge-least", arguments.merge_least, 1, 2**20, 1024)
    if share is None:
        if least is not None:
            raise InputError("--merge-least is given without --merge-tokens; give both, or neither.")
        return None
    return f"share {share}" + ("" if least is None else f" least {least}")
