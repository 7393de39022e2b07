"""A folder of pictures as training data: found, checked, captioned, and kept decoded when memory allows."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unnoise.errors import DataError
from unnoise.files import check_folder, files_below
from unnoise.limits import counted
from unnoise.training import archives, buckets
from unnoise.training.buckets import Size
from unnoise.training.captions import captions_of
from unnoise.training.config import DataConfig
from unnoise.training.pictures import looks_like_picture, read_picture

if TYPE_CHECKING:
    from unnoise.training.frozen import Frozen
    from unnoise.training.prior import Prior

Tell = Callable[[int, int], None]
"""Is told how many pictures of how many have been decoded."""

# captions and notes: expected beside pictures
_QUIET = (".txt", ".caption", ".jsonl", ".json", ".csv", ".md", ".toml")


@dataclass(frozen=True)
class PictureSet:
    """The usable pictures of a folder.

    paths and captions go together, a picture that counts several times is there several times; `corrupt` are
    the sentences about pictures that were skipped, `ignored` counts files that are neither pictures nor notes.
    Decoded pictures are uint8, shape (C, H, W); `rows` says where in the cache each one is. sizes: height and
    width of each where they differ (buckets); `shape` is that of the model, and of all where sizes is empty.
    frozen: what pictures and captions go through before the network that learns. prior: pictures of the class, which
    are every other one of a batch.
    """

    paths: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    shape: tuple[int, int, int]
    corrupt: tuple[str, ...] = ()
    ignored: int = 0
    strict: bool = False
    cache: Sequence[Tensor] | Tensor | None = field(default=None, repr=False)
    sizes: tuple[Size, ...] = field(default=(), repr=False)
    rows: Tensor | None = field(default=None, repr=False)
    frozen: Frozen | None = field(default=None, repr=False)
    prior: Prior | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def captioned(self) -> bool:
        """True when any picture has words."""
        return any(self.captions)

    @functools.cached_property
    def buckets(self) -> tuple[tuple[Size, tuple[int, ...]], ...]:
        """Height and width of each bucket, and the indices of its pictures; smallest height first."""
        if not self.sizes:
            return ((self.shape[1:], tuple(range(len(self)))),)
        found: dict[Size, list[int]] = {}
        for index, size in enumerate(self.sizes):
            found.setdefault(size, []).append(index)
        return tuple((size, tuple(found[size])) for size in sorted(found))

    def shape_of(self, index: int) -> tuple[int, int, int]:
        """Channels, height and width of one picture once decoded."""
        return (self.shape[0], *self.sizes[index]) if self.sizes else self.shape

    def read(self, indices: Sequence[int]) -> Tensor:
        """The pictures at these indices, all of one bucket: uint8, shape (len(indices), C, H, W)."""
        return self.take(indices)[0]

    def take(self, indices: Sequence[int]) -> tuple[Tensor, list[int]]:
        """What `read` gives, and the index of each picture in it, by which its words are found.

        A file that cannot be read is replaced by the next readable one, so that the batch stays a function of the
        folder's content; with `strict` it raises DataError.
        """
        if self.cache is None:
            found = [self._decode(index) for index in indices]
            return torch.stack([picture for picture, _ in found]), [index for _, index in found]
        places = torch.as_tensor(list(indices), dtype=torch.long, device="cpu")
        places = places if self.rows is None else self.rows[places]
        if isinstance(self.cache, Tensor):
            return self.cache[places], list(indices)
        return torch.stack([self.cache[place] for place in places.tolist()]), list(indices)

    def select(self, indices: Sequence[int]) -> PictureSet:
        """The pictures at these indices as a set of its own, on the same cache; an index may come several times."""
        places = torch.as_tensor(list(indices), dtype=torch.long, device="cpu")
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            captions=tuple(self.captions[i] for i in indices),
            sizes=tuple(self.sizes[i] for i in indices) if self.sizes else (),
            rows=places if self.rows is None else self.rows[places],
        )

    def _decode(self, index: int) -> tuple[Tensor, int]:
        error: DataError | None = None
        shape = self.shape_of(index)
        for step in range(min(len(self), 100)):
            place = (index + step) % len(self)
            try:
                return read_picture(self.paths[place], shape), place
            except DataError as caught:
                if self.strict:
                    raise
                error = error or caught
        raise DataError(f"a hundred pictures in a row cannot be read; the first: {error}")

    @functools.cached_property
    def digest(self) -> str:
        """Of names, lengths of files and captions: tells a resumed run whether the folder is still the same."""
        each = zip(self.paths, self.captions, strict=True)
        text = "\n".join(f"{path.name}\t{_length(path)}\t{captions}" for path, captions in each)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _length(path: Path) -> int:
    """Bytes of the file, or of the archive that a picture lies in; -1 where it is gone since it was read."""
    try:
        return (archives.archive_of(path) or path).stat().st_size
    except OSError:
        return -1


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
    sizes = _sizes(found, shape, config.bucket_step)
    corrupt: list[str] = []
    cache: Sequence[Tensor] | Tensor | None = None
    if len(found) * channels * height * width <= config.cache_mb << 20:
        cache, faults = _decode_all(found, [(channels, *size) for size in sizes], config.strict, tell)
        good = [place for place, fault in enumerate(faults) if not fault]
        corrupt = [fault for fault in faults if fault]
        if corrupt:
            found, sizes = [found[place] for place in good], [sizes[place] for place in good]
            cache = cache[good] if isinstance(cache, Tensor) else [cache[place] for place in good]
    if not found:
        raise DataError(
            f"'{data}' holds {counted(len(corrupt), 'picture')}, and none can be read; the first: {corrupt[0]}"
        )
    same = [(config.caption,)] * len(found)
    captions = same if config.caption else captions_of(found, data, config.captions, config.repeats)
    kept = tuple(sizes) if config.bucket_step else ()
    return PictureSet(
        tuple(found), tuple(captions), shape, tuple(corrupt), ignored, config.strict, cache, kept
    )


def _sizes(found: list[Path], shape: tuple[int, int, int], step: int) -> list[Size]:
    """Height and width of each picture once decoded."""
    if step == 0:
        return [shape[1:] for _ in found]
    choices = buckets.shapes(shape[1], step)
    return [buckets.size_for(path, choices, shape[1:]) for path in found]


def _find(data: Path) -> tuple[list[Path], int]:
    check_folder(data)
    entries = sorted(files_below(data))
    packed = [entry for entry in entries if entry.suffix.lower() in archives.ENDINGS]
    pictures = [entry for entry in entries if looks_like_picture(entry)]
    ignored = sum(entry.suffix.lower() not in _QUIET for entry in {*entries} - {*pictures, *packed})
    pictures = sorted([*pictures, *(member for entry in packed for member in archives.members(entry))])
    if not pictures:
        have = f"{counted(len(entries), 'file')}, but no picture" if entries else "no files"
        raise DataError(f"'{data}' holds {have}; put PNG, JPEG or WebP pictures there.")
    return pictures, ignored


def _decode_all(
    found: list[Path], shapes: list[tuple[int, int, int]], strict: bool, tell: Tell | None
) -> tuple[list[Tensor] | Tensor, list[str]]:
    """Decode every picture, several at a time: each one (in one tensor where all are alike), and its fault or ""."""
    alike = len(set(shapes)) == 1
    cache: list[Tensor] | Tensor
    if alike:
        cache = torch.empty((len(found), *shapes[0]), dtype=torch.uint8, device="cpu")
    else:
        cache = [torch.empty(shape, dtype=torch.uint8, device="cpu") for shape in shapes]

    def fill(place: int) -> str:
        try:
            cache[place].copy_(read_picture(found[place], shapes[place]))
        except DataError as error:
            if strict:
                raise
            return str(error)
        return ""

    faults = []
    with ThreadPoolExecutor() as pool:
        for fault in pool.map(fill, range(len(found))):
            faults.append(fault)
            if tell is not None:
                tell(len(faults), len(found))
    return cache, faults


def data_notes(pictures: PictureSet, unseen: PictureSet, batch: int) -> list[str]:
    """What a person should know of the pictures, those held out among them."""
    corrupt = list(dict.fromkeys(pictures.corrupt + unseen.corrupt))
    notes = [f"skipped: {sentence}" for sentence in corrupt[:20]]
    if corrupt:
        notes.append(f"{counted(len(corrupt), 'corrupt picture')} skipped; --strict refuses such instead.")
    if pictures.captioned and not all(pictures.captions):
        bare = pictures.captions.count(())
        have = "has" if bare == 1 else "have"
        notes.append(f"{bare:,} of {counted(len(pictures), 'picture')} {have} no caption.")
    if pictures.ignored:
        plain = (
            "file is not a picture and was" if pictures.ignored == 1 else "files are not pictures and were"
        )
        notes.append(f"{pictures.ignored} {plain} ignored.")
    if batch > len(pictures):
        notes.append(
            f"a batch of {batch} is more than {counted(len(pictures), 'picture')}: each is shown more than once."
        )
    return notes
