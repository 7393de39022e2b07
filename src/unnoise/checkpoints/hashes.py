"""Hashes by which recipes know files, and the file of a folder that has one. Torch-free.

Three are in use: of a whole file (checkpoints, embeddings), of a safetensors file's numbers alone, which does not
change when someone edits its metadata (A1111's and Civitai's for LoRAs), and of a picture's pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.checkpoints.header import HEADER_LIMIT, PICKLED
from unnoise.errors import FileError

if TYPE_CHECKING:
    from PIL import Image

WEIGHTS = (".safetensors", *PICKLED)
DIGITS = 12
"""Digits that recipes keep of a hash, as A1111 does for LoRAs and embeddings."""


def sha256_of(*files: Path) -> str:
    """The sha256 of the file, or of several one after the other, in hexadecimal. Read once while it is unchanged."""
    return _hashed(tuple(map(_state, files)))


def numbers_sha256(file: Path) -> str:
    """The sha256 of what follows a safetensors file's header; of all of it for a file of another kind."""
    return _hashed((_state(file),), _header_end(file))


def picture_sha256(picture: Image.Image) -> str:
    """The sha256 of a picture's size and of its pixels as 8-bit colours, transparent ones black."""
    from unnoise import images

    head = f"{picture.width}x{picture.height}".encode()
    return hashlib.sha256(head + images.in_mode(picture, "RGB", "black").tobytes()).hexdigest()


def fits(file: Path, digest: str) -> bool:
    """Whether a file, or its numbers, have a hash that begins so. An empty one says nothing and fits."""
    return sha256_of(file).startswith(digest) or numbers_sha256(file).startswith(digest)


def weights_in(folder: Path, digest: str) -> Path | None:
    """The first file of weights below `folder` whose hash begins so, None for no digest; every one may be read."""
    return _first(folder, WEIGHTS, lambda file: fits(file, digest)) if digest else None


def picture_in(folder: Path, digest: str) -> Path | None:
    """The first picture below `folder` whose pixels have a hash that begins so; None for no digest."""
    from unnoise import images

    def same(file: Path) -> bool:
        return picture_sha256(images.open_picture(file)).startswith(digest)

    return _first(folder, images.ENDINGS, same) if digest else None


def _first(folder: Path, endings: Sequence[str], wanted: Callable[[Path], bool]) -> Path | None:
    """What cannot be read is passed over."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())
    for file in files:
        with suppress(OSError, FileError):
            if wanted(file):
                return file
    return None


def _state(file: Path) -> tuple[Path, int, int]:
    stat = file.stat()
    return file, stat.st_size, stat.st_mtime_ns


def _header_end(file: Path) -> int:
    """Where a safetensors file's numbers begin; 0 for a file of another kind."""
    if file.suffix.lower() != ".safetensors":
        return 0
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    return 8 + length if 2 <= length <= min(HEADER_LIMIT, file.stat().st_size - 8) else 0


@lru_cache(maxsize=4096)
def _hashed(states: tuple[tuple[Path, int, int], ...], begin: int = 0) -> str:
    """Of the files from this byte on."""
    digest = hashlib.sha256()
    for path, _, _ in states:
        with path.open("rb") as file:
            file.seek(begin)
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
