"""Files that are whole or absent: every write goes to a temporary name, is synced, and is renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unnoise.errors import CheckpointError, DataError, FileError, InputError
from unnoise.limits import shown

RUN_MARKS = ("config.toml", ".lock")
"""Files that are in the folder of every training run: its settings, and what one process holds."""
TABLE_LIMIT = 16 * 2**20
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_CANNOT_SYNC = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)


def expanded(path: str | Path) -> Path:
    """The path, a ~ or ~NAME that it begins with put in full.

    Raises InputError for a NAME that is nobody's here, for what is no path, and for what none can be.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"{shown(path)} is given as a path; give a text or a pathlib.Path.")
    try:
        if path == "" or b"\0" in os.fsencode(path):
            raise InputError(f"{shown(path)} is given as a path; no file can have that name, give another.")
        return Path(path).expanduser()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{shown(path)} is given as a path; no file can have that name, give another."
        ) from error
    except RuntimeError as error:
        raise InputError(
            f"'{path}' begins with '{Path(path).parts[0]}', and there is no such user here; give the whole path."
        ) from error


def read_table(path: Path) -> dict[str, Any]:
    """A JSON table of at most 16 MB, with a byte order mark or without. Raises CheckpointError naming the file."""
    try:
        if path.stat().st_size > TABLE_LIMIT:
            raise CheckpointError(f"'{path}' has over {TABLE_LIMIT:,} bytes; a table of settings is small.")
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"'{path}' is not JSON ({error}); fetch it again.") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"'{path}' holds no table (a JSON object); fetch it again.")
    return table


def check_folder(path: Path) -> None:
    """Raises DataError unless `path` is a folder, in which pictures are looked for."""
    if not os.path.isdir(path):  # pathlib's raises for a name that is too long
        what = "is a file" if os.path.exists(path) else "does not exist"
        raise DataError(f"'{path}' {what}; give a folder of pictures (PNG, JPEG or WebP).")


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files in and below a folder, those behind links too; a link to nothing is one that cannot be read.

    But nothing hidden, where programs keep copies, nor of a training run below it, whose samples are copies as well.
    above: the folders on the way here, for a link to one of them has no end. Raises DataError for a folder that cannot
    be read.
    """
    above = (*above, folder.resolve())
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror}. Allow it, or move it away.") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file() or (entry.is_symlink() and not entry.exists()):
            yield entry
        elif entry.is_dir() and not is_run(entry) and entry.resolve() not in above:
            yield from files_below(entry, above)


def is_run(folder: Path) -> bool:
    """Whether a training run is kept in this folder."""
    return all((folder / name).is_file() for name in RUN_MARKS)


def check_new(path: Path, what: str) -> None:
    """Raises FileError where `path` exists. what: is written there, such as "a model"."""
    if os.path.exists(path):
        raise FileError(f"'{path}' exists; {what} never replaces one. Give a name that does not exist yet.")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, on failure it vanishes.

    An empty file stands there at first. Raises FileError with the path and the system's reason when the folder cannot
    be written.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        rights = _rights(temporary)  # safetensors puts a file there which nobody else may read
        yield temporary
        _permit(temporary, rights)
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

    Whatever stands in the folder by then is synced first, and readable for whom the folder is. `path` must not exist.
    """
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        rights = _rights(temporary) & 0o666
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            if entry.is_file():
                _permit(entry, rights)
            sync(entry)
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A name in the same folder that no thread, process or machine uses at the same time."""
    if not path.name:
        raise FileError(f"'{path}' names a folder that is there; give a name for what is written.")
    return path.with_name(f".{path.name}.tmp-{os.urandom(4).hex()}")


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _permit(path: Path, rights: int) -> None:
    """Nothing is asked of the system where the file has these rights: some mounts refuse every change."""
    if _rights(path) != rights:
        path.chmod(rights)


def sync(path: Path) -> None:
    """Ask the system to have a file or folder on the disk before going on.

    Windows opens no folder, and only a file that may be written is synced there; some network mounts sync no folder
    either. What stands in one is then as safe as such a system makes it.
    """
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if folder or os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not folder or error.errno not in _CANNOT_SYNC:
            raise


def _unwritable(path: Path, error: OSError) -> FileError:
    way = "Free some space" if error.errno in _FULL else "Choose a folder that can be written"
    return FileError(f"cannot write '{path}': {error.strerror or error}. {way}.")
