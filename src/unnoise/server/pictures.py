"""Finished pictures of ours in the formats that clients ask for."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from unnoise import images

FORMATS = ("png", "jpeg", "webp")
_COMMENT, _EXIF = 0x9286, 0x8769  # EXIF's UserComment, and the directory that it stands in


def recoded(content: bytes, kind: str, quality: int = 100) -> bytes:
    """A PNG of ours as "png" (unchanged), "jpeg" or "webp"; its recipe goes along as EXIF. Not for the event loop.

    quality: 0 to 100; WebP at 100 loses nothing.
    """
    if kind == "png":
        return content
    picture = images.open_picture(Path("picture"), content)
    exif = Image.Exif()
    recipe = images.read_text(Path("picture"), content).get("parameters", "")
    if recipe:
        exif.get_ifd(_EXIF)[_COMMENT] = b"UNICODE\0" + recipe.encode("utf-16-be", "replace")
    if kind == "jpeg" and picture.mode != "L":
        picture = images.in_mode(picture, "RGB")
    made = io.BytesIO()
    # of a lossless WebP, quality is the time that is spent on making it small
    how: dict[str, Any] = {"lossless": True} if (kind, quality) == ("webp", 100) else {"quality": quality}
    picture.save(made, format=kind.upper(), exif=exif.tobytes() if recipe else b"", **how)
    return made.getvalue()


def size_of(png: bytes) -> str:
    """Width and height, which a PNG of ours begins with, as `Made.size` has them."""
    return f"{int.from_bytes(png[16:20], 'big')}x{int.from_bytes(png[20:24], 'big')}"


def base64_of(content: bytes) -> str:
    """As JSON carries them."""
    return base64.b64encode(content).decode("ascii")


def data_address(png: bytes) -> str:
    """As pages show them."""
    return f"data:image/png;base64,{base64_of(png)}"
