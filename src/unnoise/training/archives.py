"""Pictures inside tars (as webdataset packs them) and parquet files, found and read as if each were a file of its own.

A picture is named by the archive's path and its own name in it: `shards/000.tar/cat/17.jpg`, `part.parquet/000017`.
Nothing is unpacked: a tar's index says where each member lies.
"""

from __future__ import annotations

import functools
import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from unnoise import images
from unnoise.errors import DataError

ENDINGS = (".tar", ".parquet")
_WORDS = ("text", "caption", "txt")
"""Names under which a table or a JSON member keeps the words of a picture."""


def archive_of(path: Path) -> Path | None:
    """The archive that a picture lies in; None for a file of its own."""
    return next(
        (parent for parent in path.parents if parent.suffix.lower() in ENDINGS and parent.is_file()), None
    )


def members(archive: Path) -> list[Path]:
    """The pictures in an archive in the order of their names. Raises DataError when it cannot be read."""
    if archive.suffix.lower() == ".parquet":
        return [archive / f"{row:09d}" for row in range(_table(archive, _stamp(archive)).rows)]
    names = [name for name in sorted(_index(archive)) if not PurePosixPath(name).name.startswith(".")]
    return [archive / name for name in names if Path(name).suffix.lower() in images.ENDINGS]


def content(path: Path) -> bytes | None:
    """The bytes of a picture inside an archive; None for a file of its own. Raises DataError."""
    archive = archive_of(path)
    if archive is None:
        return None
    if archive.suffix.lower() == ".parquet":
        return _table(archive, _stamp(archive)).picture(int(path.name))
    return _member(archive, path.relative_to(archive).as_posix())


def captions(path: Path) -> tuple[str, ...]:
    """The words that the archive has for a picture; empty for a file of its own.

    A member `a.txt` (each line one caption) or `a.json` beside `a.png`; a column named text or caption.
    """
    archive = archive_of(path)
    if archive is None:
        return ()
    if archive.suffix.lower() == ".parquet":
        return _table(archive, _stamp(archive)).captions(int(path.name))
    stem = path.relative_to(archive).with_suffix("").as_posix()
    index = _index(archive)
    for ending in (".txt", ".json"):
        if f"{stem}{ending}" in index:
            text = _member(archive, f"{stem}{ending}").decode("utf-8-sig", "replace")
            return _lines(text if ending == ".txt" else _in_json(text, path))
    return ()


def _lines(words: object) -> tuple[str, ...]:
    lines = words.replace("\r", "\n").split("\n") if isinstance(words, str) else words
    if not isinstance(lines, list):
        return ()
    return tuple(line.strip() for line in lines if isinstance(line, str) and line.strip())


def _in_json(text: str, path: Path) -> object:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the JSON beside '{path}' cannot be read: {error}. Pack it again.") from error
    return next((table[name] for name in _WORDS if isinstance(table, dict) and name in table), None)


def _stamp(archive: Path) -> tuple[int, int]:
    """By which a file that was packed again is known not to be the one whose index is remembered."""
    try:
        found = archive.stat()
    except OSError as error:
        raise DataError(f"'{archive}' cannot be read: {error.strerror}. Put it back.") from error
    return found.st_mtime_ns, found.st_size


def _index(archive: Path) -> dict[str, tuple[int, int]]:
    """Where each file of a tar begins, and its length; names as paths write them: `tar c .` says `./a.png`."""
    return _indexed(archive, _stamp(archive))


@functools.lru_cache(maxsize=4096)
def _indexed(archive: Path, stamp: tuple[int, int]) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(archive, "r:") as tar:
            files = [entry for entry in tar if entry.isreg()]
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"'{archive}' cannot be read as a tar: {error}. Pack it again, uncompressed."
        ) from error
    named = ((PurePosixPath(entry.name.lstrip("/")).as_posix(), entry) for entry in files)
    return {name: (entry.offset_data, entry.size) for name, entry in named}


def _member(archive: Path, name: str) -> bytes:
    place = _index(archive).get(name)
    if place is None:
        raise DataError(f"'{archive}' has no '{name}' any more. Put the old file back, or start a new run.")
    start, size = place
    try:
        with archive.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)
    except OSError as error:
        raise DataError(f"'{archive}' cannot be read: {error.strerror}.") from error


class _Table:
    """A parquet file with a column of pictures: bytes, or the records {bytes, path} that data set hubs write."""

    def __init__(self, archive: Path) -> None:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise DataError(
                f"'{archive}' needs pyarrow to be read: pip install 'unnoise[parquet]', or unpack the pictures."
            ) from error
        self.archive = archive
        try:
            self._file: Any = parquet.ParquetFile(archive)
        except (OSError, ArrowException) as error:
            raise _unreadable(archive, error) from error
        names = self._file.schema_arrow.names
        self.column = next((name for name in ("image", "picture", "png", "jpg", "webp") if name in names), "")
        self.words = next((name for name in _WORDS if name in names), "")
        if not self.column:
            raise DataError(
                f"'{archive}' has the columns {', '.join(names)}; name the one with the pictures 'image'."
            )
        self.rows: int = self._file.metadata.num_rows
        self._group = functools.lru_cache(maxsize=2)(self._read)

    def picture(self, row: int) -> bytes:
        """The encoded picture of a row; empty where the row has none."""
        value = self._value(self.column, row)
        found = value.get("bytes") if isinstance(value, dict) else value
        return found if isinstance(found, bytes) else b""

    def captions(self, row: int) -> tuple[str, ...]:
        """The words of a row."""
        return _lines(self._value(self.words, row)) if self.words else ()

    def _value(self, column: str, row: int) -> object:
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if row < count:
                return self._group(column, group)[row].as_py()
            row -= count
        raise DataError(f"'{self.archive}' has no such row.")

    def _read(self, column: str, group: int) -> Any:  # noqa: ANN401 - of a package without types
        # A reader of its own: threads may ask at once.
        from pyarrow import ArrowException, parquet

        try:
            with parquet.ParquetFile(self.archive) as file:
                return file.read_row_group(group, columns=[column]).column(0)
        except (OSError, ArrowException) as error:
            raise _unreadable(self.archive, error) from error


@functools.lru_cache(maxsize=256)
def _table(archive: Path, stamp: tuple[int, int]) -> _Table:
    """The table of a file, opened once."""
    return _Table(archive)


def _unreadable(archive: Path, error: Exception) -> DataError:
    return DataError(f"'{archive}' cannot be read: {error}. Remove it, or write it again.")
