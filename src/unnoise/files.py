"""Files that are whole or absent: every write goes to a temporary name, is synced, and is renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from unnoise.errors import DataError, FileError


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Ask the system to have a file or folder on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(
        f"cannot write '{path}': {error.strerror or error}. Choose a folder that can be written."
    )


def check_folder(path: Path) -> None:
    """Raises DataError unless `path` is a folder, in which pictures are looked for."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"'{path}' {what}; give a folder of pictures (PNG, JPEG or WebP).")


def files_below(
    folder: Path, skip: Callable[[Path], bool] = lambda folder: False, above: tuple[Path, ...] = ()
) -> Iterator[Path]:
    """Files in and below a folder, those behind links too, but nothing hidden: there programs keep copies.

    skip: folders that are left out. above: the folders on the way here, for a link to one of them has no end. Raises
    DataError for a folder that cannot be read.
    """
    above = (*above, folder.resolve())
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror}. Allow it, or move it away.") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield entry
        elif entry.is_dir() and not skip(entry) and entry.resolve() not in above:
            yield from files_below(entry, skip, above)


def check_new(path: Path, what: str) -> None:
    """Raises FileError where `path` exists. what: is written there, such as "a model"."""
    if path.exists():
        raise FileError(f"'{path}' exists; {what} never replaces one. Give a name that does not exist yet.")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, on failure it vanishes.

    Raises FileError with the path and the system's reason when the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # such as a name too long, which is told already
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, UTF-8."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def building_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well; else it is removed.

    Whatever stands in the folder by then is synced first. `path` must not exist.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            sync(entry)
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
