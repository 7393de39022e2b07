"""The emoji recipe's own modules and its sample of 200 pictures, for tests."""

import importlib
import io
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

from PIL import Image

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "emoji"
SAMPLE = ROOT / "tests" / "data" / "emoji200"


def module(name: str) -> ModuleType:
    """A module of the recipe, whose scripts import each other by their bare names."""
    sys.path.insert(0, str(RECIPE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(RECIPE))


def rows() -> list[dict]:
    """The sample's rows: index, style, hexcode, name, tone, tags, group, subgroup, split."""
    text = (SAMPLE / "captions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def picture(row: dict) -> Image.Image:
    """One picture of the sample, 64x64 RGBA."""
    with zipfile.ZipFile(SAMPLE / "images.webpz") as pictures:
        return Image.open(io.BytesIO(pictures.read(f"{row['index']:06d}.webp"))).convert("RGBA")
