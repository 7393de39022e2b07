"""Names of the files that a command writes: always new ones. Nothing that exists is replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from unnoise.errors import FileError, InputError

_COUNTER = re.compile(r"%0?\d{0,3}d")
_NUMBERED = re.compile(r"(\d+)-")


def check_output(flag: str, path: Path, endings: tuple[str, ...]) -> None:
    """Refuse an ending that is not among these, and a file that cannot be written; leaves nothing behind.

    A path without an ending is a folder, and so is any where there are no endings. Raises InputError or FileError.
    """
    if endings and path.suffix and path.suffix.lower() not in endings and not path.is_dir():
        raise InputError(
            f"{flag} is '{path}'; give a name that ends in {' or '.join(endings)}, or a folder (with a dot in its name "
            "one that is there)."
        )
    folder = path.parent if endings and path.suffix and not path.is_dir() else path
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is not a folder" if not folder.is_dir() else error.strerror
        raise FileError(
            f"cannot write '{path}': {folder}: {reason}. Choose a folder that can be written."
        ) from None
    try:
        os.lstat(next(candidates(path, 0)))
    except FileNotFoundError:
        pass
    except OSError as error:  # such as a name that is too long, which a counter may make of a short one
        raise FileError(f"cannot write '{path}': {error.strerror}. Choose another name.") from None


def candidates(path: Path, seed: int) -> Iterator[Path]:
    """Names for one more picture, the preferred one first, without end.

    A name with a counter (%d, %03d) counts from 1, and ends in .png where it has no ending. A file is itself, then
    name-2, name-3. A folder gets the number after its highest, and the seed: 00001-7.png.
    """
    counter = None if path.is_dir() else _COUNTER.search(path.name)
    if counter:
        before, after = path.name[: counter.start()], path.name[counter.end() :]
        after += "" if path.suffix else ".png"
        yield from (path.with_name(before + counter[0] % place + after) for place in itertools.count(1))
    elif path.suffix and not path.is_dir():
        yield path
        yield from (path.with_name(f"{path.stem}-{place}{path.suffix}") for place in itertools.count(2))
    else:
        entries = os.listdir(path) if path.is_dir() else []
        taken = [int(match[1]) for entry in entries if (match := _NUMBERED.match(entry))]
        yield from (path / f"{place:05d}-{seed}.png" for place in itertools.count(max(taken, default=0) + 1))


def save_new(names: Iterator[Path], write: Callable[[Path], None]) -> Path:
    """Write to the first of these names that is free, whole or not at all, and return it.

    The file is made under a hidden name and linked to its own, which fails where that exists: two processes
    cannot take one name. Raises FileError.
    """
    first = next(names)
    # of its own name nothing: a system takes 255 bytes, and the writer adds to it
    hidden = first.with_name(f".unnoise-{os.getpid()}-{id(names):x}{first.suffix}")
    try:
        write(hidden)
        for name in itertools.chain([first], names):
            if _take(hidden, name):
                return name
    except FileError as error:  # told of the name that was asked for
        raise FileError(str(error).replace(str(hidden), str(first))) from error
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
    raise AssertionError("names never end")


def new_folder(path: Path) -> Path:
    """Make the first of `path`, path-2, path-3 that is absent or empty. Raises FileError."""
    for place in itertools.count(1):
        folder = path if place == 1 else path.with_name(f"{path.name}-{place}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder '{folder}': {error.strerror}. Choose another.") from None
        if not any(folder.iterdir()):
            return folder
    raise AssertionError("counting never ends")


def _take(hidden: Path, name: Path) -> bool:
    try:
        os.link(hidden, name)
    except FileExistsError:
        return False
    except OSError as error:  # a file system without links: look, then rename
        if name.exists():
            return False
        try:
            hidden.rename(name)
        except OSError:
            raise FileError(f"cannot write '{name}': {error.strerror}. Choose another folder.") from error
    return True
