"""From a picture file to one small uint8 tensor: checked by its header, cropped, resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unnoise import images
from unnoise.errors import DataError, FileError
from unnoise.training import archives


def looks_like_picture(path: Path) -> bool:
    """True when the first bytes are those of a PNG, JPEG or WebP file, or the name claims one."""
    if path.suffix.lower() in images.ENDINGS:
        return True
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError:
        return False
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (
        head[:4] == b"RIFF" and head[8:] == b"WEBP"
    )


def upright_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a picture by its header, as it is shown; None where that cannot be read."""
    try:
        width, height = images.upright_size(path, archives.content(path))
    except (DataError, FileError):
        return None
    return height, width


def told_sizes(path: Path, shown: tuple[int, int]) -> tuple[int, ...]:
    """What Stable Diffusion XL is told of a picture (Podell et al. 2023, sec. 2.2).

    Its height and width before all; top and left of the cut, after the resize that makes it cover the shown size; the
    shown height and width. The cut is from the centre, as `read_picture` makes it.
    """
    original = upright_size(path) or shown  # decoded before, and gone since
    scale = max(shown[0] / original[0], shown[1] / original[1])
    top, left = (
        max(0, round((scale * whole - part) / 2)) for whole, part in zip(original, shown, strict=True)
    )
    return (*original, top, left, *shown)


def read_picture(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Decode `path`, cut its centre to the shape's aspect and resize it: uint8, shape (C, H, W), C 1 or 3.

    Orientation marks of cameras are obeyed; transparent pixels are laid on white; a picture of the right
    size is not resampled. Raises DataError for a file that is not a whole PNG, JPEG or WebP picture of at
    most 64 Mi pixels by its header.
    """
    channels, height, width = shape
    try:
        upright = images.open_picture(path, content=archives.content(path))
    except FileError as error:
        raise DataError(f"{error} Remove it, or save it again.") from error
    flat = images.in_mode(upright, "L" if channels == 1 else "RGB")
    if flat.size != (width, height):
        flat = ImageOps.fit(flat, (width, height), method=Image.Resampling.LANCZOS)
    array = np.asarray(flat, dtype=np.uint8).reshape(height, width, channels)
    return torch.from_numpy(array.transpose(2, 0, 1).copy())
