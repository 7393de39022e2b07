"""The words of each picture: from a .txt beside it, from a metadata file, or from its folder's name."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath

from unnoise.errors import DataError
from unnoise.training import archives
from unnoise.training.repeats import count_and_words

METADATA = ("metadata.jsonl", "metadata.csv")
"""One of these in a folder says what its pictures show."""
ENDINGS = (".txt", ".TXT", ".caption")
"""Of text files beside pictures; the last is what kohya's tools write."""
Captions = tuple[str, ...]


def captions_of(pictures: list[Path], data: Path, source: str, repeats: bool = False) -> list[Captions]:
    """The captions of each picture, several when the source has several (one is drawn at each use).

    source: "metadata", "text", "folders", "none", or "auto": the first of these three by which the picture
    has any. repeats: folders are named `10_words`, of which only the words count. Raises DataError for a file
    that cannot be read, and when a named source gives no captions at all.
    """
    if source == "none":
        return [() for _ in pictures]
    readers = _readers(data, repeats)
    chosen = list(readers.values()) if source == "auto" else [readers[source]]
    found = [next(filter(None, (reader(picture) for reader in chosen)), ()) for picture in pictures]
    if source != "auto" and not any(found):
        raise DataError(
            f"'{data}' has no captions of the kind '{source}'; {_WANTED[source]}, or set data.captions=auto."
        )
    return found


_WANTED = {
    "text": "put 'name.txt' beside 'name.png'",
    "metadata": f'write {METADATA[0]} with lines {{"file_name": ..., "text": ...}}',
    "folders": "sort the pictures into folders named by what they show",
}

_Reader = Callable[[Path], Captions]


def _readers(data: Path, repeats: bool) -> dict[str, _Reader]:
    tables: dict[Path, dict[str, Captions]] = {}

    def metadata(picture: Path) -> Captions:
        for folder in [parent for parent in picture.parents if parent == data or data in parent.parents]:
            if folder not in tables:
                tables[folder] = _read_metadata(folder)
            name = _composed(picture.relative_to(folder))
            if name in tables[folder]:
                return tables[folder][name]
        return ()

    return {"metadata": metadata, "text": _beside, "folders": lambda picture: _folder(picture, data, repeats)}


def _beside(picture: Path) -> Captions:
    """Each line of the text file that is not empty is one caption; in an archive, what it says of the picture."""
    paths = (picture.with_suffix(ending) for ending in ENDINGS)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return archives.captions(picture)
    return tuple(line.strip() for line in _lines(path) if line.strip())


def _lines(path: Path) -> list[str]:
    try:
        # Editors put a mark of the encoding first, and JSON may hold what `splitlines` takes for the end of a line.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read as UTF-8 text: {error}. Save the file as UTF-8.") from error


def _folder(picture: Path, data: Path, repeats: bool) -> Captions:
    if archives.archive_of(picture) == picture.parent:
        return ()  # an archive is named by its place in a row
    name = count_and_words(picture.parent)[1] if repeats else picture.parent.name
    words = name.replace("_", " ").strip()
    return (words,) if picture.parent != data and words else ()


def _read_metadata(folder: Path) -> dict[str, Captions]:
    paths = [path for name in METADATA if (path := folder / name).is_file()]
    if len(paths) > 1:
        raise DataError(f"'{folder}' has {' and '.join(METADATA)}; keep one of the two.")
    return dict(_entry(entry, where) for path in paths for entry, where in _entries(path))


def _entries(path: Path) -> Iterator[tuple[object, str]]:
    """What a metadata file says of each picture, and where it says so."""
    if path.suffix == ".csv":
        yield from _rows(path)
        return
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            where = f"'{path}', line {number}"
            try:
                yield json.loads(line), where
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} is not JSON: {error}.") from error


def _rows(path: Path) -> Iterator[tuple[object, str]]:
    reader = csv.DictReader((f"{line}\n" for line in _lines(path)), strict=True)
    try:
        for row in reader:
            where = f"'{path}', line {reader.line_num}"
            if None in row:
                raise DataError(
                    f"{where} has more values than there are columns; put a text with commas in quotes."
                )
            yield row, where
    except csv.Error as error:  # such as a quote left open, which takes in the lines that follow
        raise DataError(
            f"'{path}', line {reader.line_num + 1}: {error}; close each quote, and double one within a quoted text."
        ) from error


def _entry(entry: object, where: str) -> tuple[str, Captions]:
    if not isinstance(entry, dict) or not {"file_name", "text"} <= set(entry):
        raise DataError(f'{where}: give "file_name" and "text" of each picture.')
    name, text = entry["file_name"], entry["text"]
    captions = text if isinstance(text, list) else [text]
    if not isinstance(name, str) or not all(isinstance(caption, str) for caption in captions):
        raise DataError(f'{where}: "file_name" is a string, "text" a string or a list of strings.')
    words = tuple(caption.strip() for caption in captions if caption.strip())
    return _composed(PurePosixPath(name)), words


def _composed(path: PurePath) -> str:
    """One spelling of a name: some systems store an accent apart from its letter."""
    return unicodedata.normalize("NFC", path.as_posix())
