"""A folder of pictures as training data: found, checked, captioned, and kept decoded when memory allows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from unnoise.errors import DataError
from unnoise.training.captions import captions_of
from unnoise.training.config import DataConfig
from unnoise.training.pictures import looks_like_picture, read_picture

Tell = Callable[[int, int], None]
"""Is told how many pictures of how many have been decoded."""

_QUIET = (".txt", ".jsonl", ".json", ".csv", ".md", ".toml")  # captions and notes: expected beside pictures


@dataclass(frozen=True)
class PictureSet:
    """The usable pictures of a folder.

    paths and captions go together, a picture that counts several times is there several times; `corrupt` are
    the sentences about pictures that were skipped, `ignored` counts files that are neither pictures nor notes.
    Decoded pictures are uint8, shape (C, H, W); `rows` says where in the cache each one is.
    """

    paths: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    shape: tuple[int, int, int]
    corrupt: tuple[str, ...] = ()
    ignored: int = 0
    strict: bool = False
    cache: Tensor | None = field(default=None, repr=False)
    rows: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def captioned(self) -> bool:
        """True when any picture has words."""
        return any(self.captions)

    def read(self, indices: Sequence[int]) -> Tensor:
        """The pictures at these indices: uint8, shape (len(indices), C, H, W).

        A file that has become unreadable since the scan is replaced by the next readable one, so that the
        batch stays a function of the folder's content; with `strict` it raises DataError.
        """
        if self.cache is not None:
            places = torch.as_tensor(list(indices), dtype=torch.long)
            return self.cache[places if self.rows is None else self.rows[places]]
        return torch.stack([self._decode(index) for index in indices])

    def select(self, indices: Sequence[int]) -> PictureSet:
        """The pictures at these indices as a set of its own, on the same cache; an index may come several times."""
        places = torch.as_tensor(list(indices), dtype=torch.long)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            captions=tuple(self.captions[i] for i in indices),
            rows=places if self.rows is None else self.rows[places],
        )

    def _decode(self, index: int) -> Tensor:
        error: DataError | None = None
        for step in range(min(len(self), 100)):
            try:
                return read_picture(self.paths[(index + step) % len(self)], self.shape)
            except DataError as caught:
                if self.strict:
                    raise
                error = error or caught
        raise DataError(f"a hundred pictures in a row cannot be read; the first: {error}")

    def digest(self) -> str:
        """Fingerprint of names and captions: tells a resumed run whether the folder is still the same."""
        text = "\n".join(
            f"{path.name}\t{captions}" for path, captions in zip(self.paths, self.captions, strict=True)
        )
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def open_pictures(
    data: Path, shape: tuple[int, int, int], config: DataConfig, tell: Tell | None = None
) -> PictureSet:
    """Find and check the pictures below `data`, in the order of their names. tell: called with (done, total).

    When all of them fit in `config.cache_mb` once decoded they are decoded now, each corrupt one is named and
    left out (or refused with `strict`), and later reads touch no file. Otherwise reads decode on demand.

    Raises DataError: no such folder, no picture in it, no readable one, a corrupt one with `strict`.
    """
    found, ignored = _find(data)
    channels, height, width = shape
    corrupt: list[str] = []
    cache: Tensor | None = None
    if len(found) * channels * height * width <= config.cache_mb << 20:
        found, cache, corrupt = _decode_all(found, shape, config.strict, tell)
    if not found:
        raise DataError(
            f"none of the {len(corrupt)} pictures in '{data}' can be read; the first: {corrupt[0]}"
        )
    captions = tuple(captions_of(found, data, config.captions, config.repeats))
    return PictureSet(tuple(found), captions, shape, tuple(corrupt), ignored, config.strict, cache)


def _find(data: Path) -> tuple[list[Path], int]:
    if not data.is_dir():
        what = "is a file" if data.exists() else "does not exist"
        raise DataError(f"'{data}' {what}; give a folder of pictures (PNG, JPEG or WebP).")
    entries = sorted(entry for entry in data.rglob("*") if entry.is_file() and not entry.name.startswith("."))
    pictures = [entry for entry in entries if looks_like_picture(entry)]
    ignored = sum(entry.suffix.lower() not in _QUIET for entry in entries) - len(pictures)
    if not pictures:
        have = f"{len(entries)} files, none of them a picture" if entries else "no files"
        raise DataError(f"'{data}' holds {have}; put PNG, JPEG or WebP pictures there.")
    return pictures, ignored


def _decode_all(
    found: list[Path], shape: tuple[int, int, int], strict: bool, tell: Tell | None
) -> tuple[list[Path], Tensor, list[str]]:
    """Decode every picture, several at a time; corrupt ones are left out and told in the order of the names."""
    cache = torch.empty((len(found), *shape), dtype=torch.uint8)

    def fill(place: int) -> str:
        try:
            cache[place] = read_picture(found[place], shape)
        except DataError as error:
            if strict:
                raise
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        faults = []
        for fault in pool.map(fill, range(len(found))):
            faults.append(fault)
            if tell is not None:
                tell(len(faults), len(found))
    if not any(faults):
        return found, cache, []
    good = [place for place, fault in enumerate(faults) if not fault]
    return [found[place] for place in good], cache[good], [fault for fault in faults if fault]
