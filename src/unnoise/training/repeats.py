"""Folders named as `10_words`: each of their pictures counts ten times in an epoch (kohya's layout)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.errors import DataError

if TYPE_CHECKING:
    from unnoise.training.data import PictureSet

_NAME = re.compile(r"(\d{1,6})_(.+)")


def count_and_words(folder: Path) -> tuple[int, str]:
    """The number and the words in the folder's name. Raises DataError for another kind of name."""
    match = _NAME.fullmatch(folder.name)
    if match is None or int(match[1]) == 0:
        raise DataError(
            f"'{folder}' is not named like '10_words'; with data.repeats every folder of pictures is, with a number "
            "of repeats of at least 1. Rename it, or leave data.repeats out."
        )
    return int(match[1]), match[2]


def repeated(pictures: PictureSet) -> PictureSet:
    """The set in which every picture stands as often as its folder says. Raises DataError."""
    counts = {folder: count_and_words(folder)[0] for folder in {path.parent for path in pictures.paths}}
    return pictures.select(
        [index for index, path in enumerate(pictures.paths) for _ in range(counts[path.parent])]
    )
