"""Which pictures training must not see: fixed by hashes, so that every build of the set agrees.

`concept`: groups of like emoji held out in every style. `pair`: an emoji held out in one style family, which
training sees in another. `train`: all else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from catalogue import Emoji

HELD_CONCEPTS, HELD_PAIRS = 0.03, 0.05
FAMILY = {"flat": "fluent", "fluent": "fluent", "3d": "fluent"}
"""One drawing in three finishes: held out together."""
_GENERIC = """
    a and the of with in face man men woman women person people boy girl adult child s button symbol facing right
    medium small large
"""
GENERIC = frozenset(_GENERIC.split())


def split_of(code: str, group: str, style: str) -> str:
    """Which of "train", "pair" and "concept" a picture belongs to."""
    if _share(f"concept/{group}") < HELD_CONCEPTS:
        return "concept"
    return "pair" if _share(f"pair/{code}/{FAMILY.get(style, style)}") < HELD_PAIRS else "train"


def groups(catalogue: Mapping[str, Emoji]) -> dict[str, str]:
    """Code -> name of its group.

    Emoji with a common first codepoint or the same telling words ('dog' and 'dog face', all clocks, all flags)
    are held out together: to have seen one is to know the other.
    """
    roots: dict[str, str] = {}
    for code, emoji in catalogue.items():
        for mark in _marks(code, emoji.name.lower()):
            one, other = sorted((_root(roots, code), _root(roots, mark)))
            # The smaller name wins, so that the answer does not depend on the order.
            roots[other] = one
    return {code: _root(roots, code) for code in catalogue}


def _marks(code: str, name: str) -> tuple[str, str]:
    """What an emoji shares with its like."""
    words = sorted(set(re.findall(r"[a-z0-9]+", name.split(":")[0])) - GENERIC) or [name]
    clock = name.endswith(("o\u2019clock", "-thirty"))
    flag = name.startswith("flag:")
    return (
        "clock" if clock else f"name/{' '.join(words)}",
        "name/flag" if flag else f"code/{code.split('-')[0]}",
    )


def _root(roots: dict[str, str], name: str) -> str:
    while (parent := roots.setdefault(name, name)) != name:
        roots[name] = roots[parent]
        name = parent
    return name


def _share(text: str) -> float:
    """A number from 0 to 1 that only the text decides."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
