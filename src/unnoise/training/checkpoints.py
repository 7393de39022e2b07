"""Checkpoints that are whole or absent: a folder for each step, its manifest written last, then one rename.

    RUN/checkpoints/step-000100/
        weights.safetensors    the live networks
        optimizer.safetensors  the optimizer's tensors
        state.json             step, counters, optimizer numbers, versions
        model/                 the moving average, as a model folder of its own
        manifest.json          size and blake2b of every file above

Of a sharded run the tensors are in `shards/` instead, and `model/` is a copy to look at (see `training.shards`).

A kill or a full disk at any moment leaves the older checkpoints as they were. Older ones are deleted only
after the new one has been read back and found equal to its manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unnoise import files
from unnoise.errors import CheckpointError, FileError

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{6,})")
_TORN = re.compile(r"\..+\.tmp-[0-9a-f]+(-old)?")  # as `files` and `discard` call what is not whole


@dataclass(frozen=True)
class Checkpoint:
    """One finished checkpoint: the number of steps trained by then, and its folder."""

    step: int
    folder: Path


def folder_of(run: Path, step: int) -> Path:
    """Where checkpoint `step` stands once it is whole."""
    return run / "checkpoints" / f"step-{step:06d}"


@contextlib.contextmanager
def building(run: Path, step: int) -> Iterator[Path]:
    """Yield a folder for the files of checkpoint `step`, which becomes the checkpoint, with its manifest, at the end.

    Raises FileError with the path and the reason, such as a full disk; the older checkpoints then stand untouched.
    """
    folder = folder_of(run, step)
    with disk_errors(folder), files.building_folder(folder) as temporary:
        yield temporary
        entries = {name: _measure(temporary / name) for name in _names(temporary)}
        text = json.dumps(
            {"format": "unnoise-checkpoint", "version": 1, "step": step, "files": entries}, indent=1
        )
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        discard(folder)  # a torn one of the same step that a resumed run passed over


def kept(run: Path, step: int, keep: int = 0) -> Checkpoint:
    """Verify checkpoint `step`, which has just been written; then delete all but the newest `keep` (0 keeps all)."""
    folder = folder_of(run, step)
    verify(folder)
    if keep:
        for old in checkpoints(run)[:-keep]:
            if old.step < step:
                discard(old.folder)
    return Checkpoint(step, folder)


def verify(folder: Path) -> None:
    """Read every file of a checkpoint and compare with its manifest.

    Raises CheckpointError naming the file that is missing, extra, cut or altered.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        entries: dict[str, dict[str, object]] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"'{folder}' has no readable manifest: it is not a finished checkpoint."
        ) from error
    if set(entries) != set(_names(folder)):
        odd = sorted(set(entries) ^ set(_names(folder)))
        raise CheckpointError(f"'{folder}': {', '.join(odd)} missing or not in the manifest.")
    for name, entry in entries.items():
        if _measure(folder / name) != entry:
            raise CheckpointError(f"'{folder / name}' differs from the manifest: cut short or altered.")


def checkpoints(run: Path) -> list[Checkpoint]:
    """The checkpoint folders of a run by step, oldest first, finished or not."""
    folder = run / "checkpoints"
    found = [(match, entry) for entry in _listed(folder) if (match := _NAME.fullmatch(entry.name))]
    return sorted((Checkpoint(int(m[1]), e) for m, e in found if e.is_dir()), key=lambda item: item.step)


def newest(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and what was wrong with each newer one.

    None when the run has none that is complete.
    """
    faults = []
    for checkpoint in reversed(checkpoints(run)):
        try:
            verify(checkpoint.folder)
        except CheckpointError as error:
            faults.append(str(error))
        else:
            return checkpoint, faults
    return None, faults


def swept(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """`newest`, after removing what a killed process left half-written. Only for the process that holds the run."""
    folders = (run, *(entry for entry in _listed(run) if entry.is_dir()))
    for entry in [entry for folder in folders for entry in _listed(folder)]:
        if not _TORN.fullmatch(entry.name):
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return newest(run)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _names(folder: Path) -> list[str]:
    """What a checkpoint holds; hidden files are left by systems that show folders or share them."""
    names = [entry.relative_to(folder) for entry in folder.rglob("*") if entry.is_file()]
    shown = {name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)}
    return sorted(shown - {MANIFEST})


def _measure(path: Path) -> dict[str, object]:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        size = stream.tell()
    return {"size": size, "blake2b": digest.hexdigest()}


def discard(folder: Path) -> None:
    """Delete a checkpoint so that a kill half-way leaves no folder that looks like one."""
    if folder.exists():
        dying = folder.with_name(f".{folder.name}.tmp-{os.getpid()}-old")
        shutil.rmtree(dying, ignore_errors=True)
        folder.rename(dying)
        shutil.rmtree(dying, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Give the system's failure to write, and the tensor library's own, one sentence: FileError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"cannot write '{path}': {error}. Free some space, then go on with --resume."
        ) from error
