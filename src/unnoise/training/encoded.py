"""What frozen networks made of pictures and captions, kept by the hash of what they were made from.

The most recently used stand in memory, up to a bound; with a folder they are written there too, each as one file that
is whole or absent, and the longest unused give way. A damaged file counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unnoise import files
from unnoise.errors import FileError, InputError

Tensors = Mapping[str, Tensor]


class Store:
    """Tensors by key. May be used by several threads; several processes may share its folder.

    memory: bytes kept in memory. folder: None for none. most: bytes kept there.
    """

    def __init__(self, memory: int, folder: Path | None = None, most: int = 0) -> None:
        self._memory, self._folder, self._most = memory, folder, most
        self._known: OrderedDict[str, Tensors] = OrderedDict()
        self._held = 0
        self._lock = threading.RLock()
        self._on_disk: int | None = None
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"data.encoded_folder is '{folder}', which is a file; give a folder.")

    def get(self, key: str) -> Tensors | None:
        """What `put` kept under this key, or None."""
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found
            found = self._read(key)
            if found is not None:
                self._remember(key, found)
            return found

    def put(self, key: str, tensors: Tensors) -> None:
        """Keep tensors, on the CPU, under this key. Raises FileError when the folder cannot be written."""
        with self._lock:
            self._remember(key, tensors)
            if self._folder is not None and size_of(tensors) <= self._most:
                self._write(self._folder, key, tensors)

    def _remember(self, key: str, tensors: Tensors) -> None:
        size = size_of(tensors)
        if key in self._known or size > self._memory:
            return
        self._known[key] = tensors
        self._held += size
        while self._held > self._memory:
            self._held -= size_of(self._known.popitem(last=False)[1])

    def _read(self, key: str) -> Tensors | None:
        if self._folder is None:
            return None
        path = _path(self._folder, key)
        try:
            with safe_open(path, "pt") as opened:
                found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
                kept = (opened.metadata() or {}).get("blake2b")
            with contextlib.suppress(OSError):  # another user's, or on a disk that is only read
                os.utime(path)  # used now: others give way first
        except (OSError, SafetensorError):
            return None
        return found if kept == content_hash(found.items()) else None

    def _write(self, folder: Path, key: str, tensors: Tensors) -> None:
        path = _path(folder, key)
        try:
            with files.replacing(path) as temporary:
                save_file(dict(tensors), temporary, {"blake2b": content_hash(tensors.items())})
            if self._on_disk is None:
                self._on_disk = sum(size for _, size, _ in _files(folder))
            else:
                self._on_disk += path.stat().st_size
        except (OSError, SafetensorError) as error:
            raise FileError(
                f"cannot write '{path}': {error}. Free some space, or leave data.encoded_folder out."
            ) from error
        if self._on_disk > self._most:
            self._on_disk = _shrink(folder, self._most)


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.safetensors"


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of last use, size and path of each entry; another process may take one away meanwhile."""
    found = []
    for path in folder.glob("??/*.safetensors"):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((stat.st_mtime, stat.st_size, path))
    return sorted(found)


def _shrink(folder: Path, most: int) -> int:
    """Remove the longest unused until nine tenths of `most` are left, so that not every write looks again."""
    entries = _files(folder)
    held = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if held <= 0.9 * most:
            break
        path.unlink(missing_ok=True)
        held -= size
    return held


def size_of(tensors: Tensors) -> int:
    """Bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


def content_hash(tensors: Iterable[tuple[str, Tensor]], *more: object) -> str:
    """Hex digest of names, types, shapes and numbers, and of what `more` says, as its text."""
    digest = hashlib.blake2b(repr(more).encode(), digest_size=16)
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
