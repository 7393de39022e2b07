"""The words of each picture: from a .txt beside it, from metadata.jsonl, or from its folder's name."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath

from unnoise.errors import DataError
from unnoise.training import archives
from unnoise.training.repeats import count_and_words

METADATA = "metadata.jsonl"
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
    found = [_first(chosen, picture) for picture in pictures]
    if source != "auto" and not any(found):
        raise DataError(
            f"'{data}' has no captions of the kind '{source}'; {_WANTED[source]}, or set data.captions=auto."
        )
    return found


_WANTED = {
    "text": "put 'name.txt' beside 'name.png'",
    "metadata": f'write {METADATA} with lines {{"file_name": ..., "text": ...}}',
    "folders": "sort the pictures into folders named by what they show",
}

_Reader = Callable[[Path], Captions]


def _readers(data: Path, repeats: bool) -> dict[str, _Reader]:
    tables: dict[Path, dict[str, Captions]] = {}

    def metadata(picture: Path) -> Captions:
        for folder in [parent for parent in picture.parents if parent == data or data in parent.parents]:
            if folder not in tables:
                tables[folder] = _read_metadata(folder / METADATA)
            name = _composed(picture.relative_to(folder))
            if name in tables[folder]:
                return tables[folder][name]
        return ()

    return {"metadata": metadata, "text": _beside, "folders": lambda picture: _folder(picture, data, repeats)}


def _first(readers: list[_Reader], picture: Path) -> Captions:
    return next((captions for reader in readers if (captions := reader(picture))), ())


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


def _read_metadata(path: Path) -> dict[str, Captions]:
    if not path.is_file():
        return {}
    table = {}
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            name, captions = _entry(line, f"'{path}', line {number}")
            table[name] = captions
    return table


def _entry(line: str, where: str) -> tuple[str, Captions]:
    try:
        entry = json.loads(line)
        name, text = entry["file_name"], entry["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f'{where}: give an object with "file_name" and "text", one a line.') from error
    captions = text if isinstance(text, list) else [text]
    if not isinstance(name, str) or not all(isinstance(caption, str) for caption in captions):
        raise DataError(f'{where}: "file_name" is a string, "text" a string or a list of strings.')
    words = tuple(caption.strip() for caption in captions if caption.strip())
    return _composed(PurePosixPath(name)), words


def _composed(path: PurePath) -> str:
    """One spelling of a name: some systems store an accent apart from its letter."""
    return unicodedata.normalize("NFC", path.as_posix())
