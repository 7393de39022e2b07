"""Files of prompts: one request a row, with its own settings where the row has them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unnoise.cli.values import number, whole
from unnoise.errors import FileError, InputError

Row = dict[str, Any]


def _whole(name: str, text: str, low: int, high: int, example: int) -> int:
    """As `whole`; "7.0" too, which pandas makes of a column of whole numbers where one is missing."""
    return whole(name, text.removesuffix(".0"), low, high, example)


# Column -> how its text is checked; the others are taken as they are.
_CHECKS: dict[str, Callable[[str, str], object]] = {
    "seed": lambda name, text: _whole(name, text, 0, 2**63 - 257, 7),
    "steps": lambda name, text: _whole(name, text, 1, 1000, 20),
    "guidance": lambda name, text: number(name, text, 0, 100, 2),
    "width": lambda name, text: _whole(name, text, 1, 4096, 32),
    "height": lambda name, text: _whole(name, text, 1, 4096, 32),
}
COLUMNS = ("prompt", "negative", "scheduler", *_CHECKS)


def read(path: Path) -> list[Row]:
    """The requests in a .txt (a prompt a line), .csv, .jsonl or .parquet file; settings that a row lacks are absent.

    Columns are `prompt` and any of negative, scheduler, seed, steps, guidance, width, height. Raises FileError for a
    file that cannot be read, InputError naming the row and the column for one that makes no sense.
    """
    readers: dict[str, Callable[[Path], list[Row]]] = {
        ".txt": _text,
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".parquet": _parquet,
    }
    ending = path.suffix.lower()
    if ending not in readers:
        raise InputError(f"--prompts is '{path}'; give a file that ends in {', '.join(readers)}.")
    rows = readers[ending](path)
    if not rows:
        raise InputError(f"'{path}' has no prompts; write at least one.")
    return [_checked(row, f"'{path}', row {place}") for place, row in enumerate(rows, 1)]


def shard(text: str | None) -> tuple[int, int]:
    """I and N of "I/N", the part of the work to do, counted from 1; all of it without."""
    if text is None:
        return 1, 1
    parts = text.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        place, count = int(parts[0]), int(parts[1])
        if 1 <= place <= count:
            return place, count
    raise InputError(f"--shard is '{text}'; give part/parts, counted from 1, for example 1/4.")


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"cannot read '{path}': {error.strerror}. Give a file of prompts.") from error
    except UnicodeDecodeError as error:
        raise FileError(f"'{path}' is not UTF-8 text ({error}). Save it as UTF-8.") from error


def _lines(path: Path) -> list[str]:
    """Of a text, without their ends: not `splitlines`, for which letters within a prompt end a line too (U+2028)."""
    return _content(path).split("\n")


def _text(path: Path) -> list[Row]:
    return [{"prompt": line.strip()} for line in _lines(path) if line.strip()]


def _csv(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(_content(path), newline=""), strict=True)
    try:
        names, table = reader.fieldnames or (), list(reader)
    except csv.Error as error:  # such as a quote left open, which takes in the rows that follow
        raise InputError(
            f"'{path}', line {reader.line_num + 1}: {error}; close each quote, and double one within a quoted text."
        ) from error
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise InputError(f"'{path}' has two columns '{twice}'; leave one out.")
    for place, row in enumerate(table, 1):
        if None in row:
            raise InputError(
                f"'{path}', row {place} has more values than there are columns; put a text with commas in quotes."
            )
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in table]


def _jsonl(path: Path) -> list[Row]:
    rows = []
    for place, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"'{path}', line {place} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f'\'{path}\', line {place}: give an object such as {{"prompt": "a seven"}}.')
        rows.append(row)
    return rows


def _parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InputError(
            f"'{path}' needs pyarrow to be read: pip install 'unnoise[parquet]', or give a .jsonl file."
        ) from error
    try:
        rows: Sequence[Mapping[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise FileError(f"cannot read '{path}': {error}. Give a parquet file of prompts.") from error
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _checked(row: Row, where: str) -> Row:
    for name in row:
        if name not in COLUMNS:
            raise InputError(f"{where} has the column '{name}'; the columns are {', '.join(COLUMNS)}.")
    if not isinstance(row.get("prompt"), str):
        raise InputError(f"{where} has no text in its column 'prompt'; give one.")
    for name in ("negative", "scheduler"):
        if not isinstance(row.get(name, ""), str):
            raise InputError(f"{where}: {name} is {row[name]!r}; give a text.")
    checked = {name: _CHECKS[name](f"{where}: {name}", str(row[name])) for name in row if name in _CHECKS}
    return {**row, **checked}
