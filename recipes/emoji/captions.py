"""The words for each picture: its name, what else people call it, its tags, its style and its colour."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

STYLES = {"noto": "noto", "noto-v1": "blob", "flat": "flat", "3d": "3d"}
"""Style in the set -> the word that asks for it. `fluent` is left out: it lies between flat and 3d."""

CONCEPTS = Path(__file__).with_name("concepts.txt")


def concepts(path: Path = CONCEPTS) -> dict[str, list[str]]:
    """Name in the set -> further words for it."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, more = line.partition("|")
            found[name.strip()] = [word.strip() for word in more.split(",") if word.strip()]
    return found


def captions(row: Mapping[str, object], more: Sequence[str], colour: str | None) -> list[str]:
    """Ways to ask for one picture; training picks one of them at random each time it shows it.

    Half are the plain name, the others further words and tags; nine in ten name the style, one in six the colour.
    """
    name, style = plain(str(row["name"])), STYLES[str(row["style"])]
    tags = [plain(str(tag)) for tag in row["tags"]]  # type: ignore[attr-defined]
    others = [plain(word) for word in more] or [name]
    bodies = [name, f"{article(name)} {name}", name, f"{article(name)} {name}", name, *others[:3]]
    bodies += [f"{article(others[0])} {others[0]}"]
    if tags:
        bodies += [f"{name} {' '.join(tags[:2])}", " ".join(tags[:3])]
    lines = [f"{body}, {style}" for body in bodies] + [name]
    if colour is not None:
        lines += coloured(row, more, colour)
    return lines


def coloured(row: Mapping[str, object], more: Sequence[str], colour: str) -> list[str]:
    """Ways to ask for a picture by its colour."""
    style, words = STYLES[str(row["style"])], [plain(str(row["name"])), *map(plain, more)]
    bare = [re.sub(rf"\b({'|'.join(COLOUR_WORDS)})\b *", "", word) or word for word in words[:2]]
    return [
        f"{start}{colour} {word}, {style}"
        for word in dict.fromkeys(bare)
        for start in ("", article(colour) + " ")
    ]


COLOUR_WORDS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")


def article(word: str) -> str:
    """The word "a" or "an", as the next word asks."""
    return "an" if word[0] in "aeiou" else "a"


def plain(text: str) -> str:
    """Lower case, without brackets and marks that no one types."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s-]", " ", text.lower()).replace("-", " ")).strip()
