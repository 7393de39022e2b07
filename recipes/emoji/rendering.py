"""A drawing as a square RGBA picture: centred, with a small margin, brought to size with premultiplied alpha."""

from __future__ import annotations

import io

import numpy as np
import resvg_py
from drawings import Drawing
from PIL import Image

MARGIN = 0.03
"""On each side, as a share of the picture's side."""
CLEAR = (0, 0, 0, 0)


def render(drawing: Drawing, size: int) -> Image.Image:
    """The drawing at size x size pixels, straight alpha, black where nothing is seen.

    Raises ValueError for a drawing of which nothing is seen.
    """
    inner = max(1, round(size * (1 - 2 * MARGIN)))
    picture = squared(_decoded(drawing, inner))
    if picture.width != inner:
        picture = shrunk(picture, inner)
    pixels = cleared(np.array(centred(picture, size)))
    if not pixels.any():
        raise ValueError("nothing of the drawing is seen")
    return Image.fromarray(pixels, "RGBA")


def cleared(pixels: np.ndarray) -> np.ndarray:
    """RGBA pixels, uint8, (height, width, 4), with zeros wherever nothing is seen."""
    return np.where(pixels[..., 3:] == 0, np.uint8(0), pixels)


def _decoded(drawing: Drawing, side: int) -> Image.Image:
    """SVG is drawn at the size that is wanted; a picture file has its own."""
    if isinstance(drawing, str):
        drawing = bytes(resvg_py.svg_to_bytes(svg_string=drawing, width=side, height=side))
    return Image.open(io.BytesIO(drawing)).convert("RGBA")


def squared(picture: Image.Image) -> Image.Image:
    """The picture on a clear square of its longer side."""
    return picture if picture.width == picture.height else centred(picture, max(picture.size))


def centred(picture: Image.Image, size: int) -> Image.Image:
    """The picture in the middle of a clear square."""
    ground = Image.new("RGBA", (size, size), CLEAR)
    ground.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return ground


def shrunk(picture: Image.Image, size: int) -> Image.Image:
    """The picture at size x size; colours are weighed by alpha, so that no edge takes a hidden colour."""
    rgba = np.asarray(picture, np.float32) / 255
    weighed = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    law = Image.Resampling.BOX if picture.width % size == 0 else Image.Resampling.LANCZOS
    parts = [np.asarray(Image.fromarray(weighed[..., i], "F").resize((size, size), law)) for i in range(4)]
    small = np.clip(np.stack(parts, -1), 0, 1)
    alpha = small[..., 3:]
    colour = np.where(alpha > 1 / 512, small[..., :3] / np.maximum(alpha, 1e-6), 0)
    whole = np.concatenate([np.clip(colour, 0, 1), alpha], -1)
    return Image.fromarray((whole * 255 + 0.5).astype(np.uint8), "RGBA")
