"""Folders of pictures as they are: one size, nothing cropped or resampled, because that would change the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unnoise import images
from unnoise.errors import DataError, InputError
from unnoise.evaluation.distances import Features
from unnoise.files import check_folder, expanded, files_below
from unnoise.limits import typed

Numbers = npt.NDArray[np.number[Any]]
"""(pictures, features) in any type of number."""


@dataclass(frozen=True, eq=False)
class Folder:
    """paths, and pixels: uint8 (pictures, channels, height, width), in the order of the names."""

    paths: tuple[Path, ...]
    pixels: Tensor

    def spread(self, most: int) -> Folder:
        """At most so many of the pictures, evenly over the names."""
        places = spread(len(self.paths), most)
        return Folder(tuple(self.paths[place] for place in places), self.pixels[places])


def read_folder(
    folder: str | Path, shape: tuple[int, int, int] | None = None, limit: int | None = None
) -> Folder:
    """The pictures in and below a folder. shape: channels, height and width that each must have, or the first one's.

    limit: at most so many, spread evenly over the names. Raises DataError where the folder is missing or holds no
    picture, and where a picture has another size.
    """
    folder = expanded(folder)
    check_folder(folder)
    paths = sorted(path for path in files_below(folder) if path.suffix.lower() in images.ENDINGS)
    if not paths:
        raise DataError(f"'{folder}' holds no picture; put PNG, JPEG or WebP files there.")
    if limit is not None:
        paths = [paths[place] for place in spread(len(paths), limit)]
    rows = []
    for path in paths:
        pixels = _pixels(path, shape)
        shape = shape or (pixels.shape[0], pixels.shape[1], pixels.shape[2])
        rows.append(pixels)
    return Folder(tuple(paths), torch.stack(rows))


def _pixels(path: Path, shape: tuple[int, int, int] | None) -> Tensor:
    """A picture as it is, uint8 (channels, height, width). Raises DataError where it has not this shape."""
    picture = images.open_picture(path)
    if picture.mode[0] in "IF":
        raise DataError(
            f"'{path}' has more than 8 bits a pixel; give 8-bit pictures, as rounding would change the figures."
        )
    channels = shape[0] if shape else (1 if picture.mode in ("1", "L") else 3)
    pixels = images.from_pil(picture, channels)[0]
    if shape and tuple(pixels.shape) != shape:
        raise DataError(
            f"'{path}' is {picture.width}x{picture.height}, expected {shape[2]}x{shape[1]}; give pictures of one "
            "size. Resampling would change the figures."
        )
    return ((pixels + 1.0) * 127.5).round().to(torch.uint8)


def spread(count: int, most: int) -> list[int]:
    """At most so many places of `count`, evenly over them."""
    if most >= count:
        return list(range(count))
    places: list[int] = np.linspace(0, count - 1, most).round().astype(int).tolist()
    return places


def pixel_features(pixels: Tensor) -> Features:
    """Pictures (pictures, ...) as rows of numbers from 0 to 1: uint8, or floats in [-1, 1].

    Raises InputError for floats of another range.
    """
    check_range(pixels)
    whole = pixels.double() / 255.0 if pixels.dtype == torch.uint8 else (pixels.double() + 1.0) / 2.0
    return whole.flatten(1).cpu().numpy()


def check_range(pictures: Tensor) -> None:
    """Refuse pictures that are neither uint8 nor floats from -1 to 1. Raises InputError."""
    typed("pictures", pictures, torch.Tensor)
    if not pictures.numel():
        raise InputError(f"pictures have shape {list(pictures.shape)}; give at least one.")
    if pictures.dtype == torch.uint8:
        return
    if not pictures.is_floating_point():
        raise InputError(f"pictures are {pictures.dtype}; give uint8, or floats from -1 to 1.")
    low, high = float(pictures.min()), float(pictures.max())
    if not (low >= -1.0 - 1e-6 and high <= 1.0 + 1e-6):  # nan is none of both
        raise InputError(f"pictures run from {low:g} to {high:g}; give uint8, or floats from -1 to 1.")


def read_array(path: str | Path) -> Numbers:
    """Feature vectors (pictures, features) of an .npy file, or of the only array of an .npz file, in its own type."""
    try:
        with expanded(path).open("rb") as file:  # which numpy leaves open where it is damaged
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                names = found.files
                if len(names) != 1:
                    raise InputError(f"'{path}' holds {len(names)} arrays; give a file with one.")
                found = found[names[0]]
    except InputError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(
            f"cannot read the features '{path}': {error}. Give .npy or .npz as numpy writes them."
        ) from error
    if found.dtype.kind not in "uif":
        raise DataError(f"'{path}' holds {found.dtype}; give an array of numbers.")
    numbers: Numbers = found
    return numbers
