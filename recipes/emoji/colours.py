"""The main colour of a picture in a word, and the same picture in another colour."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

# Middle of each colour word's stretch of the hue circle, in degrees.
HUES = {"red": 0, "orange": 28, "yellow": 52, "green": 120, "blue": 212, "purple": 275, "pink": 330}
SHARE = 0.6
"""Part of a picture's colourful pixels that must agree before it is said to have a colour."""


def main_colour(picture: Image.Image) -> str | None:
    """The colour word of an RGBA picture; None for one without colour, or with several."""
    hue, saturation, weight = _parts(picture)
    colourful = weight * (saturation > 0.35)
    if colourful.sum() < 0.5 * weight.sum():
        return None
    nearest = _nearest(hue)
    shares = {word: float(colourful[nearest == place].sum()) for place, word in enumerate(HUES)}
    word = max(shares, key=shares.__getitem__)
    return word if shares[word] > SHARE * colourful.sum() else None


def recoloured(picture: Image.Image, before: str, after: str) -> Image.Image:
    """The picture with its hues turned from one colour word to another; lightness, greys and alpha stay."""
    rgba = np.asarray(picture, np.uint8).copy()
    angle = (HUES[after] - HUES[before]) / 360
    hsv = np.asarray(Image.fromarray(rgba[..., :3]).convert("HSV"), np.int32).copy()
    hsv[..., 0] = (hsv[..., 0] + round(angle * 256)) % 256
    rgba[..., :3] = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))
    return Image.fromarray(rgba, "RGBA")


def _parts(picture: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgba = np.asarray(picture, np.float64) / 255
    flat = rgba.reshape(-1, 4)
    hsv = np.array([colorsys.rgb_to_hsv(*row) for row in flat[:, :3]])
    # Dark and pale pixels are outlines and shine.
    visible = flat[:, 3] * (hsv[:, 2] > 0.25)
    return hsv[:, 0] * 360, hsv[:, 1], visible


def _nearest(hue: np.ndarray) -> np.ndarray:
    middles = np.array(list(HUES.values()))
    away = np.abs((hue[:, None] - middles + 180) % 360 - 180)
    return away.argmin(1)
